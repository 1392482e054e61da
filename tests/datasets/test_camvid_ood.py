import pytest
import torch

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from tests.datasets.files import camvid, ids, write


def open_split(split, root):
    return DATASETS.create("camvid-ood", split=split, root=root)


@pytest.mark.parametrize("names", [("camvid", "camvid_ood"), ("CamVid", "CamVid-OOD")])
def test_layout_and_label_values(tmp_path, names):
    camvid(tmp_path, names)
    assert DATASETS.get("camvid-ood").available(tmp_path)
    for split, highest in (("train", 11), ("val", 11), ("test", 12)):
        sample = open_split(split, tmp_path)[1]
        assert sample.id == "drive_1"
        raw = torch.from_numpy(ids(0, highest)).long()
        expected = raw.masked_fill(raw == 11, IGNORE).masked_fill(raw == 12, ANOMALY)
        assert torch.equal(sample.labels.long(), expected)


def test_an_anomaly_in_training_is_an_error(tmp_path):
    camvid(tmp_path)
    write(tmp_path / "camvid/trainannot/drive_0.png", ids(0, 12))
    with pytest.raises(BenchmarkError, match=r"trainannot/drive_0\.png: the value 12"):
        open_split("train", tmp_path)[0]


def test_a_truncated_jpeg_is_named(tmp_path):
    camvid(tmp_path)
    path = tmp_path / "camvid_ood/test_ood/drive_0.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BenchmarkError, match=r"test_ood/drive_0\.jpg cannot be decoded.*truncated"):
        open_split("test", tmp_path)[0]


def test_absent_folders_are_an_error(tmp_path):
    with pytest.raises(BenchmarkError, match="has no folder camvid_ood"):
        open_split("test", tmp_path)


def test_real_counts_and_pixels(real_data):
    cls = DATASETS.get("camvid-ood")
    if not cls.available(real_data):
        pytest.skip("ANOMALY_DATA holds no camvid and camvid_ood")
    splits = {split: open_split(split, real_data) for split in cls.card.sizes}
    assert {split: len(data) for split, data in splits.items()} == cls.card.sizes
    counts = torch.zeros(256, dtype=torch.long)
    for sample in splits["test"]:
        assert sample.image.shape == (3, 360, 480)
        counts += torch.bincount(sample.labels.flatten(), minlength=256)
    assert counts[ANOMALY] == 1_668_963
    assert round(100 * counts[ANOMALY].item() / (counts.sum() - counts[IGNORE]).item(), 2) == 4.30
    void = sum(int((sample.labels == IGNORE).sum()) for sample in splits["val"])
    assert void == 297_271
