"""Closed-set segmentation: confusion matrix, IoU per class, mean IoU over a stated denominator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.inputs import on_device, to_array


@dataclass(frozen=True)
class SegmentationResult:
    """Fractions over the pixels that carry a known class.

    Attributes:
        miou_present: mean IoU over the classes present in the labels.
        miou_all: sum of the IoUs over the number of all known classes; classes that never occur count as 0.
        classes_present: denominator of the former.
        pixel_accuracy: share of correctly classified pixels.
        iou: per class name; NaN for a class that is neither labelled nor predicted.
    """

    miou_present: float
    miou_all: float
    classes_present: int
    pixel_accuracy: float
    iou: dict[str, float]


class SegmentationEvaluator:
    """Streaming confusion matrix of known classes; pixels labelled 254 and 255 take no part.

    Args:
        classes: names of the known classes; label id = position.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.confusion = np.zeros((len(self.classes),) * 2, np.int64)

    def update(self, prediction: Any, labels: Any) -> None:
        """Add an image or a batch.

        Args:
            prediction: predicted class ids, integer array or tensor of any shape.
            labels: uint8, same shape, on any device.
        Raises:
            BenchmarkError: shapes differ, or a predicted class does not exist.
        """
        if tuple(prediction.shape) != tuple(labels.shape):
            raise BenchmarkError(f"Predictions are {tuple(prediction.shape)}, labels {tuple(labels.shape)}.")
        self.confusion += confusion_matrix(prediction, labels, len(self.classes))

    def merge(self, other: SegmentationEvaluator) -> None:
        """Add the images of another evaluator of the same classes."""
        if self.classes != other.classes:
            raise BenchmarkError("Segmentation evaluators merge only if their classes are the same.")
        self.confusion += other.confusion

    def state(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays."""
        return {"classes": np.array(self.classes, dtype=str), "confusion": self.confusion}

    @classmethod
    def from_state(cls, state: Any) -> SegmentationEvaluator:
        """The evaluator whose :meth:`state` this is."""
        evaluator = cls([str(name) for name in state["classes"]])
        evaluator.confusion = np.array(state["confusion"])
        return evaluator

    def result(self) -> SegmentationResult:
        """The metrics of everything added so far."""
        iou = iou_per_class(self.confusion)
        present = self.confusion.sum(1) > 0
        total = self.confusion.sum()
        return SegmentationResult(
            miou_present=float(iou[present].mean()) if present.any() else float("nan"),
            miou_all=float(np.nansum(iou) / len(iou)) if present.any() else float("nan"),
            classes_present=int(present.sum()),
            pixel_accuracy=float(np.trace(self.confusion) / total) if total else float("nan"),
            iou={name: float(value) for name, value in zip(self.classes, iou, strict=True)},
        )


def confusion_matrix(prediction: Any, labels: Any, classes: int) -> np.ndarray:
    """Number of pixels per (label, prediction), int64 (classes, classes); other labels take no part.

    Raises:
        BenchmarkError: a predicted class does not exist.
    """
    if on_device(prediction):
        import torch

        known = torch.as_tensor(labels, device=prediction.device) < classes
        labels = torch.as_tensor(labels, device=prediction.device)[known].long()
        prediction = prediction[known].long()
        count: Any = torch.bincount
    else:
        labels, prediction = to_array(labels), to_array(prediction)
        known = labels < classes
        labels, prediction = labels[known].astype(np.int64), prediction[known].astype(np.int64)
        count = np.bincount
    if len(prediction) and not 0 <= int(prediction.min()) <= int(prediction.max()) < classes:
        raise BenchmarkError(f"A predicted class lies outside 0..{classes - 1}.")
    flat = count(labels * classes + prediction, minlength=classes * classes)
    return to_array(flat).reshape(classes, classes).astype(np.int64)


def iou_per_class(confusion: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN) per class, NaN for a class that is neither labelled nor predicted."""
    hits = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)
