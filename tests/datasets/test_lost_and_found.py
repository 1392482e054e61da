import numpy as np
import pytest
import torch

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from tests.datasets.files import lost_and_found, write

NAMES = ("02_Hanns_Klemm_Str_44_000000_000020", "02_Hanns_Klemm_Str_44_000000_000100")
KNOWN = ("15_Rechbergstr_Deckenpfronn_000000_000010", "01_Hanns_Klemm_Str_45_000006_000010")
RAW = np.resize(np.arange(44, dtype=np.uint8), (12, 20))
NO_HAZARDS = {31, 33, 34, 36, 37, 38, 39}


def open_test(root, variant=""):
    return DATASETS.create(f"lost-and-found{variant}", split="test", root=root)


def expected(no_hazard):
    values = [IGNORE, 0] + [no_hazard if v in NO_HAZARDS else ANOMALY for v in range(2, 44)]
    return torch.tensor(values, dtype=torch.uint8)[torch.from_numpy(RAW).int()]


@pytest.mark.parametrize("home", ["lost_and_found", "LostAndFound", "dataset_LostAndFound", "."])
def test_hazards_are_anomalies_and_other_objects_void(tmp_path, home):
    lost_and_found(tmp_path / home, (*NAMES, *KNOWN), RAW)
    assert DATASETS.get("lost-and-found").available(tmp_path)
    data = open_test(tmp_path)
    assert data.label == "lost-and-found" and data.card.sizes["test"] == 1203 and len(data) == 4
    assert [s.id for s in data][-3:-1] == [f"02_Hanns_Klemm_Str_44/{name}" for name in NAMES]
    assert torch.equal(data[0].labels, expected(no_hazard=IGNORE))


def test_train_ids_say_the_same(tmp_path):
    raw = np.vectorize(lambda v: 255 if v == 0 else 1 if v == 1 else 0 if v in NO_HAZARDS else 2)(RAW).astype(np.uint8)
    lost_and_found(tmp_path / "lost_and_found", NAMES, raw, "_gtCoarse_labelTrainIds")
    assert torch.equal(open_test(tmp_path)[0].labels, expected(no_hazard=IGNORE))
    with pytest.raises(BenchmarkError, match=r"has no label file .*_gtCoarse_labelIds\.\*"):
        open_test(tmp_path, ":variant=no-known")


def test_without_known_objects_everything_on_the_road_is_an_anomaly(tmp_path):
    lost_and_found(tmp_path / "lost_and_found", (*NAMES, *KNOWN), RAW)
    data = open_test(tmp_path, ":variant=no-known")
    assert data.label == "lost-and-found:variant=no-known" and data.card.sizes["test"] == 1043
    assert [p.id.rpartition("/")[2] for p in data.pairs] == list(NAMES)
    assert torch.equal(data[1].labels, expected(no_hazard=ANOMALY))
    assert data.fingerprint() != open_test(tmp_path).fingerprint()


def test_of_the_complete_set_images_without_labels_are_left_out(tmp_path):
    for part, end in (("leftImg8bit", "_leftImg8bit"), ("gtCoarse", "_gtCoarse_labelIds")):
        folder = tmp_path / "lost_and_found" / part / "test" / "03_Here_000000"
        folder.mkdir(parents=True)
        for i in range(1203):
            (folder / f"03_Here_000000_{i:06}{end}.png").touch()
    left = {int(p.id[-6:]) for p in open_test(tmp_path, ":variant=no-known").pairs}
    assert len(left) == 1203 - 17 and 17 not in left and 793 not in left and 16 in left
    assert len(open_test(tmp_path)) == 1203


def test_what_is_missing_or_unknown_is_named(tmp_path):
    with pytest.raises(
        BenchmarkError, match=r"lost_and_found/gtCoarse/test\); `python -m benchmark fetch lost-and-found`"
    ):
        open_test(tmp_path)
    lost_and_found(tmp_path / "lost_and_found", NAMES, RAW)
    with pytest.raises(BenchmarkError, match="no variant 'all'; it has hazards and no-known"):
        open_test(tmp_path, ":variant=all")
    place = "lost_and_found/gtCoarse/test/02_Hanns_Klemm_Str_44"
    write(tmp_path / place / f"{NAMES[0]}_gtCoarse_labelIds.png", np.full((12, 20), 44, np.uint8))
    with pytest.raises(BenchmarkError, match=rf"{NAMES[0]}_gtCoarse_labelIds\.png: the value 44 "):
        open_test(tmp_path)[0]
