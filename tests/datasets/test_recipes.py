"""What a recipe of every task becomes on every dataset, pinned: a changed digest makes weights and records stale."""

import pytest

from benchmark.data import Policy
from benchmark.recipe import FAST, LIGHT_SEGMENTATION, LightRecipe, LightTraining, Recipe, digest
from benchmark.registry import DATASETS, METHODS, load_plugin
from benchmark.run.options import Options
from benchmark.run.setup import make_setup
from benchmark.run.workshop import Workshop

AUTHORS = {
    "abnn": "50fbfc851c",
    "densehybrid": "31163c9e4e",
    "densehybrid_head": "b5818bbcab",
    "distillation": "485d21e44f",
    "dmlnet": "f06250bd33",
    "dood": "e0a90d5bdf",
    "entropy_max": "6d3a89348e",
    "flow_enedet": "9b64a35ce7",
    "obsnet": "6514269dbf",
    "pans": "700fc66458",
    "pebal": "0d3480ad89",
    "rpl": "ebc60fafa8",
    "segmentation": "94b97dbbf6",
    "stpm": "1cbb8c8b15",
    "synthesis": "222f057fc7",
    "twin": "68170b8e67",
}
PAPER_SCALES = AUTHORS | {"segmentation": "b077fa98b5"}
PINNED = {
    "bdd-anomaly": PAPER_SCALES,
    "camvid-ood": {
        "abnn": "89cf4c910c",
        "densehybrid": "0f0229bc35",
        "densehybrid_head": "4d998b0b81",
        "distillation": "c45ffcfe48",
        "dmlnet": "1861641ad0",
        "dood": "4827947aaa",
        "entropy_max": "ee12a57801",
        "flow_enedet": "49c8ff6535",
        "obsnet": "54ffa99ca3",
        "pans": "7dde7032e6",
        "pebal": "30e762d23a",
        "rpl": "446c2f1107",
        "segmentation": "d873d87cac",
        "stpm": "768d95b28d",
        "synthesis": "52f9e03f7b",
        "twin": "319dc38da5",
    },
    "cityscapes": AUTHORS | {"segmentation": "462cd3d99a"},
    "minihazards": {
        "abnn": "851909e896",
        "densehybrid": "82c4a038a5",
        "densehybrid_head": "0ca5f3ad66",
        "distillation": "a64d224bd4",
        "dmlnet": "fd4a8bc22c",
        "dood": "6d723942c4",
        "entropy_max": "319b0089fd",
        "flow_enedet": "270bd59e69",
        "obsnet": "c76e653f86",
        "pans": "f1a9f724d0",
        "pebal": "c241151410",
        "rpl": "de13f6ccae",
        "segmentation": "b66e0bea34",
        "stpm": "0ea7e408da",
        "synthesis": "e3a66cb89e",
        "twin": "0833955797",
    },
    "streethazards": PAPER_SCALES,
}
PRETRAINED = {
    "camvid-ood": {
        "abnn": "6ac55c186e",
        "densehybrid": "d2605aa68b",
        "densehybrid_head": "b745b4f625",
        "distillation": "c77bd497b3",
        "dmlnet": "4cec3822a7",
        "dood": "b52508da4a",
        "entropy_max": "ded37d15f1",
        "flow_enedet": "9b16ff8f6f",
        "obsnet": "52da5fe574",
        "pans": "bc8c148b11",
        "pebal": "30aff43b5a",
        "rpl": "3f92d7197f",
        "segmentation": "bc9b32d7de",
        "stpm": "0e8b992236",
        "synthesis": "3c8c0ae32d",
        "twin": "eddcf36071",
    }
}
"""Where a network's encoder is pretrained."""


def test_every_dataset_is_pinned():
    others = set(DATASETS.names()) - set(PINNED)
    assert all(DATASETS.get(name).card.trained_on for name in others - {"folder", "pasted"})


@pytest.mark.parametrize("name", DATASETS.names())
def test_resolved_recipes(name):
    policy = DATASETS.get(name).policy
    assert digests(policy) == PINNED.get(name, AUTHORS)
    assert digests(policy.of(pretrained=True)) == PRETRAINED.get(name, digests(policy))


def digests(policy):
    """Task -> digest of its recipe under a policy."""
    found = {"segmentation": digest(policy.recipe(Recipe(), LIGHT_SEGMENTATION))}
    for method in map(METHODS.get, METHODS.names()):
        for task, recipe in method.recipes.items():
            key = digest(policy.recipe(recipe, method.light[task]))
            assert found.setdefault(task, key) == key, "one task, one recipe"
    return found


