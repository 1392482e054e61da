"""Calibration of the network: against plain sums over all pixels, and closed forms."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from benchmark.errors import BenchmarkError
from benchmark.metrics import PROTOCOLS, View, network_evaluators, network_measurements
from benchmark.metrics.calibration import CalibrationEvaluator

CLASSES = ("road", "sky", "car")
RULES = PROTOCOLS["calibration"]


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(0))


def images(count=4, sharpness=2.0, outputs=3):
    rng, views = np.random.default_rng(5), []
    for index in range(count):
        labels = rng.choice(np.array([0, 1, 2, 254, 255], np.uint8), (15, 21))
        logits = sharpness * rng.normal(size=(outputs, 15, 21))
        logits[0] += 2 * (labels == 0)
        views.append(View(str(index), None, labels, None, log_softmax(logits).astype(np.float32)))
    return views


def measure(views, evaluator=None):
    evaluator = evaluator or CalibrationEvaluator(RULES, CLASSES, method="net")
    for view in views:
        evaluator.update(view)
    return evaluator.measurement()["calibration"]


def pixels(views):
    known = [view.labels < 3 for view in views]
    p = np.concatenate(
        [np.exp(v.log_probabilities[:, k].astype(np.float64)) for v, k in zip(views, known, strict=True)], 1
    )
    return p, np.concatenate([view.labels[k] for view, k in zip(views, known, strict=True)])


@pytest.mark.parametrize("outputs", [3, 4])
def test_the_sums_are_those_over_all_pixels(outputs):
    views = images(outputs=outputs)
    found, (p, y) = measure(views).extra, pixels(views)
    confidence, right = p.max(0), p.argmax(0) == y
    inside = [(confidence > b / 15) & (confidence <= (b + 1) / 15) for b in range(15)]
    assert sum(map(np.sum, inside)) == len(y) == found["pixels"]
    gaps = [m.mean() * abs(right[m].mean() - confidence[m].mean()) for m in inside if m.any()]
    assert found["ece"] == pytest.approx(sum(gaps), abs=1e-9)
    assert found["nll"] == pytest.approx(-np.log(p[y, np.arange(len(y))]).mean(), abs=1e-9)
    if outputs == 3:
        assert found["nll"] == pytest.approx(log_loss(y, p.T / p.T.sum(1, keepdims=True)), abs=1e-6)
    one_hot = np.eye(outputs)[:, y]
    assert found["brier"] == pytest.approx(((p - one_hot) ** 2).sum(0).mean(), abs=1e-7), (
        "squares are summed in float32"
    )


def test_adaptive_bins_hold_equally_many_pixels():
    views = images()
    found, (p, y) = measure(views).extra, pixels(views)
    order = np.argsort(-p.max(0), kind="stable")
    confidence, right = p.max(0)[order], (p.argmax(0) == y)[order]
    bins = np.arange(len(y)) * 15 // len(y)
    expected = sum(abs((right - confidence)[bins == b].sum()) for b in range(15)) / len(y)
    assert found["adaptive_ece"] == pytest.approx(expected, abs=1e-6)


def test_equal_confidences_stay_in_one_adaptive_bin():
    labels = np.array([[0] * 80 + [1] * 20], np.uint8)
    log_p = np.log(np.stack([np.full((1, 100), 0.9), np.full((1, 100), 0.1), np.full((1, 100), 1e-9)]))
    found = measure([View("a", None, labels, None, log_p)]).extra
    assert found["adaptive_ece"] == pytest.approx(0.1, abs=1e-6) and found["ece"] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize(("right", "ece", "brier"), [(True, 0, 0), (False, 1, 2)])
def test_certain_predictions(right, ece, brier):
    labels = np.array([[0, 1, 2, 254, 255]], np.uint8)
    shown = np.minimum(labels, 2) if right else (np.minimum(labels, 2) + 1) % 3
    with np.errstate(divide="ignore"):
        log_p = np.log(np.eye(3)[:, shown])
    found = measure([View("a", None, labels, None, log_p)])
    assert (found.extra["ece"], found.extra["adaptive_ece"], found.extra["brier"]) == pytest.approx((ece, ece, brier))
    assert found.extra["nll"] == (0 if right else None) and found.extra["pixels"] == 3


def test_order_halves_and_files_do_not_matter(tmp_path):
    views = images(6)
    whole = measure(views)
    assert measure(views[::-1]) == whole
    first, second = (CalibrationEvaluator(RULES, CLASSES, method="net") for _ in range(2))
    measure(views[:2], first), measure(views[2:], second)
    np.savez(tmp_path / "state.npz", **second.state())
    with np.load(tmp_path / "state.npz") as state:
        first.merge(CalibrationEvaluator.from_state(state))
    assert first.measurement()["calibration"] == whole
    with pytest.raises(BenchmarkError, match="net: image '1' was given twice"):
        first.update(views[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: View(v.image, None, v.labels), "there are no log-probabilities"),
        (lambda v: View(v.image, None, v.labels, None, v.log_probabilities[:2]), "with 3 classes or more"),
        (lambda v: View(v.image, None, v.labels[1:], None, v.log_probabilities), "log-probabilities are"),
        (lambda v: View(v.image, None, v.labels, None, v.log_probabilities * np.nan), "is NaN"),
    ],
)
def test_what_cannot_be_added_is_named(change, words):
    evaluator = CalibrationEvaluator(RULES, CLASSES, method="net")
    (view,) = images(1)
    with pytest.raises(BenchmarkError, match=rf"net: image '0'.*{words}"):
        evaluator.update(change(view))
    assert evaluator.images == 0


def test_it_is_measured_once_for_the_network_and_not_for_a_method():
    made = network_evaluators(["pooled", "calibration"], CLASSES, "net")
    assert list(made) == ["calibration"] and network_evaluators(["pooled"], CLASSES, "net") == {}
    assert network_measurements(["pooled"], {}) == {}
    absent = network_measurements(["pooled", "calibration"], network_evaluators(["calibration"], (), "net"))
    assert "does not label the known classes" in absent["calibration"].missing["ece"]
    assert measure([]).missing["ece"] == "there is no pixel of a known class"
