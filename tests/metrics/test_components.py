"""Component metrics on pictures: # true only, o predicted only, @ both, v void, V void and predicted, . neither."""

import numpy as np
import pytest
from scipy import ndimage

from benchmark.metrics import ComponentEvaluator, ComponentProtocol, View
from benchmark.metrics.components import component_f1, match_components

ANY = ComponentProtocol("any-size", 1, "tests", min_predicted=1, min_true=1)


def picture(text):
    cells = np.array([list(line) for line in text.split()])
    labels = np.select([np.isin(cells, ["#", "@"]), np.isin(cells, ["v", "V"])], [254, 255], 0).astype(np.uint8)
    return np.isin(cells, ["@", "o", "V"]), labels


def check(text, siou, ppv, rules=ANY):
    found = match_components(*picture(text), rules)
    assert sorted(found[0]) == pytest.approx(sorted(siou))
    assert sorted(found[1]) == pytest.approx(sorted(ppv))


def test_one_component_partly_found():
    check(
        """
        ......
        .##@@o
        .##@@o
        ......""",
        [4 / 10],
        [4 / 6],
    )


def test_a_prediction_over_two_components_counts_the_other_one_as_neither():
    # For the left one: intersection 2, K(k) has 5 pixels of which 2 lie in the right one: 2 / (2 + 5 - 2 - 2).
    check("@@o@@", [2 / 3, 2 / 3], [4 / 5])


def test_two_predictions_on_one_component_are_united():
    check("@@#@o", [3 / 5], [1, 1 / 2])


def test_diagonal_pixels_belong_together():
    check(
        """
        @..
        .@.
        ..@""",
        [1],
        [1],
    )


def test_missed_and_invented_components():
    check("##..oo", [0], [0])


def test_void_is_in_no_component_and_divides_predictions():
    check("@@VVoo", [1], [1, 0])


def test_small_predictions_are_dropped_and_small_true_components_become_void():
    rules = ComponentProtocol("sizes", 1, "tests", min_predicted=2, min_true=3)
    # The true pair on the right is void, which takes its pixels out of the prediction.
    check("o.@@#..@@o", [2 / 3], [1, 0], rules)
    check("@@.ooo", [], [0], rules)


def test_nothing_true_and_nothing_predicted():
    check("....", [], [])


def test_f1_over_the_thresholds_by_hand():
    evaluator = ComponentEvaluator(ANY, 0.5)
    for name, text in (("a", "@@##"), ("b", "@oo.")):  # sIoU 1/2 and 1/3, PPV 1 and 1/3
        mask, labels = picture(text)
        evaluator.update(View(name, np.where(mask, 0.5, 0.0), labels))
    found = evaluator.measurement()["any-size"]
    extra = found.extra
    assert (extra["siou"], extra["ppv"]) == (pytest.approx(5 / 12), pytest.approx(2 / 3))
    for t in ANY.thresholds:
        tp, fn = (2, 0) if t <= 1 / 3 else (1, 1) if t <= 1 / 2 else (0, 2)
        fp = 0 if t <= 1 / 3 else 1
        f1 = component_f1(np.array([1 / 2, 1 / 3]), np.array([1, 1 / 3]), t)
        assert f1 == 2 * tp / (2 * tp + fn + fp)
    assert extra["mean_f1"] == pytest.approx((2 * 1 + 4 * 0.5) / 11)
    assert (extra["true_components"], extra["predicted_components"], found.images) == (2, 2, 2)


def test_a_prediction_at_the_threshold_is_no_false_positive():
    assert component_f1(np.array([0.5]), np.array([0.5]), 0.5) == 1


def plain(mask, labels, rules):
    """The definition, with one mask per component."""
    eight = np.ones((3, 3))
    predicted, n = ndimage.label(mask & (labels != 255), eight)
    true, m = ndimage.label(labels == 254, eight)
    predictions = [predicted == i for i in range(1, n + 1)]
    predictions = [p for p in predictions if p.sum() >= rules.min_predicted]
    truths = [true == i for i in range(1, m + 1)]
    void = np.any([t for t in truths if t.sum() < rules.min_true] or [np.zeros_like(mask)], 0)
    predictions = [p & ~void for p in predictions if (p & ~void).any()]
    truths = [t for t in truths if t.sum() >= rules.min_true]
    siou, ppv = [], []
    for k in truths:
        cover = np.any([p for p in predictions if (p & k).any()] or [np.zeros_like(mask)], 0)
        others = np.any([t for t in truths if t is not k] or [np.zeros_like(mask)], 0)
        siou.append((k & cover).sum() / ((k | cover) & ~others).sum())
    for p in predictions:
        ppv.append((p & np.any(truths or [np.zeros_like(mask)], 0)).sum() / p.sum())
    return siou, ppv


@pytest.mark.parametrize("sizes", [(1, 1), (3, 1), (4, 6)])
def test_random_pictures_equal_the_definition(sizes):
    rng = np.random.default_rng(0)
    rules = ComponentProtocol("sizes", 1, "tests", *sizes)
    for density in (0.1, 0.3, 0.5):
        for _ in range(12):
            labels = rng.choice(np.array([0, 254, 255], np.uint8), (14, 17), p=[0.9 - density, density, 0.1])
            mask = rng.random(labels.shape) < density
            for ours, theirs in zip(match_components(mask, labels, rules), plain(mask, labels, rules), strict=True):
                assert sorted(ours) == pytest.approx(sorted(theirs), abs=1e-12)