NEW = Recipe(task="new", epochs=300, steps_per_epoch=1000, batch_size=32, optimiser="adam", lr=3e-4, crop=(512, 512))
"""Of a method that no dataset has heard of."""


@pytest.mark.parametrize(
    ("name", "epochs", "scales", "colour"), [("minihazards", 8, (), 0.0), ("camvid-ood", 60, (180,), 0.3)]
)
def test_a_new_recipe_is_light_without_a_word_in_a_dataset(name, epochs, scales, colour):
    policy = DATASETS.get(name).policy
    images = {"steps_per_epoch": 0, "batch_size": 4, "crop": (), "scales": scales, "colour": colour}
    assert policy.recipe(NEW, LightRecipe()) == NEW.changed({"epochs": epochs, **images})
    declared = LightRecipe(epochs=0.25, at_least=10, changes={**FAST, "lr": 0.01, "batch_size": 8})
    expected = images | FAST | {"epochs": max(10, epochs // 4), "lr": 0.01, "batch_size": 8}
    assert policy.recipe(NEW, declared) == NEW.changed(expected)
    assert DATASETS.get("streethazards").policy.recipe(NEW, declared) == NEW, "full trainings are the authors'"


def test_crops_of_a_dataset_are_for_segmentation_networks_and_overrides_come_last():
    training = LightTraining(epochs=10, segmentation={"crop": (64, 64), "label_size": "full"})
    policy = Policy(light=training, recipes={"new": {"epochs": 3}, "other": {"epochs": 4}})
    assert (policy.recipe(NEW, LightRecipe()).crop, policy.recipe(NEW, LightRecipe()).epochs) == ((), 3)
    network = policy.recipe(NEW, LIGHT_SEGMENTATION)
    assert (network.crop, network.label_size, network.optimiser, network.epochs) == ((64, 64), "full", "adamw", 3)


def test_a_rate_of_a_dataset_is_the_largest():
    """It is of a network that begins with pretrained weights; who trains a finished one on does so at a smaller one."""
    training = LightTraining(epochs=10, segmentation={"lr": 2e-3})
    rates = {own: LightRecipe(segmentation=True, changes={"lr": own}) for own in (2e-4, 6e-3)}
    assert {own: training.recipe(NEW, light).lr for own, light in rates.items()} == {2e-4: 2e-4, 6e-3: 2e-3}
    assert training.recipe(NEW, LightRecipe(segmentation=True)).lr == NEW.lr, "the authors', which is smaller"
    assert training.recipe(NEW, LightRecipe(changes={"lr": 6e-3})).lr == 6e-3, "no segmentation network"


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("dataset", DATASETS.names())
def test_a_finished_network_is_trained_on_more_slowly_than_it_was_trained(dataset, pretrained):
    policy = DATASETS.get(dataset).policy.of(pretrained=pretrained)
    network = policy.recipe(Recipe(), LIGHT_SEGMENTATION)
    for name in ("abnn", "densehybrid", "entropy_max"):
        method = METHODS.get(name)
        recipe = policy.recipe(method.recipes[name], method.light[name])
        assert recipe.lr <= network.lr / 10, name


NOVEL = """
from benchmark.method import Method
from benchmark.recipe import LightRecipe, Recipe

class Novel(Method):
    recipes = {"novel": Recipe(task="novel", epochs=300, lr=3e-4)}
    light = {"novel": LightRecipe(epochs=2, changes={"lr": 0.01})}

    def fit(self, data, networks): ...

    def score(self, batch, networks):
        raise NotImplementedError
"""


def test_a_trained_method_in_a_file_is_trained_lightly(registries, tmp_path):
    (tmp_path / "novel.py").write_text(NOVEL)
    load_plugin(tmp_path / "novel.py")
    setup = make_setup(Options(dataset="minihazards", out=tmp_path, device="cpu", repetition=1))
    (recipe,) = Workshop(setup).entry(METHODS.create("novel")).method.spec.recipes.values()
    assert recipe == Recipe("novel", epochs=16, lr=0.01, steps_per_epoch=0, batch_size=4, seed=304 + 1000)


def test_datasets_know_no_task_of_a_method():
    assert {task for name in DATASETS.names() for task in DATASETS.get(name).policy.recipes} == {"segmentation"}
