import re

import numpy as np
import pytest
import torch

from benchmark.cli.main import main
from benchmark.data import ANOMALY, IGNORE, Dataset, DatasetCard
from benchmark.derived import Resized
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.networks import External
from benchmark.registry import DATASETS
from benchmark.run.contract import check_dataset
from benchmark.training import cached
from tests.datasets.files import noise, write

VOID = {0: 0, 1: ANOMALY, 255: IGNORE}
SETS = {
    "road-anomaly": ("RoadAnomaly", {0: 0, 2: ANOMALY}),
    "road-anomaly-21": ("RoadAnomaly21", VOID),
    "road-obstacle-21": ("RoadObstacle21", VOID),
    "fishyscapes-static": ("fs_static", VOID),
    "fishyscapes-lost-and-found": ("FS_LostFound_full", VOID),
}
PIXELS = {  # anomaly, known and void: native, then resized to 1024x512 by nearest neighbour as Pillow does it
    "road-anomaly": ((5_446_413, 49_849_587, 0), (3_098_336, 28_358_944, 0)),
    "road-anomaly-21": ((1_317_063, 7_578_030, 320_907), (749_109, 4_311_193, 182_578)),
    "road-obstacle-21": ((129_782, 19_106_170, 42_972_048), (32_842, 4_830_656, 10_865_142)),
}
EVERY = pytest.mark.parametrize("name", SETS)


def bundle(home, name, parts=("images", "labels_masks"), suffix="jpg"):
    """A set's folder with three images; returns the mask."""
    raw = np.resize(np.array(list(SETS[name][1]), np.uint8), (12, 20))
    for n in (0, 1, 10):
        write(home / parts[0] / f"{n}.{suffix}", noise(n))
        write(home / parts[1] / f"{n}.png", raw)
    return raw


def open_test(name, root):
    return DATASETS.create(name, split="test", root=root)


@EVERY
@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_layout_and_label_values(tmp_path, name, suffix):
    folder, values = SETS[name]
    raw = bundle(tmp_path / "anomaly_val" / folder, name, suffix=suffix)
    data = open_test(name, tmp_path)
    assert [s.id for s in data] == ["0", "1", "10"]
    assert torch.equal(data[0].labels, torch.from_numpy(np.vectorize(values.get)(raw).astype(np.uint8)))
    others = [n for n in SETS if n != name]
    assert not any(DATASETS.get(n).available(tmp_path) for n in others)


@pytest.mark.parametrize(
    ("name", "place", "parts"),
    [
        ("road-obstacle-21", "Validation_Dataset/RoadObsticle21", ("images", "labels_masks")),
        ("fishyscapes-lost-and-found", "Anomaly_Validation_Dataset/FS_LostAndFound_full", ("images", "labels_masks")),
        ("fishyscapes-static", "FS_Static", ("images", "labels_masks")),
        ("fishyscapes-static", "fishyscapes/Static", ("original", "labels")),
        ("fishyscapes-lost-and-found", "fishyscapes/LostAndFound", ("original", "labels")),
        ("fishyscapes-lost-and-found", "fs_lost_and_found", ("images", "labels")),
    ],
)
def test_other_copies_are_found(tmp_path, name, place, parts):
    bundle(tmp_path / place, name, parts)
    assert DATASETS.get(name).available(tmp_path) and len(open_test(name, tmp_path)) == 3


@EVERY
@pytest.mark.parametrize("split", ["train", "val"])
def test_there_is_nothing_to_train_on(tmp_path, name, split):
    with pytest.raises(BenchmarkError, match=f"{name} has no {split} split.*cityscapes"):
        DATASETS.create(name, split=split, root=tmp_path)


@EVERY
def test_an_absent_set_says_where_it_is_looked_for(tmp_path, name):
    (tmp_path / "anomaly_val" / SETS[name][0] / "images").mkdir(parents=True)
    assert not DATASETS.get(name).available(tmp_path)
    with pytest.raises(BenchmarkError, match=rf"has no folder anomaly_val/{SETS[name][0]} \(with images/ and labels_m"):
        open_test(name, tmp_path)


