"""Scores of more digits than float32: a metric that the lost digits decide on is refused, between images, too."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelEvaluator, View, evaluate_scores
from benchmark.metrics.rounding import KEPT

RNG = np.random.default_rng(0)
LABELS = [np.where(RNG.random((30, 40)) < share, 254, 0).astype(np.uint8) for share in (0.05, 0.1, 0.2, 0.4, 0.8)]


def images(step, spread=1e-9, dtype=np.float64):
    """In every image one score, or two; between images they are `spread` apart: only the pooled ranking is lost."""
    return [(1 + number * spread + step * (labels == 254)).astype(dtype) for number, labels in enumerate(LABELS)]


@pytest.mark.parametrize("step", [0.0, 1.0])
def test_ties_between_images_are_refused_where_they_decide(step):
    lost = images(step)
    assert all(len(np.unique(each)) == len(np.unique(each.astype(np.float32))) for each in lost)
    truth = roc_auc_score(np.concatenate(LABELS).ravel() == 254, np.concatenate(lost).ravel())
    if step:  # all anomalies lie above all normal pixels, with ties among their own kind only
        assert evaluate_scores(lost, LABELS, "pooled").auroc == truth == 1
    else:
        assert truth > 0.6
        with pytest.raises(BenchmarkError, match=r"a pooled metric moves by about .* points; subtract a constant"):
            evaluate_scores(lost, LABELS, "pooled")
    assert evaluate_scores(lost, LABELS, "per-image").auroc == (1 if step else 0.5)


@pytest.mark.parametrize("mend", ["float32", "spread", "constant"])
def test_what_float32_tells_apart_is_measured(mend):
    scores = {"float32": images(0, dtype=np.float32), "spread": images(0, 1e-3), "constant": images(0, 0)}[mend]
    found = evaluate_scores(scores, LABELS, "pooled").auroc
    assert found == pytest.approx(roc_auc_score(np.concatenate(LABELS).ravel() == 254, np.concatenate(scores).ravel()))


def test_honest_scores_of_double_precision_pass():
    """Confidences, softmax probabilities near 1 and distances, as numpy computes them."""
    for change in (lambda z: 1 / (1 + np.exp(-z)), lambda z: 30 + z, lambda z: 100 / (1 + np.exp(-z))):
        scores = [change(RNG.normal(size=labels.shape) + (labels == 254)) for labels in LABELS]
        assert evaluate_scores(scores, LABELS, "pooled").auroc > 0.6


def test_the_sample_is_that_of_the_set_of_images_in_any_order_and_through_a_file():
    count = 2 * KEPT // LABELS[0].size
    views = []
    for number in range(count):
        labels = np.where(RNG.random(LABELS[0].shape) < 0.5, 254, 0).astype(np.uint8)
        views.append(View(f"t/{number}", 1 + RNG.normal(size=labels.shape), labels))

    def states(*shares):
        parts = []
        for share in shares:
            parts.append(PixelEvaluator(["pooled"]))
            for view in share:
                parts[-1].update(view)
        whole = PixelEvaluator.from_state(parts[0].state())
        for part in parts[1:]:
            whole.merge(part)
        return {k: v for k, v in whole.state().items() if k.startswith("rounding")}

    first = states(views)
    assert len(first["rounding_normal_scores"]) <= KEPT and first["rounding_pixels"].sum() == count * LABELS[0].size
    for other in (states(views[::-1]), states(views[::3], views[1::3], views[2::3])):
        assert first.keys() == other.keys() and all((first[key] == other[key]).all() for key in first)
    assert not states([View("a", LABELS[0].astype(np.float32), LABELS[0])]), "float32 loses nothing"


def test_a_sample_smaller_than_the_images_still_tells():
    """Every image has one score; the anomalies' images have the higher ones."""
    labels = [np.full((300, 300), 254 if number % 2 else 0, np.uint8) for number in range(8)]
    scores = [np.full(each.shape, 1 + 1e-9 * (number % 2)) for number, each in enumerate(labels)]
    with pytest.raises(BenchmarkError, match="moves by about"):
        evaluate_scores(scores, labels, "pooled")
