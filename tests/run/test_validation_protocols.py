"""Protocols whose thresholds come from normal validation images, and those of the network, in a run."""

from pathlib import Path

import numpy as np
import pytest
from harness import measured
from PIL import Image

from benchmark.run.contract import Toy

PEAK = """
import torch
from benchmark.method import Method

class Peak(Method):
    title = "Peak"

    def score(self, batch, networks):
        columns = 1 - (torch.arange(64) - 50).abs() / 64
        return columns.expand(len(batch), 48, 64)
"""
"""Highest at column 50 of every image; the anomaly of a test image lies in columns 44 to 55."""

EDITIONS = """
from benchmark.run.contract import Toy

class Editions(Toy):
    import dataclasses
    card = dataclasses.replace(Toy.card, title="Editions", licence="none", citation="none")
    policy = dataclasses.replace(
        Toy.policy, recipes={"segmentation": {"epochs": 1, "steps_per_epoch": 1, "batch_size": 2}}
    )

    def fingerprint(self):
        mark = self.root / "edition"
        return super().fingerprint() + (mark.read_text() if self.split == "val" and mark.exists() else "")
"""


@pytest.fixture
def peak(bench):
    bench.plugin("peak", PEAK)
    return lambda *rest: bench("run", "--methods", "peak", *rest)


def test_a_threshold_of_validation_images_is_applied_to_the_test_images(bench, peak):
    assert peak("--protocols", "open-set-fpr,conformal,tpr-fpr05") == 0
    record = bench.record("peak")
    found = record["metrics"]["open-set-fpr"]["extra"]
    # Three of 64 columns lie above that of 48 and 52, five would be more than 5 %.
    assert found["threshold"] == 1 - 2 / 64
    assert (found["validation_images"], found["validation_pixels"]) == (4, 4 * 48 * 64)
    assert found["tpr"] == found["tpr_per_image"] == 3 / 12
    assert found["fpr"] == pytest.approx((3 * 48 - 3 * 10) / (48 * 64 - 120))
    assert 0 < found["open_miou"] < 1
    conformal = record["metrics"]["conformal"]
    assert conformal["missing"]["threshold"] == "infinite", "four images can promise nothing"
    assert conformal["extra"]["tpr_per_image"] == 0
    assert record["metrics"]["tpr-fpr05"]["extra"]["tpr"] == 3 / 12
    val = Toy("val", bench.data)
    assert record["validation"] == {"name": "town", "split": "val", "fingerprint": val.fingerprint(), "images": 4}
    assert "open-set-fpr v1" in bench.out and "TPR at 5 % FPR" in bench.out


def test_a_run_that_asks_for_none_scores_no_validation_image_and_records_none(bench, peak, forwards):
    assert bench("train", "--methods", "msp") == 0
    forwards.clear()
    assert peak() == 0
    assert len(forwards) == 4 and "validation" not in bench.record("peak")
    forwards.clear()
    assert peak("--protocols", "conformal") == 0
    assert len(forwards) == 4 + 4 + 4, "validation images, and the test images in two passes"


def test_other_validation_images_make_the_record_stale(bench):
    bench.plugin("editions", EDITIONS)
    wanted = ("run", "--dataset", "editions", "--methods", "msp", "--protocols")
    assert bench(*wanted, "conformal") == 0
    (bench.data / "edition").write_text("2")
    assert bench(*wanted, "pooled") == 0 and "msp: current" in bench.out
    assert bench(*wanted, "conformal") == 0
    assert "the validation images changed from toy-val to toy-val2" in bench.out
    assert bench(*wanted, "conformal") == 0 and "msp: current" in bench.out


def test_where_there_are_no_validation_images_the_run_says_so_and_goes_on(bench, peak):
    folder = bench.folder / "photos"
    folder.mkdir()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / "a.png")
    assert peak("--protocols", "conformal", "--normal", folder) == 0
    assert "no validation split to take thresholds from" in bench.out
    record = bench.record("peak")
    assert "no scores of normal validation images" in record["metrics"]["conformal"]["missing"]["fpr_per_image"]
    assert "validation" not in record and record["metrics"]["pooled"]["aupr"] is not None
    assert peak("--protocols", "conformal", "--normal", folder) == 0 and "peak: current" in bench.out


def test_a_trial_takes_as_many_validation_images_as_test_images(bench, peak):
    assert peak("--protocols", "open-set-fpr", "--limit", "2") == 0
    extra = bench.record("peak+first2")["metrics"]["open-set-fpr"]["extra"]
    assert extra["validation_images"] == 2


def test_calibration_is_that_of_the_network_whoever_is_measured(bench, peak):
    assert peak("--protocols", "calibration,calibration-val,sizes") == 0
    val = bench.record("peak")["metrics"]["calibration-val"]
    assert val["extra"]["pixels"] == 4 * 48 * 64 and val["images"] == 4 and bench.record("peak")["validation"]
    mine = bench.record("peak")["metrics"]["calibration"]
    assert bench("run", "--methods", "msp,energy", "--protocols", "calibration") == 0
    assert [bench.record(m)["metrics"]["calibration"] for m in ("msp", "energy")] == [mine, mine]
    assert mine["images"] == 4 and 0 <= mine["extra"]["ece"] <= 1
    known = sum(int((Toy("test", bench.data)[i].labels < 254).sum()) for i in range(4))
    assert mine["extra"]["pixels"] == known and "ECE" in bench.out
    sizes = bench.record("peak")["metrics"]["sizes"]["extra"]
    assert sizes["components_49-256"] == 4 and sizes["components_0-49"] == 0


def test_an_interrupted_pass_goes_on_to_the_same_calibration(bench):
    wanted = ("run", "--methods", "msp", "--protocols", "calibration,tpr-fpr05-per-image,open-set-fpr")
    (bench.data / "damaged").write_text("2")
    assert bench(*wanted) == 2
    (bench.data / "damaged").unlink()
    assert bench(*wanted) == 0 and "goes on after 2 of 4 images" in bench.out
    found = measured(bench.record("msp"))
    assert bench(*wanted, "--force") == 0 and measured(bench.record("msp")) == found


INTERRUPTED = """
import pathlib
from benchmark.method import Method

class Interrupted(Method):
    title = "Interrupted"

    def __init__(self, batch: int = 0):
        super().__init__()
        self.batch, self.seen = batch, 0

    def score(self, batch, networks):
        self.seen += 1
        if self.seen == self.batch and not pathlib.Path("mended").exists():
            raise KeyboardInterrupt
        return -networks["base"](batch).logits().amax(dim=1)
"""


@pytest.mark.parametrize("batch", [7, 11])
def test_an_interrupted_second_pass_sees_the_validation_images_anew(bench, batch):
    """Four batches of test images, four of validation images (the seventh is one), four of test images again."""
    bench.plugin("interrupted", INTERRUPTED)
    wanted = ("run", "--batch-size", "1", "--protocols", "open-set-fpr,component-ap", "--methods")
    assert bench(*wanted, "interrupted") == 0
    whole = measured(bench.record("interrupted"))["metrics"]
    assert bench(*wanted, f"interrupted:batch={batch}") == 130
    Path("mended").touch()
    assert bench(*wanted, f"interrupted:batch={batch}") == 0, bench.err
    assert "goes on after 4 of 4 images" in bench.out
    assert measured(bench.record(f"interrupted+batch={batch}"))["metrics"] == whole
