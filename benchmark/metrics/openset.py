"""Dense open-set segmentation: known classes are segmented, pixels above a threshold are assigned to the anomaly.

The threshold of a fold (in StreetHazards a town) is calibrated on the other folds, so that no test label decides on
the image it belongs to. open-mIoU is the mean IoU over the known classes, where a known pixel that is rejected is a
false negative and an anomalous pixel that is not rejected a false positive of the class it is given.

Source: DenseHybrid (Grcic et al., ECCV 2022), evaluate_osr.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.inputs import as_maps, to_array
from benchmark.metrics.keys import scores_of
from benchmark.metrics.pixel import PixelEvaluator
from benchmark.metrics.protocols import OpenSetProtocol, protocol
from benchmark.metrics.segmentation import confusion_matrix, iou_per_class
from benchmark.metrics.strata import ANOMALY


@dataclass(frozen=True)
class OpenSetResult:
    """Fractions.

    Attributes:
        protocol: name and version.
        open_miou: mean over the folds, weighted by their number of images.
        anomaly_iou: IoU of the anomaly, weighted alike.
        fold_miou: open-mIoU per fold.
        thresholds: per fold.
        images: per fold.
    """

    protocol: str
    open_miou: float
    anomaly_iou: float
    fold_miou: dict[str, float]
    thresholds: dict[str, float]
    images: dict[str, int]


def cross_thresholds(
    folds: Mapping[str, PixelEvaluator], protocol_: str | OpenSetProtocol = "open-set"
) -> dict[str, float]:
    """For every fold the threshold calibrated on all other folds.

    Args:
        folds: per fold an evaluator with the protocol's ``calibration``.
        protocol_: name or object.
    Raises:
        BenchmarkError: fewer than two folds, or no anomalous pixel to calibrate on.
    """
    rules = _open_set(protocol_)
    if len(folds) < 2:
        raise BenchmarkError("A threshold is calibrated on the other folds of a dataset, so there must be two or more.")
    thresholds = {}
    for fold in folds:
        others = [evaluator for name, evaluator in folds.items() if name != fold]
        pooled = PixelEvaluator.from_state(others[0].state())
        for evaluator in others[1:]:
            pooled.merge(evaluator)
        ranking = pooled.ranking(rules.calibration)
        if not ranking.defined:
            raise BenchmarkError(f"There is no anomalous or no normal pixel outside fold '{fold}' to calibrate on.")
        thresholds[fold] = float(scores_of(ranking.keys[ranking.cut("first_gt", rules.target_tpr)]))
    return thresholds


class OpenSetEvaluator:
    """Streaming confusion matrices per fold, with the anomaly as one more class.

    Args:
        classes: names of the known classes.
        thresholds: per fold; pixels with a score above it are rejected.
        protocol_: name or object.
        method: named in messages.
    """

    def __init__(
        self,
        classes: Sequence[str],
        thresholds: Mapping[str, float],
        protocol_: str | OpenSetProtocol = "open-set",
        *,
        method: str = "",
    ) -> None:
        self.protocol = _open_set(protocol_)
        self.classes = tuple(classes)
        self.thresholds = dict(thresholds)
        self.method = method
        self._confusion = {fold: np.zeros((len(self.classes) + 1,) * 2, np.int64) for fold in thresholds}
        self._images = dict.fromkeys(thresholds, 0)

    def update(self, fold: str, image_id: str, scores: Any, labels: Any, prediction: Any) -> None:
        """Add one image of a fold; the other arguments and errors as for ``PixelEvaluator.update``."""
        where = f"{self.method}: image '{image_id}'" if self.method else f"Image '{image_id}'"
        if fold not in self.thresholds:
            raise BenchmarkError(f"{where} belongs to fold '{fold}', which has no threshold.")
        scores, labels, prediction = as_maps(to_array(scores), labels, prediction, where)
        known = len(self.classes)
        opened = np.where(scores > np.float32(self.thresholds[fold]), known, prediction)
        true = np.where(labels == ANOMALY, np.uint8(known), labels)
        self._confusion[fold] += confusion_matrix(opened, true, known + 1)
        self._images[fold] += 1

    def merge(self, other: OpenSetEvaluator) -> None:
        """Add the images of another evaluator with the same classes, thresholds and protocol."""
        mine, others = ((e.protocol, e.classes, e.thresholds) for e in (self, other))
        if mine != others:
            raise BenchmarkError("Open-set evaluators merge only if classes, thresholds and protocol are the same.")
        for fold in self.thresholds:
            self._confusion[fold] += other._confusion[fold]
            self._images[fold] += other._images[fold]

    def state(self) -> dict[str, np.ndarray]:
        """Everything as plain arrays."""
        header = {
            "protocol": self.protocol.as_dict(),
            "classes": self.classes,
            "thresholds": self.thresholds,
            "images": self._images,
            "method": self.method,
        }
        return {"header": np.array(json.dumps(header)), "confusion": np.stack(list(self._confusion.values()))}

    @classmethod
    def from_state(cls, state: Any) -> OpenSetEvaluator:
        """The evaluator whose :meth:`state` this is."""
        header = json.loads(str(state["header"]))
        fields = header["protocol"] | {"ignored_classes": tuple(header["protocol"]["ignored_classes"])}
        evaluator = cls(header["classes"], header["thresholds"], OpenSetProtocol(**fields), method=header["method"])
        evaluator._images = header["images"]
        evaluator._confusion = dict(zip(header["thresholds"], np.array(state["confusion"]), strict=True))
        return evaluator

    def result(self) -> OpenSetResult:
        """The metrics of everything added so far."""
        ignored = [i for i, name in enumerate(self.classes) if name in self.protocol.ignored_classes]
        known = [i for i in range(len(self.classes)) if i not in ignored]
        miou, anomaly = {}, {}
        for fold, counts in self._confusion.items():
            confusion = counts.copy()
            confusion[ignored] = 0
            confusion[:, ignored] = 0
            iou = iou_per_class(confusion)
            defined = iou[known][~np.isnan(iou[known])]
            miou[fold] = float(defined.mean()) if len(defined) else float("nan")
            anomaly[fold] = float(iou[-1])
        used = [fold for fold in miou if self._images[fold]]
        weights = [self._images[fold] for fold in used]
        return OpenSetResult(
            protocol=self.protocol.label,
            open_miou=_weighted([miou[fold] for fold in used], weights),
            anomaly_iou=_weighted([anomaly[fold] for fold in used], weights),
            fold_miou=miou,
            thresholds=dict(self.thresholds),
            images=dict(self._images),
        )


def _weighted(values: Sequence[float], weights: Sequence[int]) -> float:
    return float(np.average(values, weights=weights)) if weights else float("nan")


def _open_set(which: str | OpenSetProtocol) -> OpenSetProtocol:
    chosen = protocol(which)
    if not isinstance(chosen, OpenSetProtocol):
        raise BenchmarkError(f"Protocol '{chosen.name}' is not about open-set segmentation; take 'open-set'.")
    return chosen
