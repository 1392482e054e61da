import json
import os

import numpy as np
import pytest
import torch
from benchmark.datasets import _mask_index
from benchmark.datasets.cityscapes import Cityscapes

from benchmark.data import ANOMALY
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from tests.datasets.files import bdd, write

KNOWN = (*range(16), 255)
"""Train ids of what no variant calls an anomaly."""
TRAIN, MOTORCYCLE, BICYCLE = 16, 17, 18


def mask(*values):
    return np.resize(np.array(values, np.uint8), (12, 20))


MASKS = {
    "train/a": mask(*KNOWN),
    "train/b": mask(*KNOWN, TRAIN),
    "train/c": mask(*KNOWN, BICYCLE),
    "train/d": mask(0, 1, 255),
    "val/a": mask(*KNOWN),
    "val/e": mask(*KNOWN, MOTORCYCLE, BICYCLE),
    "val/f": mask(*KNOWN, BICYCLE),
}
SPLITS = {
    3: {"train": ["train/a", "train/d"], "val": ["val/a"], "test": ["train/b", "train/c", "val/e", "val/f"]},
    2: {"train": ["train/a", "train/c", "train/d"], "val": ["val/a", "val/f"], "test": ["train/b", "val/e"]},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An index folder of the test's own; every test begins as a new process does."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(_mask_index, "_known", {})
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    bdd(tmp_path / "data/bdd100k", "2020", MASKS)
    return tmp_path / "data"


@pytest.fixture
def reads(monkeypatch):
    """Names of the label files that were read to decide the splits."""
    seen = []
    read = _mask_index._values
    monkeypatch.setattr(_mask_index, "_values", lambda path: (seen.append(path.stem), read(path))[1])
    return seen


def open_split(split, root, variant=3):
    return DATASETS.create(f"bdd-anomaly:variant={variant}", split=split, root=root)


def ids(root, variant=3):
    return {split: [p.id for p in open_split(split, root, variant).pairs] for split in SPLITS[variant]}


@pytest.mark.parametrize("variant", [3, 2])
@pytest.mark.parametrize("layout", ["2020", "2018", "authors"])
@pytest.mark.parametrize("home", ["bdd100k", "bdd_anomaly/bdd100k", "."])
def test_both_variants_follow_from_the_masks(tmp_path, layout, variant, home):
    root = tmp_path / "data"
    bdd(root / home, layout, MASKS)
    assert DATASETS.get("bdd-anomaly").available(root)
    assert ids(root, variant) == SPLITS[variant]
    anomalies = {3: {TRAIN, MOTORCYCLE, BICYCLE}, 2: {TRAIN, MOTORCYCLE}}[variant]
    for split in SPLITS[variant]:
        data = open_split(split, root, variant)
        for sample in data:
            named = MASKS[sample.id]
            for value in np.unique(named):
                label = sample.labels[torch.from_numpy(named == value)].unique().tolist()
                if value in anomalies:
                    assert split == "test" and label == [ANOMALY]
                else:
                    name = "other" if value == 255 else Cityscapes.card.classes[value]
                    assert [data.classes[i] for i in label] == [name]


def test_metadata_of_the_variants(root):
    three, two = open_split("test", root), open_split("test", root, 2)
    assert (three.label, two.label) == ("bdd-anomaly", "bdd-anomaly:variant=2")
    assert (sum(three.card.sizes.values()), sum(two.card.sizes.values())) == (8000, 8000)
    assert (three.card.sizes["test"], two.card.sizes["test"]) == (810, 361)
    assert three.classes == ("other", *Cityscapes.card.classes[:16])
    assert two.classes == (*three.classes, "bicycle") and len(two.card.palette) == 18 == len(set(two.card.palette))
    assert type(three)(split="test", root=root).classes == three.classes  # the variants leave each other alone
    assert three.fingerprint() != two.fingerprint()


def test_masks_are_read_once(root, reads, cache):
    assert ids(root) == SPLITS[3] and ids(root, 2) == SPLITS[2]
    assert len(reads) == len(MASKS)
    _mask_index._known.clear()  # another process
    assert ids(root) == SPLITS[3] and len(reads) == len(MASKS)
    assert [p.suffix for p in (cache / "anomaly-benchmark").iterdir()] == [".json"]
    assert not [p for p in root.rglob("*") if p.is_file() and p.suffix not in (".jpg", ".png")]


@pytest.mark.parametrize("new_process", [False, True])
def test_a_changed_mask_is_read_again(root, reads, new_process):
    ids(root)
    path = write(root / "bdd100k/labels/sem_seg/masks/train/a.png", mask(*KNOWN, TRAIN))
    write(root / "bdd100k/labels/sem_seg/masks/val/f.png", MASKS["val/f"])
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    if new_process:
        _mask_index._known.clear()
    reads.clear()
    found = ids(root)
    assert found["train"] == ["train/d"] and "train/a" in found["test"]
    assert sorted(reads) == ["a", "f"]


def test_a_kill_loses_one_block_only(root, reads, monkeypatch):
    monkeypatch.setattr(_mask_index, "_BLOCK", 2)
    path = root / "bdd100k/labels/sem_seg/masks/val/e.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BenchmarkError, match=r"val/e\.png cannot be decoded"):
        open_split("test", root)
    write(path, MASKS["val/e"])
    _mask_index._known.clear()
    reads.clear()
    assert ids(root) == SPLITS[3] and 1 <= len(reads) <= 3


@pytest.mark.parametrize("content", ["", "[]", '{"version": 0}', '{"version": 1, "masks": {"train/a": [1, 2, "x"]}}'])
def test_a_damaged_index_is_made_again(root, content):
    ids(root)
    place = _mask_index.index_file(root / "bdd100k/labels/sem_seg/masks")
    place.write_text(content)
    _mask_index._known.clear()
    assert ids(root) == SPLITS[3]
    assert len(json.loads(place.read_text())["masks"]) == len(MASKS)


def test_without_a_place_for_the_index_each_process_reads_once(root, reads, cache):
    cache.write_text("a file where a folder should be")
    assert ids(root) == SPLITS[3] and len(reads) == len(MASKS)


def test_an_unknown_value_names_the_file(tmp_path):
    bdd(tmp_path / "bdd100k", "2020", MASKS | {"train/d": mask(0, 19)})
    with pytest.raises(BenchmarkError, match=r"train/d\.png: the value 19 .*0\.\.15, 255\)"):
        open_split("train", tmp_path)[1]


def test_what_is_missing_is_named(root):
    with pytest.raises(BenchmarkError, match="no variant 1; it has 3 and 2"):
        open_split("test", root, 1)
    (root / "bdd100k/images/10k/val/e.jpg").unlink()
    with pytest.raises(BenchmarkError, match=r"masks/val/e\.png has no image file .*10k/val/e\.\*"):
        open_split("test", root)
    (root / "bdd100k/labels").rename(root / "labels")
    assert not DATASETS.get("bdd-anomaly").available(root)
    with pytest.raises(BenchmarkError, match=r"has no labelled BDD100K-10K .*fetch bdd-anomaly"):
        open_split("test", root)
