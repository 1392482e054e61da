"""Component metrics and open-set segmentation in a run, on scores whose results can be worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from harness import measured
from sklearn.metrics import jaccard_score

from benchmark.run.contract import Toy

TOWNS = """
import dataclasses
from benchmark.run.contract import Toy

class Towns(Toy):
    card = dataclasses.replace(Toy.card, title="Two towns", licence="none", citation="none")
    policy = dataclasses.replace(
        Toy.policy, recipes={"segmentation": {"epochs": 1, "steps_per_epoch": 1, "batch_size": 2}}
    )

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return dataclasses.replace(sample, id=f"t{min(index, 1)}/{index}")
"""

# The anomaly is 10 rows of 12 pixels, at columns 44 to 55 of every image.
ORACLE = """
import pathlib
import numpy as np
import torch
from benchmark.method import Method

class Oracle(Method):
    title = "Oracle"

    def __init__(self, columns: int = 12, kept: str = ""):
        super().__init__()
        self.columns, self.kept = columns, kept

    def score(self, batch, networks):
        scores = torch.zeros(len(batch), *batch.size)
        scores[:, 30:40, 44:56] = 1  # where the anomaly is; the labels say nothing to a method
        scores[:, :, 44 + self.columns :] = 0
        for one, image_id in zip(scores, batch.ids):
            one *= 3 if image_id.startswith("t1") else 2
        if self.kept:
            for one, image_id in zip(networks["base"](batch).prediction(), batch.ids):
                np.save(pathlib.Path(self.kept) / f"{image_id.replace('/', '-')}.npy", one.numpy())
        return scores
"""

LATE = """
import pathlib
from benchmark.method import Method

class Late(Method):
    title = "Late"

    def __init__(self, how: str = "none"):
        super().__init__()
        self.how, self.seen = how, set()

    def score(self, batch, networks):
        again = "toy/2" in self.seen
        self.seen.update(batch.ids)
        if again and batch.ids[0] == "toy/2":
            if self.how == "raise":
                raise RuntimeError("the prototypes are gone")
            if self.how == "interrupt" and not pathlib.Path("mended").exists():
                raise KeyboardInterrupt
        return -networks["base"](batch).logits().amax(dim=1)
