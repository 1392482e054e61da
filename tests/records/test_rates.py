"""Rates of further protocols are held against the curves beside a record."""

import dataclasses

import numpy as np
import pytest
from toy_records import record

from benchmark.metrics import FirstPass, View
from benchmark.metrics.curves import thin_curves
from benchmark.metrics.pixel_protocols import POOLED
from benchmark.records.rates import rate_contradictions, rates_above

NAMES = ("pooled", "tpr-fpr05", "open-set-fpr", "conformal")


@pytest.fixture(scope="module")
def measured():
    """A record of four images with its curves, thinned to few points."""
    rng = np.random.default_rng(0)
    views = []
    for index in range(4):
        labels = np.where(rng.random((30, 40)) < 0.2, 254, 0).astype(np.uint8)
        scores = (rng.normal(size=labels.shape) + (labels == 254)).astype(np.float32)
        views.append(View(str(index), scores, labels, np.zeros((30, 40), int)))
    first = FirstPass(NAMES, ("road", "sky"))
    for view in views:
        first.update(view)
    for index in range(40):
        first.validation.update(View(str(index), rng.normal(size=(9, 9)), np.zeros((9, 9), np.uint8)))
    second = first.second_pass()
    for view in views:
        second.update(view)
    metrics = first.measurement() | second.measurement()
    return record(metrics=metrics), thin_curves(first.pixels.ranking(POOLED), 200), views


def test_what_was_measured_is_what_the_curves_say(measured):
    made, curves, _ = measured
    assert list(rate_contradictions(made, curves)) == []


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize(("key", "change"), [("tpr", 0.05), ("tpr", -0.05), ("threshold", 0.5), ("threshold", -0.5)])
def test_another_rate_or_threshold_is_noticed(measured, name, key, change):
    made, curves, _ = measured
    found = made.metrics[name]
    wrong = dataclasses.replace(found, extra=found.extra | {key: found.extra[key] + change})
    problems = list(rate_contradictions(dataclasses.replace(made, metrics=made.metrics | {name: wrong}), curves))
    assert problems and all(f"under {name}" in problem for problem in problems)


def test_the_bounds_hold_what_lies_above_any_threshold(measured):
    _, curves, views = measured
    scores, labels = (np.concatenate([getattr(v, part).ravel() for v in views]) for part in ("scores", "labels"))
    for threshold in (-np.inf, -1.0, *scores[:20], 2.0, 9.0):
        bounds = rates_above(curves, float(threshold))
        for rate, chosen in (("tpr", labels == 254), ("fpr", labels == 0)):
            low, high = bounds[rate]
            assert low <= np.mean(scores[chosen] > threshold) <= high and high - low < 0.05
