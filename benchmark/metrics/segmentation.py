"""Closed-set segmentation: confusion matrix, IoU per class, mean IoU over a stated denominator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import Evaluator, View
from benchmark.metrics.inputs import check_prediction, to_array
from benchmark.metrics.measurement import Segmentation


class SegmentationEvaluator(Evaluator[Segmentation]):
    """Streaming confusion matrix of known classes; pixels labelled 254 and 255 take no part, nor do scores.

    Args:
        classes: names of the known classes; label id = position.
        method: named in messages.
    """

    def __init__(self, classes: Sequence[str], *, method: str = "") -> None:
        super().__init__(method)
        self.classes = tuple(classes)
        self._confusion = np.zeros((len(self.classes),) * 2, np.int64)

    def _add(self, view: View, where: str) -> None:
        if view.prediction is None:
            raise BenchmarkError(f"{where}: there is no prediction, so its segmentation cannot be evaluated.")
        if tuple(view.prediction.shape) != tuple(view.labels.shape):
            shapes = f"predictions are {tuple(view.prediction.shape)}, labels {tuple(view.labels.shape)} (H, W)"
            raise BenchmarkError(f"{where}: {shapes}.")
        self._confusion += confusion_matrix(view.prediction, view.labels, len(self.classes), where)

    def _merge(self, other: Self) -> None:
        self._confusion += other._confusion

    def measurement(self) -> Segmentation:
        """Mean IoU over the classes present in the labels and over all known ones, pixel accuracy, IoU per class."""
        iou = iou_per_class(self._confusion)
        present = self._confusion.sum(1) > 0
        total = self._confusion.sum()
        return Segmentation(
            miou=float(iou[present].mean()) if present.any() else None,
            miou_denominator=int(present.sum()),
            miou_all=float(np.nansum(iou) / len(iou)) if present.any() else None,
            pixel_accuracy=float(np.trace(self._confusion) / total) if total else None,
            per_class_iou={k: None if np.isnan(v) else float(v) for k, v in zip(self.classes, iou, strict=True)},
        )

    def _state(self) -> dict[str, Any]:
        return {"confusion": self._confusion}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._confusion = np.array(kept["confusion"])


def confusion_matrix(prediction: Any, labels: Any, classes: int, where: str) -> np.ndarray:
    """Number of pixels per (label, prediction), int64 (classes, classes); other labels take no part.

    Args:
        prediction: predicted class ids, integer array or tensor of any shape and device.
        labels: uint8, same shape, on any device.
        classes: number of known classes.
        where: names method and image in messages.
    Raises:
        BenchmarkError: a predicted class does not exist.
    """
    labels, prediction = to_array(labels, "labels", where), to_array(prediction, "prediction", where)
    known = labels < classes
    check_prediction(prediction[known], classes, where)
    labels, prediction = labels[known].astype(np.int64), prediction[known].astype(np.int64)
    return np.bincount(labels * classes + prediction, minlength=classes * classes).reshape(classes, classes)


def iou_per_class(confusion: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN) per class, NaN for a class that is neither labelled nor predicted."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)
