"""``table --check`` computes the per-image values of every record again from its rows."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from toy_records import measurement, record

from benchmark.cli import main as cli
from benchmark.metrics import PROTOCOLS, PixelEvaluator, View, bootstrap_interval, write_curves, write_rows
from benchmark.records.audit import audit, curve_bounds, unproved

HOME = Path(__file__).resolve().parents[2]


NAMES = ("per-image", "failure-split", "pooled")


@pytest.fixture
def results(tmp_path):
    """One record of 15 images, three of which hold no anomaly, under two per-image protocols and the pooled one."""
    made = made_of(tmp_path / "results", NAMES)
    assert audit(made) == []
    return made


def made_of(folder: Path, names: tuple[str, ...], pure: bool = True) -> Path:
    """Results with one record of 15 images under some protocols; `pure` leaves three without an anomaly."""
    rng = np.random.default_rng(0)
    evaluator = PixelEvaluator(names)
    for index in range(15):
        labels = np.zeros((12, 20), np.uint8)
        labels[: index % 5 + (not pure)] = 254
        scores, prediction = rng.normal(size=labels.shape) + (labels == 254), rng.integers(0, 2, labels.shape)
        evaluator.update(View(f"{index}", scores, labels, prediction))
    rows, metrics = evaluator.rows(), {}
    for name in names:
        found = evaluator.result(name)
        values = {m: getattr(found, m) for m in ("auroc", "aupr", "fpr95", "images", "skipped")}
        values["constant_aupr"] = found.prevalence
        if "pooled" not in name:
            ends = {m: bootstrap_interval(rows, m, name) for m in ("auroc", "aupr", "fpr95")}
            values["intervals"] = {m: [each.low, each.high] for m, each in ends.items()}
        extra = {m: getattr(found, m) for m in ("efpr", "cfpr") if getattr(found, m) is not None}
        version = evaluator.protocols[names.index(name)].version
        metrics[name] = dataclasses.replace(
            measurement("pooled" if "pooled" in name else "per-image", **values), version=version, extra=extra
        )
    made = record(metrics=metrics)
    anomalous = 600 if pure else 900
    counts = {"anomalous": anomalous, "normal": 3600 - anomalous, "ignored": 0}
    part = dataclasses.replace(
        made.dataset, images=15, published_images=15, pixels=counts, anomaly_fraction=anomalous / 3600
    )
    made = dataclasses.replace(made, dataset=part, curves="msp.curves.csv.gz")
    path = made.write(folder)
    write_rows(path.parent / made.rows, rows)
    write_curves(path.parent / made.curves, evaluator.curves())
    return folder


def files(results) -> tuple[Path, Path]:
    return next((results / "records").rglob("*.json")), next((results / "records").rglob("*.rows.csv.gz"))


@pytest.mark.parametrize(
    ("where", "change", "words"),
    [
        (("metrics", "per-image", "aupr"), 1e-7, "aupr is 0."),
        (("metrics", "failure-split", "fpr95"), -1e-4, "under failure-split"),
        (("metrics", "failure-split", "extra", "efpr"), 1e-3, "efpr is"),
        (("metrics", "per-image", "constant_aupr"), 1e-3, "constant_aupr is"),
        (("metrics", "pooled", "aupr"), 0.001, "aupr is 0."),
        (("metrics", "pooled", "aupr"), -0.001, "aupr is 0."),
        (("metrics", "pooled", "auroc"), 0.001, "auroc is 0."),
        (("metrics", "pooled", "auroc"), -0.001, "auroc is 0."),
        (("metrics", "pooled", "fpr95"), -0.001, "fpr95 is 0."),
        (("metrics", "pooled", "fpr95"), 0.001, "fpr95 is 0."),
        (("metrics", "pooled", "constant_aupr"), 1e-3, "constant_aupr is"),
        (("metrics", "pooled", "images"), -1, "14 images and 0 skipped in the record, 15 in the rows"),
        (("metrics", "per-image", "version"), 1, "per-image v2 is not the version that is known here, v1"),
        (("metrics", "pooled", "version"), -1, "pooled v1 is not the version that is known here, v2"),
        (("segmentation", "miou_denominator"), 1000, "the mIoU is over 10"),
        (("segmentation", "miou"), 1e-3, "by the IoUs of its classes"),
        (("segmentation", "miou_all"), 1e-3, "by the IoUs of its classes"),
        (("segmentation", "per_class_iou", "class 3"), 1e-3, "by the IoUs of its classes"),
        (("dataset", "images"), -1, "14 images of the dataset in the record, 15 in the rows"),
        (("dataset", "anomaly_fraction"), 1e-3, "not that of its pixels"),
        (("dataset", "pixels", "anomalous"), 1, "601 anomalous pixels in the record, 600 in the rows"),
        (("dataset", "pixels", "ignored"), 1, "3601 pixels in the record, 3600 in the rows"),
        (("metrics", "per-image", "images"), 1, "13 images in the record, 12 in the rows"),
        (("metrics", "per-image", "skipped"), 2, "5 skipped in the record, 3 in the rows"),
        (("metrics", "per-image", "intervals", "auroc", 0), 0.02, "the interval of auroc is"),
    ],
)
def test_a_changed_value_of_a_record_is_named_with_its_file(results, where, change, words):
    path, rows = files(results)
    content = json.loads(path.read_text())
    place = content
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] += change
    path.write_text(json.dumps(content))
    (problem,) = audit(results)
    assert problem.startswith(f"{path.relative_to(results.parent)} and {rows.name} contradict each other: ")
    assert words in problem


def test_a_second_pooled_protocol_is_held_to_the_first_where_it_ranks_the_same_pixels(tmp_path):
    same = made_of(tmp_path / "same", ("per-image", "pooled", "pooled-anomalous"), pure=False)
    assert audit(same) == [] and not any("pooled" in words for words in unproved(same))
    (path, _), content = files(same), {}
    for metric in ("auroc", "aupr", "fpr95"):
        content = json.loads(path.read_text())
        whole = path.read_text()
        content["metrics"]["pooled-anomalous"][metric] += 1e-6
        path.write_text(json.dumps(content))
        (problem,) = audit(same)
        assert f"{metric} under pooled-anomalous is not that under pooled" in problem
        path.write_text(whole)
    other = made_of(tmp_path / "other", ("per-image", "pooled", "pooled-anomalous"))
    assert audit(other) == [] and unproved(other)["pooled-anomalous (auroc, aupr, fpr95)"] == 1
    path, _ = files(other)
    path.write_text(path.read_text().replace('"skipped": 3', '"skipped": 2'))
    assert "under pooled-anomalous" in audit(other)[0], "its numbers of images and pixels are in the rows"


def test_the_check_says_what_nothing_stored_gives_again(results, capsys):
    path, _ = files(results)
    content = json.loads(path.read_text())
    for name in ("smiyc-obstacles", "open-set"):
        extra = {"mean_f1": 0.5, "siou": 0.4}
        content["metrics"][name] = content["metrics"]["pooled"] | {
            "version": PROTOCOLS[name].version, "aggregation": "components", "extra": extra, "aupr": None
        }  # fmt: skip
    path.write_text(json.dumps(content))
    assert cli.main(["table", "--no-readme", "--results", str(results)]) == 0
    capsys.readouterr()
    assert cli.main(["table", "--check", "--no-readme", "--results", str(results)]) == 0
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "nothing that is stored" in line]
    for words in (
        "smiyc-obstacles (in 1)",
        "open-set (in 1)",
        "the IoU of each class (in 1)",
        "times and memory (in 1)",
    ):
        assert words in said
    assert "pooled" not in said and "per-image" not in said and "failure-split" not in said


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda metrics: metrics.update(zz=metrics["pooled"]), "there is no protocol zz"),
        (lambda metrics: metrics["pooled"]["extra"].update(sampling_aupr=1.0), "so few pixels are ranked whole"),
        (lambda metrics: metrics["pooled"].update(aggregation="per-image"), "pooled is pooled, not per-image"),
    ],
)
def test_what_would_switch_the_check_of_a_value_off_is_named(results, edit, words):
    path, _ = files(results)
    content = json.loads(path.read_text())
    edit(content["metrics"])
    path.write_text(json.dumps(content))
    (problem,) = audit(results)
    assert words in problem


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda lines: lines[::-1], "no curves of a ranking"),
        (lambda lines: lines[: len(lines) // 2], "no curves of a ranking"),
        (lambda lines: [], "no curves of a ranking"),
        (lambda lines: [line.rpartition(",")[0] + ",0" for line in lines], "no curves of a ranking"),
        (lambda lines: [lines[0].replace(",", ",9", 1), *lines[1:]], "are curves of"),
        (lambda lines: [*lines[:-1], lines[-1].replace(",0,", ",0,9", 1)], "normal pixels"),
        (lambda lines: [line.replace(",", ",x", 1) for line in lines], "holds no curves"),
        (lambda lines: ["nan,nan,nan,nan"], "holds no curves"),
        (lambda lines: ["nan,1,1,1"], "no curves of a ranking"),
    ],
)
def test_garbage_in_the_curves_is_named(results, edit, words):
    _, rows = files(results)
    edited(rows.with_name("msp.curves.csv.gz"), edit)
    (problem,) = audit(results)
    assert words in problem and "msp.curves.csv.gz" in problem


@pytest.mark.parametrize("tie", [False, True])
def test_thinned_curves_enclose_scikit_learns_values(tie):
    rng = np.random.default_rng(1)
    labels = np.where(rng.random((60, 500)) < 0.1, 254, 0).astype(np.uint8)
    scores = rng.normal(size=labels.shape) + (labels == 254)
    scores = np.round(scores) if tie else scores
    evaluator = PixelEvaluator(["pooled"])
    evaluator.update(View("a", scores, labels))
    truth, flat = (labels == 254).ravel(), scores.astype(np.float32).ravel()
    bounds = curve_bounds(evaluator.curves(points=64))
    exact = {"auroc": roc_auc_score(truth, flat), "aupr": average_precision_score(truth, flat)}
    for metric, value in exact.items():
        low, high = bounds[metric]
        assert low - 1e-9 <= value <= high + 1e-9 and high - low < (1e-6 if tie else 0.05)


def test_a_removed_value_is_noticed(results):
    path, _ = files(results)
    content = json.loads(path.read_text())
    content["metrics"]["per-image"] |= {"aupr": None, "missing": {"aupr": "not shown"}}
    path.write_text(json.dumps(content))
    (problem,) = audit(results)
    assert "aupr is None in the record" in problem


def edited(rows: Path, edit) -> None:
    """Change the lines of a file of rows."""
    lines = gzip.decompress(rows.read_bytes()).decode().splitlines()
    rows.write_bytes(gzip.compress("\n".join([lines[0], *edit(lines[1:]), ""]).encode()))


def nudge(line: str) -> str:
    cells = line.split(",")
    at = 6  # aupr
    cells[at] = str(float(cells[at]) * 0.999)
    return ",".join(cells)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda lines: [nudge(lines[1]) if i == 1 else line for i, line in enumerate(lines)], "aupr is"),
        (lambda lines: lines[:-1], "11 in the rows"),
        (lambda lines: [*lines[:-1], lines[-1].rpartition(",")[0]], "is no table of per-image rows"),
        (lambda lines: [line.replace(",", ",x", 2) for line in lines], "is no table of per-image rows"),
    ],
)
def test_changed_rows_are_named_with_their_file(results, edit, words):
    _, rows = files(results)
    edited(rows, edit)
    (problem,) = audit(results)
    assert words in problem and rows.name in problem


def test_rows_that_are_gone_or_damaged_are_named(results):
    _, rows = files(results)
    content = bytearray(rows.read_bytes())
    content[len(content) // 2] ^= 0xFF
    rows.write_bytes(content)
    assert rows.name in audit(results)[0]
    rows.unlink()
    assert rows.name in audit(results)[0] and "No such file" in audit(results)[0]


def test_the_committed_records_are_what_their_rows_say_and_the_command_checks_it(results, capsys):
    assert audit(HOME / "results") == []
    path, _ = files(results)
    assert cli.main(["table", "--no-readme", "--results", str(results)]) == 0
    assert cli.main(["table", "--check", "--no-readme", "--results", str(results)]) == 0
    path.write_text(path.read_text().replace('"images": 12', '"images": 11'))
    capsys.readouterr()
    assert cli.main(["table", "--check", "--no-readme", "--results", str(results)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("wrong: ") and str(path.name) in err and "11 images in the record, 12 in the rows" in err
