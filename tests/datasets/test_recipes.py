"""What a recipe of every task becomes on every dataset, pinned: a changed digest makes weights and records stale."""

import pytest

from benchmark.recipe import LIGHT_SEGMENTATION, Recipe, digest
from benchmark.registry import DATASETS, METHODS

AUTHORS = {"distillation": "adf8fa381f", "pans": "1cf5ae6339", "segmentation": "d830a3610b", "synthesis": "bb44733535"}
PAPER_SCALES = AUTHORS | {"segmentation": "d9beae90ae"}
PINNED = {
    "bdd-anomaly": PAPER_SCALES,
    "camvid-ood": {
        "distillation": "c7d61d8261",
        "pans": "c60bc663c3",
        "segmentation": "1776afc9b8",
        "synthesis": "5cb4d43e95",
    },
    "cityscapes": AUTHORS | {"segmentation": "74c8d66b5c"},
    "minihazards": {
        "distillation": "5ea8ed0640",
        "pans": "d0f3c28089",
        "segmentation": "384225092c",
        "synthesis": "7df30526f0",
    },
    "streethazards": PAPER_SCALES,
}


def test_every_dataset_is_pinned():
    others = set(DATASETS.names()) - set(PINNED)
    assert all(DATASETS.get(name).card.trained_on for name in others - {"folder", "pasted"})


@pytest.mark.parametrize("name", DATASETS.names())
def test_resolved_recipes(name):
    policy = DATASETS.get(name).policy
    found = {"segmentation": digest(policy.recipe(Recipe(), LIGHT_SEGMENTATION))}
    for method in map(METHODS.get, METHODS.names()):
        for task, recipe in method.recipes.items():
            key = digest(policy.recipe(recipe, method.light[task]))
            assert found.setdefault(task, key) == key, "one task, one recipe"
    assert found == PINNED.get(name, AUTHORS)
