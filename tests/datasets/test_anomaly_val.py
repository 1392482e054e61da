import numpy as np
import pytest
import torch

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError
from benchmark.networks import External
from benchmark.own_network import Resized
from benchmark.registry import DATASETS
from benchmark.training import Settings, cached
from tests.datasets.files import noise, write

SETS = {
    "road-anomaly": ("RoadAnomaly", {0: 0, 2: ANOMALY}, (5_446_413, 49_849_587, 0)),
    "road-anomaly-21": ("RoadAnomaly21", {0: 0, 1: ANOMALY, 255: IGNORE}, (1_317_063, 7_578_030, 320_907)),
    "road-obstacle-21": ("RoadObstacle21", {0: 0, 1: ANOMALY, 255: IGNORE}, (129_782, 19_106_170, 42_972_048)),
}
RESIZED = {
    "road-anomaly": (3_098_336, 28_358_944, 0),
    "road-anomaly-21": (749_109, 4_311_193, 182_578),
    "road-obstacle-21": (32_842, 4_830_656, 10_865_142),
}
"""Pixels after resizing the masks to 1024x512 with Pillow's nearest neighbour."""
EVERY = pytest.mark.parametrize("name", SETS)


@EVERY
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_layout_and_label_values(tmp_path, name, suffix):
    folder, values, _ = SETS[name]
    raw = np.resize(np.array(list(values), np.uint8), (12, 20))
    for n in (0, 1, 10):
        write(tmp_path / "anomaly_val" / folder / "images" / f"{n}.{suffix}", noise(n))
        write(tmp_path / "anomaly_val" / folder / "labels_masks" / f"{n}.png", raw)
    data = DATASETS.create(name, split="test", root=tmp_path)
    assert [s.id for s in data] == ["0", "1", "10"]
    assert torch.equal(data[0].labels, torch.from_numpy(np.vectorize(values.get)(raw).astype(np.uint8)))
    others = [n for n in SETS if n != name]
    assert not any(DATASETS.get(n).available(tmp_path) for n in others)


@EVERY
@pytest.mark.parametrize("split", ["train", "val"])
def test_there_is_nothing_to_train_on(tmp_path, name, split):
    with pytest.raises(BenchmarkError, match=f"{name} has no {split} split.*cityscapes"):
        DATASETS.create(name, split=split, root=tmp_path)


@EVERY
def test_known_pixels_have_no_class(name):
    cls = DATASETS.get(name)
    assert not cls.class_labels and cls.trained_on == "cityscapes" and len(cls.classes) == 19


def test_a_value_of_another_set_is_an_error(tmp_path):
    write(tmp_path / "anomaly_val/RoadAnomaly/images/0.jpg", noise(0))
    write(tmp_path / "anomaly_val/RoadAnomaly/labels_masks/0.png", np.ones((12, 20), np.uint8))
    with pytest.raises(BenchmarkError, match=r"labels_masks/0\.png: the value 1 "):
        DATASETS.create("road-anomaly", split="test", root=tmp_path)[0]


@EVERY
def test_real_counts_and_pixels(real_data, name):
    cls = DATASETS.get(name)
    if not cls.available(real_data):
        pytest.skip(f"ANOMALY_DATA holds no anomaly_val/{cls.folder}")
    data = cached(DATASETS.create(name, split="test", root=real_data), Settings.choose("cpu", progress=False))
    assert len(data) == cls.sizes["test"]
    network = External(torch.nn.Conv2d(3, 19, 1), 19, size=(512, 1024), filter="nearest")
    for images, expected in ((data, SETS[name][2]), (Resized(data, network), RESIZED[name])):
        counts = torch.zeros(256, dtype=torch.long)
        for sample in images:
            assert sample.image.shape[1:] == sample.labels.shape
            counts += torch.bincount(sample.labels.flatten(), minlength=256)
        assert (counts[ANOMALY], counts[0], counts[IGNORE]) == expected
