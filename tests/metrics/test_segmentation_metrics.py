"""mIoU, pixel accuracy and open-mIoU on maps small enough to count by hand."""

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.metrics import PROTOCOLS, FoldEvaluator, OpenSetEvaluator, SegmentationEvaluator, View

LABELS = np.array([[0, 0, 1, 1], [0, 254, 255, 1]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 1], [0, 3, 2, 0]])


RULES = PROTOCOLS["open-set"]


def segmented(classes, prediction, labels):
    evaluator = SegmentationEvaluator(classes)
    evaluator.update(View("a", None, np.array(labels, np.uint8), np.array(prediction)))
    return evaluator.measurement()


def test_iou_by_hand_over_both_denominators():
    found = segmented(("road", "sky", "car", "tree"), PREDICTION, LABELS)
    # road: 2 right, 1 sky called road, 1 road called sky: 2/4; sky: 2 right, 1 + 1 wrong: 2/4
    assert found.per_class_iou == {"road": 0.5, "sky": 0.5, "car": None, "tree": None}
    assert (found.miou, found.miou_denominator) == (0.5, 2)
    assert found.miou_all == 0.25
    assert found.pixel_accuracy == 4 / 6


def test_a_class_that_is_only_predicted_has_iou_zero_and_is_not_present():
    found = segmented(("road", "sky", "car"), [[0, 2]], [[0, 0]])
    assert (found.per_class_iou["car"], found.miou, found.miou_denominator) == (0.0, 0.5, 1)


def test_nothing_to_segment_has_no_value_and_wrong_input_is_an_error():
    found = segmented("ab", [[0]], [[254]])
    assert (found.miou, found.miou_all, found.pixel_accuracy, found.miou_denominator) == (None, None, None, 0)
    with pytest.raises(BenchmarkError, match=r"Image 'a': a predicted class lies outside 0\.\.1"):
        segmented("ab", [[2]], [[0]])
    with pytest.raises(BenchmarkError, match=r"Image 'a': predictions are \(1, 2\), labels \(1, 1\)"):
        segmented("ab", [[0, 1]], [[0]])
    with pytest.raises(BenchmarkError, match="Image 'a': there is no prediction"):
        SegmentationEvaluator("ab").update(View("a", None, LABELS))


OPEN_LABELS = np.array([[0, 0, 0, 1, 1], [254, 254, 254, 2, 255]], np.uint8)
OPEN_PREDICTION = np.array([[0, 0, 1, 1, 1], [1, 0, 0, 0, 0]])


def open_set(scores):
    evaluator = OpenSetEvaluator(RULES, {"t5": 0.5}, ("road", "sky", "other"))
    evaluator.update(View("t5/1", np.array(scores, np.float32), OPEN_LABELS, OPEN_PREDICTION))
    return evaluator.measurement()["open-set"]


def test_open_miou_by_hand():
    # The second road pixel is rejected, of the anomaly only the last, and the pixel of the sky at the threshold.
    found = open_set([[0.1, 0.9, 0.1, 0.2, 0.5], [0.3, 0.4, 0.8, 0.9, 0.9]])
    # road: TP 1, FN 2 (rejected, sky), FP 1 (anomaly): 1/4. sky: TP 1, FN 1 (rejected), FP 2 (road, anomaly): 1/4.
    assert found.extra["open_miou"] == (1 / 4 + 1 / 4) / 2
    # anomaly: TP 1, FN 2, FP 2 (rejected road and sky; the rejected pixel of class other is ignored)
    assert found.extra["anomaly_iou"] == 1 / 5
    # With exactly the anomalous pixels rejected, road: TP 2, FN 1: 2/3; sky: TP 2, FP 1: 2/3.
    assert found.extra["closed_miou"] == 2 / 3
    assert (found.images, found.extra["threshold_t5"]) == (1, 0.5)


def test_what_is_called_a_class_that_is_ignored_is_no_error_of_another_class():
    labels, prediction = np.array([[0, 0, 1, 2, 254]], np.uint8), np.array([[0, 2, 1, 0, 2]])
    evaluator = OpenSetEvaluator(RULES, {"t5": 0.5}, ("road", "sky", "other"))
    evaluator.update(View("t5/1", np.array([[0, 0, 0, 0, 1]], np.float32), labels, prediction))
    extra = evaluator.measurement()["open-set"].extra
    assert (extra["open_miou"], extra["closed_miou"], extra["anomaly_iou"]) == (1, 1, 1)


