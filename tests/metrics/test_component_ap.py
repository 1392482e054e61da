"""Average precision of components: worked out by hand, and against a loop over all of them."""

import numpy as np
import pytest
from scipy import ndimage

from benchmark.metrics import PROTOCOLS, View
from benchmark.metrics.component_ap import ComponentApEvaluator, average_precision

RULES = PROTOCOLS["component-ap"]


def measure(*pairs, threshold=0.0):
    evaluator = ComponentApEvaluator(RULES, threshold)
    for index, (scores, labels) in enumerate(pairs):
        evaluator.update(View(str(index), scores.astype(np.float32), labels))
    return evaluator.measurement()["component-ap"]


def scene():
    """Two objects of 5 x 8 pixels, one of 3 x 3, which is too small, and a void strip."""
    labels = np.zeros((30, 40), np.uint8)
    labels[2:7, 2:10] = labels[2:7, 20:28] = labels[15:18, 2:5] = 254
    labels[25:, :] = 255
    return labels


def test_objects_that_are_found_exactly():
    labels = scene()
    found = measure((np.where(labels == 254, 2.0, -1.0), labels)).extra
    assert (found["ap"], found["ap50"], found["true_components"], found["predicted_components"]) == (1, 1, 2, 2)


def test_half_an_object_is_no_match_and_one_pixel_more_is_one_at_half():
    labels = scene()
    scores = np.where(labels == 254, 2.0, -1.0)
    scores[2:7, 20:24] = -1  # 20 of 40 pixels are left: IoU .5, which is not above .5
    # Both are equally sure, so the only point behind (0, 1) is (.5, .5).
    assert measure((scores, labels)).extra["ap50"] == pytest.approx(0.375)
    scores[2, 23] = 2  # 21 of 40
    found = measure((scores, labels)).extra
    assert found["ap50"] == 1 and found["ap"] == pytest.approx((1 + 9 * 0.375) / 10)


def test_a_surer_false_alarm_costs_more_than_one_that_is_less_sure():
    labels = scene()
    scores = np.where(labels == 254, 2.0, -1.0)
    scores[10:13, 30:36] = 1.0
    assert measure((scores, labels)).extra["ap50"] == 1, "after everything is found"
    scores[10:13, 30:36] = 3.0
    # Points (0, 1), (0, 0), (1, 2/3): the area is that below the last step.
    assert measure((scores, labels)).extra["ap50"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("rows", "counts"), [((23, 28), False), ((22, 28), True), ((20, 28), True)])
def test_a_prediction_on_void_is_no_false_alarm(rows, counts):
    labels = scene()
    scores = np.where(labels == 254, 2.0, -1.0)
    scores[rows[0] : rows[1], 30:36] = 3.0  # of 5, 6 or 8 rows three lie on void, more than half of 5
    assert (measure((scores, labels)).extra["ap50"] < 1) == counts


def test_components_of_ten_pixels_are_predictions_and_objects():
    labels = scene()
    labels[20, 5:15] = 254
    scores = np.where(labels == 254, 2.0, -1.0)
    scores[20, 25:35] = 1.0
    found = measure((scores, labels)).extra
    assert (found["true_components"], found["predicted_components"]) == (3, 4)


def test_components_below_ten_pixels_are_neither_predictions_nor_objects():
    labels = scene()
    scores = np.where(labels == 254, 2.0, -1.0)
    scores[20, 30:39] = 9.0  # nine pixels
    assert measure((scores, labels)).extra["ap"] == 1
    scores[15:18, 2:8] = 9.0  # 18 pixels, half of which lie on the object that is too small
    assert measure((scores, labels)).extra["ap50"] < 1


def slow(pairs, threshold, iou):
    """A list of all predictions, matched by a loop."""
    objects, entries = 0, []
    for scores, labels in pairs:
        eight = np.ones((3, 3))
        true, n = ndimage.label(labels == 254, structure=eight)
        masks = [true == i for i in range(1, n + 1)]
        big = [m for m in masks if m.sum() >= 10]
        void = (labels == 255) | np.any([m for m in masks if m.sum() < 10] or [np.zeros_like(true, bool)], axis=0)
        objects += len(big)
        predicted, n = ndimage.label(scores > threshold, structure=eight)
        for mask in (predicted == i for i in range(1, n + 1)):
            if mask.sum() >= 10:
                matched = any((mask & m).sum() / (mask | m).sum() > iou for m in big)
                if matched or (mask & void).sum() / mask.sum() <= iou:
                    entries.append((scores[mask].astype(np.float64).mean(), matched))
    points = [(0.0, 1.0)]
    for level in sorted({c for c, _ in entries}, reverse=True):
        above = [hit for c, hit in entries if c >= level]
        points.append((sum(above) / objects, sum(above) / len(above)))
    return np.trapezoid(*np.array(points).T[::-1]) if len(points) > 1 else 0.0


def test_the_area_is_that_of_a_loop_over_all_components():
    rng, pairs = np.random.default_rng(0), []
    for _ in range(6):
        labels = np.where(ndimage.gaussian_filter(rng.normal(size=(60, 80)), 3) > 0.12, 254, 0).astype(np.uint8)
        labels[:8] = 255
        noise = ndimage.gaussian_filter(rng.normal(size=labels.shape), 2) * 3
        pairs.append(((noise + 0.8 * (labels == 254)).astype(np.float32), labels))
    found = measure(*pairs, threshold=0.45).extra
    expected = [slow(pairs, 0.45, iou) for iou in RULES.thresholds]
    assert found["ap50"] == pytest.approx(expected[0]) and 0 < expected[0] < 1
    assert found["ap"] == pytest.approx(np.mean(expected))


def test_nothing_predicted_has_an_area_of_zero():
    assert average_precision(np.zeros((0, 3)), 4, 0.5) == 0
    assert "no anomalous component" in measure((np.ones((5, 5)), np.zeros((5, 5), np.uint8))).missing["ap"]
