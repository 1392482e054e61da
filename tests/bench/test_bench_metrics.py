"""The tables of speed and accuracy, and that their contestants compute the same numbers."""

import pytest

from benchmark.bench.metrics import REFERENCE, _scikit_learn, bench_metrics, synthetic_image
from benchmark.bench.pooled import KINDS, bench_pooled
from benchmark.metrics import evaluate_scores


def test_the_table_names_every_contestant():
    table = bench_metrics(rounds=1, size=(180, 320))
    for name in (
        "floor: one sort",
        "ours, per image only",
        "ours, both aggregates",
        REFERENCE,
        "components",
    ):
        assert name in table


def test_the_reference_computes_what_we_compute():
    scores, labels = synthetic_image(0, (90, 160))
    ours = evaluate_scores([scores], [labels], "per-image")
    assert _scikit_learn(scores, labels) == pytest.approx((ours.auroc, ours.aupr, ours.fpr95), abs=1e-12)


def test_the_pooled_table_measures_every_kind():
    lines = bench_pooled(images=8, size=(60, 80)).splitlines()
    for kind in KINDS:
        (line,) = [line for line in lines if line.startswith(f"{kind}  ")]
        *errors, memory, shards = line.removeprefix(kind).split()
        assert errors[:3] == ["0"] * 3 and float(memory) < 1 and shards == "equal"
        assert all(float(error) <= float(bound) * 1.2 for error, bound in zip(errors[3:6], errors[6:], strict=True))
