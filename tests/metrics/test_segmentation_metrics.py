"""mIoU, pixel accuracy and open-mIoU on maps small enough to count by hand."""

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.metrics import (
    PROTOCOLS,
    OpenSetEvaluator,
    PixelEvaluator,
    SegmentationEvaluator,
    cross_thresholds,
)

LABELS = np.array([[0, 0, 1, 1], [0, 254, 255, 1]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 1], [0, 3, 2, 0]])


def test_iou_by_hand_over_both_denominators():
    evaluator = SegmentationEvaluator(("road", "sky", "car", "tree"))
    evaluator.update(PREDICTION, LABELS)
    result = evaluator.result()
    # road: 2 right, 1 sky called road, 1 road called sky: 2/4; sky: 2 right, 1 + 1 wrong: 2/4
    assert result.iou["road"] == result.iou["sky"] == 0.5
    assert np.isnan(result.iou["car"]) and np.isnan(result.iou["tree"])
    assert (result.miou_present, result.classes_present) == (0.5, 2)
    assert result.miou_all == 0.25
    assert result.pixel_accuracy == 4 / 6


def test_a_class_that_is_only_predicted_has_iou_zero_and_is_not_present():
    evaluator = SegmentationEvaluator(("road", "sky", "car"))
    evaluator.update(np.array([[0, 2]]), np.array([[0, 0]], np.uint8))
    result = evaluator.result()
    assert (result.iou["car"], result.miou_present, result.classes_present) == (0.0, 0.5, 1)


def test_segmentation_merges_and_continues():
    rng = np.random.default_rng(0)
    data = [(rng.integers(0, 3, (8, 9)), rng.choice(np.array([0, 1, 2, 254], np.uint8), (8, 9))) for _ in range(4)]
    whole, parts = SegmentationEvaluator("abc"), [SegmentationEvaluator("abc") for _ in range(2)]
    for i, pair in enumerate(data):
        whole.update(*pair)
        parts[i % 2].update(*pair)
    resumed = SegmentationEvaluator.from_state(parts[1].state())
    resumed.merge(parts[0])
    assert resumed.result() == whole.result()
    with pytest.raises(BenchmarkError, match="classes"):
        resumed.merge(SegmentationEvaluator("ab"))


def test_nothing_to_segment_is_nan_and_wrong_input_is_an_error():
    evaluator = SegmentationEvaluator("ab")
    evaluator.update(np.array([[0]]), np.array([[254]], np.uint8))
    assert np.isnan([evaluator.result().miou_present, evaluator.result().pixel_accuracy]).all()
    with pytest.raises(BenchmarkError, match=r"outside 0\.\.1"):
        evaluator.update(np.array([[2]]), np.array([[0]], np.uint8))
    with pytest.raises(BenchmarkError, match="labels"):
        evaluator.update(np.array([[0, 1]]), np.array([[0]], np.uint8))


def open_set(scores):
    evaluator = OpenSetEvaluator(("road", "sky", "other"), {"t5": 0.5})
    evaluator.update("t5", "t5/1", np.array(scores, np.float32), OPEN_LABELS, OPEN_PREDICTION)
    return evaluator


OPEN_LABELS = np.array([[0, 0, 0, 1, 1], [254, 254, 254, 2, 255]], np.uint8)
OPEN_PREDICTION = np.array([[0, 0, 1, 1, 1], [1, 0, 0, 0, 0]])


def test_open_miou_by_hand():
    # The second road pixel is rejected, of the anomaly only the last; the pixel at the threshold is not rejected.
    result = open_set([[0.1, 0.9, 0.1, 0.2, 0.5], [0.3, 0.4, 0.8, 0.9, 0.9]]).result()
    # road: TP 1, FN 2 (rejected, sky), FP 1 (anomaly): 1/4. sky: TP 2, FP 2 (road, anomaly): 2/4. other is ignored.
    assert result.open_miou == (1 / 4 + 2 / 4) / 2
    # anomaly: TP 1, FN 2, FP 1 (the rejected road; the rejected pixel of class other is ignored)
    assert result.anomaly_iou == 1 / 4
    assert result.images == {"t5": 1}


def test_without_rejection_anomalies_are_false_positives():
    result = open_set(np.zeros((2, 5))).result()
    assert result.open_miou == ((2 / 5) + (2 / 4)) / 2
    assert result.anomaly_iou == 0


def test_thresholds_are_calibrated_on_the_other_folds_and_folds_weigh_by_images():
    rules = PROTOCOLS["open-set"]
    labels = np.full((1, 40), 254, np.uint8)
    labels[0, 20:] = 0
    folds = {}
    for fold, offset in (("t5", 0.0), ("t6", 100.0)):
        folds[fold] = PixelEvaluator([rules.calibration], exact_pooled=True)
        folds[fold].update(f"{fold}/1", np.arange(40, 0, -1, dtype=np.float32)[None] + np.float32(offset), labels)
    thresholds = cross_thresholds(folds)
    # Of 20 anomalies at 21..40, TPR > .95 needs all of them.
    assert thresholds == {"t5": 121.0, "t6": 21.0}
    evaluator = OpenSetEvaluator(("road",), thresholds)
    for name, offset in (("1", 0.0), ("2", 0.0)):
        evaluator.update("t5", f"t5/{name}", np.full((1, 40), offset, np.float32), labels, np.zeros((1, 40), int))
    evaluator.update("t6", "t6/1", np.where(labels == 254, 30, 0).astype(np.float32), labels, np.zeros((1, 40), int))
    result = evaluator.result()
    assert result.fold_miou == {"t5": 0.5, "t6": 1.0}
    assert result.open_miou == pytest.approx((2 * 0.5 + 1.0) / 3)


def test_open_set_merges_continues_and_names_what_is_wrong():
    scores = [[0.1, 0.9, 0.1, 0.2, 0.5], [0.3, 0.4, 0.8, 0.9, 0.9]]
    twice = open_set(scores)
    twice.merge(OpenSetEvaluator.from_state(open_set(scores).state()))
    assert twice.result().open_miou == open_set(scores).result().open_miou
    assert twice.result().images == {"t5": 2}
    with pytest.raises(BenchmarkError, match="t7"):
        twice.update("t7", "t7/1", np.zeros((2, 5), np.float32), OPEN_LABELS, OPEN_PREDICTION)
    with pytest.raises(BenchmarkError, match="two or more"):
        cross_thresholds({"t5": PixelEvaluator([PROTOCOLS["open-set"].calibration])})