"""
"""Fails when it scores an image for the second time."""


@pytest.fixture
def towns(bench):
    """The command line on four images of two towns: t0/0, t1/1, t1/2 and t1/3."""
    bench.plugin("towns", TOWNS)
    unlabelled = TOWNS.replace("class Towns(Toy):", "class Unlabelled(Toy):")
    unlabelled = unlabelled.replace('title="Two towns"', 'title="Two towns", class_labels=False')
    bench.plugin("unlabelled", unlabelled)
    bench.plugin("oracle", ORACLE)
    return lambda *rest: bench("run", "--dataset", "towns", *rest)


def metrics(bench, label, dataset="town"):
    return bench.record(label, dataset=dataset)["metrics"]


def test_scores_that_equal_the_labels_find_every_component(bench):
    bench.plugin("oracle", ORACLE)
    assert bench("run", "--methods", "oracle", "--protocols", "smiyc-obstacles,smiyc-components") == 0
    assert "evaluate 1 method on 4 images, in two passes" in bench.out
    found = metrics(bench, "oracle")
    assert set(found) == {"per-image", "pooled", "smiyc-obstacles", "smiyc-components"}
    obstacles = found["smiyc-obstacles"]
    assert (obstacles["aggregation"], obstacles["images"], obstacles["auroc"]) == ("components", 4, None)
    assert [obstacles["extra"][k] for k in ("siou", "ppv", "mean_f1")] == [1, 1, 1]
    assert obstacles["extra"]["true_components"] == obstacles["extra"]["predicted_components"] == 4
    # Of 120 pixels, fewer than the 500 from which this protocol lets a predicted component count.
    anomalies = found["smiyc-components"]["extra"]
    assert (anomalies["siou"], anomalies["mean_f1"], anomalies["ppv"]) == (0, 0, None)
    assert (anomalies["true_components"], anomalies["predicted_components"]) == (4, 0)
    assert "mean F1" in bench.out and "smiyc-obstacles v2" in bench.out


def test_half_of_every_component(bench):
    bench.plugin("oracle", ORACLE)
    assert bench("run", "--methods", "oracle:columns=6", "--protocols", "smiyc-obstacles") == 0
    extra = metrics(bench, "oracle+columns=6")["smiyc-obstacles"]["extra"]
    # sIoU is .5: found at the thresholds .25 to .5, six of eleven, and missed above.
    assert (extra["siou"], extra["ppv"], extra["threshold"]) == (0.5, 1, 2)
    assert extra["mean_f1"] == pytest.approx(6 / 11)


def test_open_set_segmentation_with_thresholds_of_the_other_town(bench, towns):
    kept = bench.folder / "kept"
    kept.mkdir()
    # As a default the path is no part of the label.
    bench.plugin("oracle", ORACLE.replace('kept: str = ""', f"kept: str = {str(kept)!r}"))
    assert towns("--methods", "oracle", "--protocols", "open-set") == 0
    open_set = metrics(bench, "oracle", "towns")["open-set"]
    extra = open_set["extra"]
    # Anomalies score 2 in t0 and 3 in t1, so t0 rejects nothing and t1 exactly its anomalies.
    assert (extra["threshold_t0"], extra["threshold_t1"]) == (3, 2)
    labels = {name: _labels(bench, name) for name in ("t0/0", "t1/1", "t1/2", "t1/3")}
    predictions = {name: np.load(kept / f"{name.replace('/', '-')}.npy") for name in labels}

    def miou(town, rejected):
        ids = [name for name in labels if name.startswith(town)]
        true = np.concatenate([labels[name].ravel() for name in ids]).astype(int)
        given = np.concatenate([predictions[name].ravel() for name in ids]).astype(int)
        given = np.where((true == 254) & rejected, 254, given)
        known = [c for c in range(len(Toy.card.classes)) if (true == c).any() or (given == c).any()]
        return jaccard_score(true, given, labels=known, average="macro", zero_division=0)

    assert extra["open_miou_t0"] == pytest.approx(miou("t0", False))
    assert extra["open_miou_t1"] == pytest.approx(miou("t1", True))
    assert extra["open_miou"] == pytest.approx((miou("t0", False) + 3 * miou("t1", True)) / 4)
    assert extra["closed_miou"] == pytest.approx((miou("t0", True) + 3 * miou("t1", True)) / 4)
    assert extra["anomaly_iou"] == pytest.approx(3 / 4)
    assert (open_set["aggregation"], open_set["images"]) == ("open-set", 4)
    assert "open-mIoU" in bench.out and f"{100 * extra['open_miou']:.1f}" in bench.out


def _labels(bench, image_id):
    return Toy("test", bench.data)[int(image_id.partition("/")[2])].labels.numpy()


@pytest.mark.parametrize(("dataset", "reason"), [("town", "two or more"), ("unlabelled", "does not label the known")])
def test_a_protocol_that_does_not_apply_is_said_once_and_settled(bench, towns, dataset, reason):
    wanted = ("--dataset", dataset, "--methods", "msp,energy", "--protocols", "open-set")
    assert bench("run", *wanted) == 0
    (sentence,) = [line for line in bench.out.splitlines() if line.startswith("Protocol open-set does not apply here")]
    assert reason in sentence
    open_set = metrics(bench, "msp", dataset)["open-set"]
    assert open_set["images"] == 0 and reason in open_set["missing"]["open_miou"]
    assert "open-mIoU" not in bench.out
    assert bench("run", *wanted) == 0 and "msp: current" in bench.out


def test_a_record_with_more_protocols_answers_for_fewer(bench, towns):
    assert towns("--methods", "msp") == 0
    before = metrics(bench, "msp", "towns")
    assert towns("--methods", "msp", "--protocols", "smiyc-obstacles,open-set") == 0
    assert "the protocol open-set is not measured yet" in bench.out
    record = bench.record("msp", dataset="towns")
    assert {name: record["metrics"][name] for name in before} == before
    for fewer in ((), ("--protocols", "open-set"), ("--protocols", "pooled, smiyc-obstacles")):
        assert towns("--methods", "msp", *fewer) == 0
        assert "msp: current" in bench.out and bench.record("msp", dataset="towns") == record
    assert towns("--methods", "msp", "--protocols", "densehybrid", "--dry-run") == 0
    assert "the protocol densehybrid is not measured yet" in bench.out


def test_a_method_that_fails_in_the_second_pass_leaves_the_others_alone(bench):
    bench.plugin("late", LATE)
    assert bench("run", "--methods", "msp,late:how=raise", "--protocols", "smiyc-obstacles") == 1
    assert bench.records() == {"msp"} and metrics(bench, "msp")["smiyc-obstacles"]["images"] == 4
    (sentence,) = bench.err.splitlines()
    assert "RuntimeError: the prototypes are gone (bench/late.py, line 17, in score) (image toy/2)" in sentence


def test_an_interrupted_second_pass_repeats_nothing_of_the_first(bench, towns, forwards):
    """Nor does the threshold calibrated in it depend on the interruption."""
    bench.plugin("late", LATE.replace("toy/2", "t1/2"))
    wanted = ("--protocols", "smiyc-obstacles,open-set", "--methods")
    assert towns(*wanted, "late") == 0
    reference = measured(bench.record("late", dataset="towns"))
    assert (
        towns(*wanted, "late:how=interrupt") == 130
        and "what was finished is kept, the same command does the rest" in bench.err
    )
    Path("mended").touch()
    forwards.clear()
    assert towns(*wanted, "late:how=interrupt") == 0
    assert "goes on after 4 of 4 images" in bench.out and len(forwards) == 4
    assert measured(bench.record("late+how=interrupt", dataset="towns")) == reference


def test_an_unknown_protocol_is_one_sentence_with_a_suggestion(bench):
    assert bench("run", "--methods", "msp", "--protocols", "open-set,smiyc-component") == 2
    assert bench.err == "error: There is no protocol 'smiyc-component'; did you mean 'smiyc-components'?\n"


def test_reproduce_takes_the_dataset_with_or_without_the_option(bench, towns):
    rest = ("--data", bench.data, "--out", bench.runs, "--device", "cpu", "--methods", "msp", "--dry-run")
    plans = []
    for dataset in (("towns",), ("--dataset", "towns"), ("towns", "--dataset", "towns")):
        assert bench("reproduce", *dataset, *rest) == 0
        # How busy the machine is, is another number every time.
        plans.append([line for line in bench.out.splitlines() if "machine is busy" not in line])
    assert plans[0].count("Dataset towns.") == 2 and plans[0] == plans[1] == plans[2]
    assert bench("reproduce", "towns", "--dataset", "town", *rest) == 2
    assert bench.err == "error: reproduce towns --dataset town: name one dataset.\n"