@EVERY
def test_known_pixels_have_no_class(name):
    cls = DATASETS.get(name)
    assert not cls.card.class_labels and cls.card.trained_on == "cityscapes" and len(cls.card.classes) == 19
    assert "pooled" in cls.policy.protocols


@EVERY
def test_check_asks_for_no_split_that_the_set_says_it_lacks(tmp_path, name):
    bundle(tmp_path / "anomaly_val" / SETS[name][0], name)
    found = {f.clause: f.wrong for f in check_dataset(name, tmp_path)}
    assert not any(found.values()) and "test opens, 3 images" in found
    assert not any(clause.startswith(("train", "val")) for clause in found)


def test_without_the_training_images_a_trained_network_is_what_mends_it(tmp_path, capsys):
    bundle(tmp_path / "anomaly_val/RoadAnomaly", "road-anomaly")
    assert main(["run", "--dataset", "road-anomaly", "--methods", "msp", "--data", str(tmp_path), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"^error: RoadAnomaly is evaluated with networks of cityscapes: .*fetch cityscapes", said)
    assert said.endswith("or take one that is trained, with --network and --weights.\n") and said.count("\n") == 1


class Harbour(Dataset):
    """A set of a user's own, which nobody publishes."""

    card = DatasetCard(title="Harbour", classes=("road",))
    __len__ = __getitem__ = fingerprint = None


def test_only_what_is_published_can_be_fetched(tmp_path):
    said = str(Harbour("test", tmp_path).absent("folder harbour"))
    assert said == f"{tmp_path} has no folder harbour; put it there, or name its place with --data."


def test_list_says_which_set_is_found_and_which_splits_it_has(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    bundle(tmp_path / "anomaly_val/RoadAnomaly", "road-anomaly")
    assert main(["list", "datasets", "--data", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, words in (
        ("road-anomaly", "found -/-/60 RoadAnomaly"),
        ("fishyscapes-static", "not found -/-/30 Fishyscapes Static (validation)"),
        ("cityscapes", "not found 2975/500/- Cityscapes"),
        ("bdd-anomaly", "not found 6280/910/810 BDD-Anomaly"),
    ):
        assert f"{name} {words}" in [" ".join(line.split()) for line in lines]


@EVERY
def test_a_value_of_another_set_is_an_error(tmp_path, name):
    folder = SETS[name][0]
    bundle(tmp_path / "anomaly_val" / folder, name)
    wrong = 1 if name == "road-anomaly" else 2
    write(tmp_path / "anomaly_val" / folder / "labels_masks/0.png", np.full((12, 20), wrong, np.uint8))
    with pytest.raises(BenchmarkError, match=rf"labels_masks/0\.png: the value {wrong} "):
        open_test(name, tmp_path)[0]


@pytest.mark.parametrize("name", PIXELS)
def test_real_counts_and_pixels(real_data, name):
    cls = DATASETS.get(name)
    if not cls.available(real_data):
        pytest.skip(f"ANOMALY_DATA holds no anomaly_val/{cls.folders[0]}")
    data = cached(open_test(name, real_data), Machine.choose("cpu", progress=False))
    assert len(data) == cls.card.sizes["test"]
    network = External(torch.nn.Conv2d(3, 19, 1), 19, size=(512, 1024), filter="nearest")
    for images, expected in zip((data, Resized(data, network)), PIXELS[name], strict=True):
        counts = torch.zeros(256, dtype=torch.long)
        for sample in images:
            assert sample.image.shape[1:] == sample.labels.shape
            counts += torch.bincount(sample.labels.flatten(), minlength=256)
        assert tuple(counts[[ANOMALY, 0, IGNORE]].tolist()) == expected
