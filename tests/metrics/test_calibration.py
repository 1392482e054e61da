"""Calibration of the network: against plain sums over all pixels, and closed forms."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from benchmark.errors import BenchmarkError
from benchmark.metrics import PROTOCOLS, Confidences, View, network_evaluators, network_measurements
from benchmark.metrics.calibration import CalibrationEvaluator

CLASSES = ("road", "sky", "car")
RULES = PROTOCOLS["calibration"]


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(0))


def view_of(image, labels, log_p):
    return View(image, None, labels, None, Confidences.of(log_p, labels))


def images(count=4, sharpness=2.0, outputs=3):
    """Ids, labels and log-probabilities."""
    rng, made = np.random.default_rng(5), []
    for index in range(count):
        labels = rng.choice(np.array([0, 1, 2, 254, 255], np.uint8), (15, 21))
        logits = sharpness * rng.normal(size=(outputs, 15, 21))
        logits[0] += 2 * (labels == 0)
        made.append((str(index), labels, log_softmax(logits).astype(np.float32)))
    return made


def measure(shown, evaluator=None):
    evaluator = evaluator or CalibrationEvaluator(RULES, CLASSES, method="net")
    for each in shown:
        evaluator.update(view_of(*each))
    return evaluator.measurement()["calibration"]


def pixels(shown):
    known = [labels < 3 for _, labels, _ in shown]
    p = np.concatenate([np.exp(log_p[:, k].astype(np.float64)) for (*_, log_p), k in zip(shown, known, strict=True)], 1)
    return p, np.concatenate([labels[k] for (_, labels, _), k in zip(shown, known, strict=True)])


@pytest.mark.parametrize("outputs", [3, 4])
def test_the_sums_are_those_over_all_pixels(outputs):
    shown = images(outputs=outputs)
    found, (p, y) = measure(shown).extra, pixels(shown)
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


def test_a_confidence_at_the_upper_end_of_a_bin_belongs_to_it():
    """.8 and .79 lie in (11/15, 12/15], where half of the pixels are right."""
    labels = np.array([[1, 0]], np.uint8)
    log_p = np.log(np.array([[[0.8, 0.79]], [[0.1, 0.105]], [[0.1, 0.105]]]))
    assert np.exp(log_p[0, 0, 0]) * 15 == 12
    assert measure([("a", labels, log_p)]).extra["ece"] == pytest.approx((0.8 + 0.79) / 2 - 0.5)


def test_adaptive_bins_hold_equally_many_pixels():
    shown = images()
    found, (p, y) = measure(shown).extra, pixels(shown)
    order = np.argsort(-p.max(0), kind="stable")
    confidence, right = p.max(0)[order], (p.argmax(0) == y)[order]
    bins = np.arange(len(y)) * 15 // len(y)
    expected = sum(abs((right - confidence)[bins == b].sum()) for b in range(15)) / len(y)
    assert found["adaptive_ece"] == pytest.approx(expected, abs=1e-6)


def test_equal_confidences_stay_in_one_adaptive_bin():
    labels = np.array([[0] * 80 + [1] * 20], np.uint8)
    log_p = np.log(np.stack([np.full((1, 100), 0.9), np.full((1, 100), 0.1), np.full((1, 100), 1e-9)]))
    found = measure([("a", labels, log_p)]).extra
    assert found["adaptive_ece"] == pytest.approx(0.1, abs=1e-6) and found["ece"] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize(("right", "ece", "brier"), [(True, 0, 0), (False, 1, 2)])
def test_certain_predictions(right, ece, brier):
    labels = np.array([[0, 1, 2, 254, 255]], np.uint8)
    shown = np.minimum(labels, 2) if right else (np.minimum(labels, 2) + 1) % 3
    with np.errstate(divide="ignore"):
        log_p = np.log(np.eye(3)[:, shown])
    found = measure([("a", labels, log_p)])
    assert (found.extra["ece"], found.extra["adaptive_ece"], found.extra["brier"]) == pytest.approx((ece, ece, brier))
    assert found.extra["nll"] == (0 if right else None) and found.extra["pixels"] == 3


def test_order_halves_and_files_do_not_matter(tmp_path):
    shown = images(6)
    whole = measure(shown)
    assert measure(shown[::-1]) == whole
    first, second = (CalibrationEvaluator(RULES, CLASSES, method="net") for _ in range(2))
    measure(shown[:2], first), measure(shown[2:], second)
    np.savez(tmp_path / "state.npz", **second.state())
    with np.load(tmp_path / "state.npz") as state:
        first.merge(CalibrationEvaluator.from_state(state))
    assert first.measurement()["calibration"] == whole
    with pytest.raises(BenchmarkError, match="net: image '1' was given twice"):
        first.update(view_of(*shown[1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda labels, log_p: View("0", None, labels), "there are no confidences"),
        (lambda labels, log_p: view_of("0", labels, log_p[:2]), r"of 2 classes; labels are \(15, 21\) of 3"),
        (lambda labels, log_p: View("0", None, labels[1:], None, Confidences.of(log_p, labels)), "confidences are"),
        (lambda labels, log_p: view_of("0", labels, log_p * np.nan), "is NaN"),
        (
            lambda labels, log_p: view_of("0", labels, np.where(np.eye(15, 21) * [[[0]], [[1]], [[0]]], np.nan, log_p)),
            "is NaN",
        ),
    ],
)
def test_what_cannot_be_added_is_named(change, words):
    evaluator = CalibrationEvaluator(RULES, CLASSES, method="net")
    ((_, labels, log_p),) = images(1)
    with pytest.raises(BenchmarkError, match=rf"net: image '0'.*{words}"):
        evaluator.update(change(labels, log_p))
    assert evaluator.images == 0


def test_confidences_are_of_an_image_and_its_labels():
    ((_, labels, log_p),) = images(1)
    with pytest.raises(BenchmarkError, match=r"not \(3, 15, 21\) and \(14, 21\)"):
        Confidences.of(log_p, labels[1:])


def test_it_is_measured_once_for_the_network_and_not_for_a_method():
    made = network_evaluators(["pooled", "calibration"], CLASSES, "net")
    assert list(made) == ["calibration"] and network_evaluators(["pooled"], CLASSES, "net") == {}
    assert network_measurements(["pooled"], {}) == {}
    absent = network_measurements(["pooled", "calibration"], network_evaluators(["calibration"], (), "net"))
    assert "does not label the known classes" in absent["calibration"].missing["ece"]
    assert measure([]).missing["ece"] == "there is no pixel of a known class"