def test_without_rejection_anomalies_are_false_positives():
    extra = open_set(np.zeros((2, 5))).extra
    assert extra["open_miou"] == ((2 / 5) + (2 / 4)) / 2
    assert extra["anomaly_iou"] == 0


def test_thresholds_are_calibrated_on_the_other_folds_and_folds_weigh_by_images():
    labels = np.full((1, 40), 254, np.uint8)
    labels[0, 20:] = 0
    folds = FoldEvaluator([RULES.calibration])
    for fold, offset in (("t5", 0.0), ("t6", 100.0)):
        folds.update(View(f"{fold}/1", np.arange(40, 0, -1, dtype=np.float32)[None] + np.float32(offset), labels))
    thresholds = folds.cross_thresholds(RULES.calibration)
    # Of 20 anomalies at 21..40, TPR > .95 needs all of them.
    assert thresholds == {"t5": 121.0, "t6": 21.0}
    evaluator, prediction = OpenSetEvaluator(RULES, thresholds, ("road",)), np.zeros((1, 40), int)
    for name in ("1", "2"):
        evaluator.update(View(f"t5/{name}", np.zeros((1, 40), np.float32), labels, prediction))
    evaluator.update(View("t6/1", np.where(labels == 254, 30, 0).astype(np.float32), labels, prediction))
    extra = evaluator.measurement()["open-set"].extra
    assert (extra["open_miou_t5"], extra["open_miou_t6"]) == (0.5, 1.0)
    assert extra["open_miou"] == pytest.approx((2 * 0.5 + 1.0) / 3)


@pytest.mark.parametrize("digits", [0, 1, 2, 7])
@pytest.mark.parametrize("shift", [0.0, -50.0])
def test_with_ties_the_rate_of_the_calibration_is_reached(digits, shift):
    """The pixels of the other folds that are rejected are those that were counted when the threshold was chosen."""
    rng = np.random.default_rng(digits)
    labels = np.where(rng.random((40, 50)) < 0.3, 254, 0).astype(np.uint8)
    scores = (np.round(rng.normal(size=labels.shape) + 2 * (labels == 254), digits) + shift).astype(np.float32)
    folds = FoldEvaluator([RULES.calibration])
    for fold in ("t5", "t6"):
        folds.update(View(f"{fold}/1", scores, labels))
    threshold = folds.cross_thresholds(RULES.calibration)["t5"]
    evaluator = OpenSetEvaluator(RULES, {"t6": threshold}, ("road", "other"))
    evaluator.update(View("t6/1", scores, labels, np.zeros(labels.shape, int)))
    anomalous, normal = scores[labels == 254], scores[labels == 0]
    wanted = max(t for t in np.unique(anomalous) if (anomalous >= t).mean() > 0.95)
    found, false = (int((each >= wanted).sum()) for each in (anomalous, normal))
    assert evaluator.measurement()["open-set"].extra["anomaly_iou"] == found / (len(anomalous) + false)


def test_open_set_segmentation_names_what_is_wrong():
    evaluator = OpenSetEvaluator(RULES, {"t5": 0.5}, ("road", "sky", "other"), method="msp")
    scores = np.zeros((2, 5), np.float32)
    with pytest.raises(BenchmarkError, match="msp: image 't7/1' belongs to fold 't7'"):
        evaluator.update(View("t7/1", scores, OPEN_LABELS, OPEN_PREDICTION))
    with pytest.raises(BenchmarkError, match="msp: image 't5/1': there is no prediction"):
        evaluator.update(View("t5/1", scores, OPEN_LABELS))
    with pytest.raises(BenchmarkError, match=r"outside 0\.\.2"):
        evaluator.update(View("t5/1", scores, OPEN_LABELS, OPEN_PREDICTION + 3))
    with pytest.raises(BenchmarkError, match="two or more"):
        FoldEvaluator([RULES.calibration]).cross_thresholds(RULES.calibration)
