import numpy as np
import pytest
import torch

from benchmark.data import IGNORE
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from benchmark.run.contract import check_dataset
from tests.datasets.files import cityscapes, noise, write

# Every value of a labelIds file with its train id, as the authors' table of labels lists them.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
    28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip
RAW = np.resize(np.array([*range(34), 255], np.uint8), (12, 20))
EXPECTED = np.vectorize(lambda v: TRAIN_IDS.get(int(v), IGNORE))(RAW).astype(np.uint8)


def open_split(split, root):
    return DATASETS.create("cityscapes", split=split, root=root)


@pytest.mark.parametrize(
    "places",
    [
        ("cityscapes/leftImg8bit", "cityscapes/gtFine"),
        ("Cityscapes/leftImg8bit_trainvaltest/leftImg8bit", "Cityscapes/gtFine_trainvaltest/gtFine"),
        ("leftImg8bit", "gtFine"),
    ],
)
def test_layouts_and_every_value_of_label_ids(tmp_path, places):
    cityscapes(tmp_path, RAW, *places)
    assert DATASETS.get("cityscapes").available(tmp_path)
    for split, city in (("train", "ulm"), ("val", "lindau")):
        data = open_split(split, tmp_path)
        assert [s.id for s in data] == [f"{city}/{city}_000002_000019", f"{city}/{city}_000010_000019"]
        assert torch.equal(data[1].labels, torch.from_numpy(EXPECTED))
    assert {label for label in np.unique(EXPECTED) if label != IGNORE} == set(range(19))


def test_train_ids_give_the_same_labels_where_there_are_no_label_ids(tmp_path):
    cityscapes(tmp_path, EXPECTED, ending="_gtFine_labelTrainIds")
    assert torch.equal(open_split("train", tmp_path)[0].labels, torch.from_numpy(EXPECTED))


def test_other_files_of_the_archive_are_passed_over(tmp_path):
    cityscapes(tmp_path, RAW)
    cityscapes(tmp_path, EXPECTED, ending="_gtFine_labelTrainIds")
    write(tmp_path / "cityscapes/gtFine/train/ulm/ulm_000002_000019_gtFine_color.png", noise(1))
    data = open_split("train", tmp_path)
    assert len(data) == 2 and all(p.labels.name.endswith("_labelIds.png") for p in data.pairs)


def test_an_unknown_value_names_the_file(tmp_path):
    cityscapes(tmp_path, np.full((12, 20), 34, np.uint8))
    with pytest.raises(BenchmarkError, match=r"ulm_000002_000019_gtFine_labelIds\.png: the value 34 .*0\.\.33, 255"):
        open_split("train", tmp_path)[0]


def test_the_test_split_is_refused_with_what_to_do(tmp_path):
    cityscapes(tmp_path, RAW)
    with pytest.raises(BenchmarkError, match=r"no test split, .*no anomalies; .*--dataset road-anomaly-21"):
        open_split("test", tmp_path)


def test_check_asks_for_train_and_val_only(tmp_path):
    cityscapes(tmp_path, RAW)
    found = {f.clause: f.wrong for f in check_dataset("cityscapes", tmp_path)}
    assert not any(found.values()) and {"train opens, 2 images", "val opens, 2 images"} <= set(found)


def test_missing_parts_are_named(tmp_path):
    cityscapes(tmp_path, RAW)
    label = tmp_path / "cityscapes/gtFine/train/ulm/ulm_000002_000019_gtFine_labelIds.png"
    label.unlink()
    with pytest.raises(BenchmarkError, match=r"leftImg8bit\.png has no label file .*19_gtFine_labelIds\.\*"):
        open_split("train", tmp_path)
    (tmp_path / "cityscapes/gtFine").rename(tmp_path / "elsewhere")
    assert not DATASETS.get("cityscapes").available(tmp_path)
    with pytest.raises(BenchmarkError, match=r"cityscapes/gtFine/val\); `python -m benchmark fetch cityscapes`"):
        open_split("val", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "fishyscapes-lost-and-found", "fishyscapes-static", "lost-and-found",
        "road-anomaly", "road-anomaly-21", "road-obstacle-21",
    ],
)  # fmt: skip
def test_its_networks_are_those_of_the_evaluation_only_sets(name):
    cls, source = DATASETS.get(name), DATASETS.get("cityscapes")
    assert (cls.card.trained_on, cls.card.splits, cls.card.class_labels) == ("cityscapes", ("test",), False)
    assert (cls.card.classes, cls.card.palette) == (source.card.classes, source.card.palette)
