r"""Average precision of components: are anomalous objects found as objects, and the surer the score the better?

Predictions are the 8-connected components of at least 10 pixels of the scores above the threshold that 5 % of the
normal validation pixels exceed (``thresholds.py``); the confidence of one is its mean score. True objects are the
components of the anomalous pixels, those of fewer than 10 pixels ignored. At an IoU threshold u a prediction with
IoU > u is a true positive; since components do not overlap and u >= .5, no two share an object. Others are false
positives, unless more than a share u of them lies on ignored pixels. AP is the area below precision over recall, all
images pooled, by the trapezoid rule from (0, 1) on; what is reported is the mean over u = .5, .55, ..., .95, and AP50.

Source: OoDIS (kumuji/anomaly-benchmark-suite, the instance evaluation of Cityscapes), where predictions are instance
masks and objects are labelled one by one; score maps hold neither, hence components in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from benchmark.metrics.components import components_of
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.fixed_fpr import TARGET_FPR
from benchmark.metrics.inputs import check_threshold, scores_and_labels
from benchmark.metrics.strata import ANOMALY, IGNORE

if TYPE_CHECKING:
    from benchmark.metrics.passes import FirstPass


@dataclass(frozen=True)
class ComponentApProtocol(Protocol):
    """Average precision of the components above a threshold from normal validation images.

    Attributes:
        min_pixels: predicted components of fewer pixels are dropped, true ones ignored.
        target_fpr: share of normal validation pixels above the threshold.
        thresholds: IoU that a prediction must exceed, .5 or more.
    """

    min_pixels: int = 10
    target_fpr: float = TARGET_FPR
    thresholds: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

    family: ClassVar = "component-ap"
    headlines: ClassVar = {"ap": "component AP", "ap50": "component AP50"}
    passes: ClassVar = 2
    validates: ClassVar = True

    def evaluator(self, first: FirstPass, classes: Sequence[str], method: str) -> ComponentApEvaluator:
        return ComponentApEvaluator(self, first.normal().threshold(self.target_fpr, "pooled"), method=method)


COMPONENT_AP_PROTOCOLS = (ComponentApProtocol("component-ap", 1, "OoDIS, with components for instances"),)


class ComponentApEvaluator(Evaluator[Measurements]):
    """Streaming components at one threshold.

    Args:
        protocol: minimal size and IoU thresholds.
        threshold: components are made of pixels with a higher score.
        method: named in messages.
    """

    protocol_type = ComponentApProtocol

    def __init__(self, protocol: ComponentApProtocol, threshold: float, *, method: str = "") -> None:
        super().__init__(method)
        self.protocol = protocol
        self.threshold = check_threshold(threshold)
        # Image -> confidence, best IoU and share of ignored pixels of every prediction, numbers of objects and of
        # normal pixels.
        self._found: dict[str, tuple[np.ndarray, int, int]] = {}

    def _add(self, view: View, where: str) -> None:
        scores, labels = scores_and_labels(view, where)
        predicted, area = components_of(scores > np.float32(self.threshold))
        true, size = components_of(labels == ANOMALY)
        objects = size >= self.protocol.min_pixels
        objects[0] = False  # the background
        confidence = np.bincount(predicted.ravel(), scores.ravel().astype(np.float64), len(area)) / np.maximum(area, 1)
        ignored = (labels == IGNORE) | ((true > 0) & ~objects[true])
        void = np.bincount(predicted[ignored], minlength=len(area)) / np.maximum(area, 1)
        shared = objects[true] & (predicted > 0)
        pairs, overlap = np.unique(true[shared].astype(np.int64) * len(area) + predicted[shared], return_counts=True)
        one, other = pairs // len(area), pairs % len(area)
        best = np.zeros(len(area))
        np.maximum.at(best, other, overlap / (size[one] + area[other] - overlap))
        kept = area >= self.protocol.min_pixels
        kept[0] = False
        rows = np.stack((confidence, best, void), axis=1)[kept]
        self._found[view.image] = rows, int(objects.sum()), int(np.count_nonzero(labels < ANOMALY))

    def _merge(self, other: Self) -> None:
        self._found |= other._found

    def measurement(self) -> Measurements:
        """``ap`` and ``ap50``, the numbers of ``true_components`` and ``predicted_components``, the ``threshold``."""
        protocol = self.protocol
        ordered = [self._found[image] for image in sorted(self._found)]
        predictions = np.concatenate([np.zeros((0, 3)), *(rows for rows, *_ in ordered)])
        objects, normal = (sum(counts[i] for _, *counts in ordered) for i in (0, 1))
        if not (objects and normal):
            few = f"there is no anomalous component of {protocol.min_pixels} pixels or more, or no normal pixel"
            return protocol.unmeasured(few, images=len(ordered))
        by_threshold = [average_precision(predictions, objects, t) for t in protocol.thresholds]
        extra: dict[str, float | None] = {
            "ap": float(np.mean(by_threshold)),
            "ap50": by_threshold[0],
            "threshold": self.threshold,
            "true_components": objects,
            "predicted_components": len(predictions),
        }
        return protocol.says(len(ordered), extra)

    def _state(self) -> dict[str, Any]:
        rows = [rows for rows, *_ in self._found.values()]
        numbers = [(name, len(rows), *counts) for name, (rows, *counts) in self._found.items()]
        return {"numbers": numbers, "rows": np.concatenate([np.zeros((0, 3)), *rows])}

    def _restore(self, kept: dict[str, Any]) -> None:
        start = 0
        for name, count, objects, normal in kept["numbers"]:
            self._found[name] = np.array(kept["rows"][start : start + count]), objects, normal
            start += count


def average_precision(predictions: np.ndarray, objects: int, threshold: float) -> float:
    """Area below precision over recall, by the trapezoid rule from recall 0 and precision 1 on.

    Args:
        predictions: confidence, best IoU and share of ignored pixels of each, float64 (N, 3).
        objects: number of true ones, > 0.
        threshold: IoU that a true positive exceeds.
    """
    confidence, best, void = predictions.T
    hit = best > threshold
    counted = hit | (void <= threshold)
    confidence, hit = confidence[counted], hit[counted]
    order = np.argsort(-confidence, kind="stable")
    confidence, hit = confidence[order], hit[order]
    last = np.append(confidence[1:] != confidence[:-1], True)[: len(confidence)]  # of equally sure ones
    tp, fp = hit.cumsum()[last], (~hit).cumsum()[last]
    recall = np.concatenate(([0.0], tp / objects))
    precision = np.concatenate(([1.0], tp / (tp + fp)))
    return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())
