"""Dense open-set segmentation: known classes are segmented, pixels from a threshold on are assigned to the anomaly.

The threshold of a fold (in StreetHazards a town) is calibrated on the other folds, so that no test label decides on
the image it belongs to. open-mIoU is the mean IoU over the known classes, where a known pixel that is rejected is a
false negative and an anomalous pixel that is not rejected a false positive of the class it is given.

Source: DenseHybrid (Grcic et al., ECCV 2022), evaluate_osr.py. There, pixels at the threshold are not rejected,
although they count as found where it is calibrated, so that scores with ties miss the rate asked for; here they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.inputs import as_arrays, check_threshold
from benchmark.metrics.pixel_protocols import TARGET_TPR, PixelProtocol
from benchmark.metrics.segmentation import iou_per_class
from benchmark.metrics.strata import ANOMALY

if TYPE_CHECKING:
    from benchmark.metrics.passes import FirstPass


@dataclass(frozen=True)
class OpenSetProtocol(Protocol):
    """Segmentation with rejection: pixels at or above a threshold are assigned to the anomaly.

    Attributes:
        target_tpr: the threshold of a fold is the first with TPR > target on the pooled pixels of the other folds.
        ignored_classes: known classes that take part in nothing, where the dataset has them.
    """

    target_tpr: float = TARGET_TPR
    ignored_classes: tuple[str, ...] = ()

    family: ClassVar = "open-set"
    predictions: ClassVar = True
    headlines: ClassVar = {"open_miou": "open-mIoU", "closed_miou": "closed mIoU"}
    passes: ClassVar = 2

    @property
    def calibration(self) -> PixelProtocol:
        """The pixel protocol whose pooled ranking the thresholds are taken from."""
        name, ignored = f"{self.name}-calibration", self.ignored_classes
        return PixelProtocol(name, self.version, self.source, "pooled", "first_gt", ignored_classes=ignored)

    @property
    def fold_rankings(self) -> tuple[PixelProtocol, ...]:
        return (self.calibration,)

    def evaluator(self, first: FirstPass, classes: Sequence[str], method: str) -> OpenSetEvaluator:
        if not classes:
            raise BenchmarkError("The dataset does not label the known classes.")
        thresholds = first.folds.cross_thresholds(self.calibration, self.target_tpr)
        return OpenSetEvaluator(self, thresholds, classes, method=method)


OPEN_SET_PROTOCOLS = (OpenSetProtocol("open-set", 2, "DenseHybrid, evaluate_osr.py", ignored_classes=("other",)),)


class OpenSetEvaluator(Evaluator[Measurements]):
    """Streaming confusion matrices per fold, with the anomaly as one more class.

    Args:
        protocol: which classes are ignored.
        thresholds: per fold (``View.fold``); pixels with this score or a higher one are rejected.
        classes: names of the known classes.
        method: named in messages.
    """

    protocol_type = OpenSetProtocol

    def __init__(
        self, protocol: OpenSetProtocol, thresholds: Mapping[str, float], classes: Sequence[str], *, method: str = ""
    ) -> None:
        super().__init__(method)
        self.protocol = protocol
        self.thresholds = {fold: check_threshold(threshold) for fold, threshold in thresholds.items()}
        self.classes = tuple(classes)
        # Pixels by true class (the last one is the anomaly), predicted class, and whether they are rejected.
        shape = (len(self.classes) + 1, len(self.classes), 2)
        self._pixels = {fold: np.zeros(shape, np.int64) for fold in thresholds}
        self._images_of = dict.fromkeys(thresholds, 0)

    def _add(self, view: View, where: str) -> None:
        if view.fold not in self.thresholds:
            raise BenchmarkError(f"{where} belongs to fold '{view.fold}', which has no threshold.")
        if view.prediction is None:
            raise BenchmarkError(f"{where}: there is no prediction, which open-set segmentation needs.")
        known = len(self.classes)
        scores, labels, prediction = as_arrays(view, where, known)
        rejected = scores >= np.float32(self.thresholds[view.fold])
        self._pixels[view.fold] += counted_pixels(labels, prediction, rejected, known)
        self._images_of[view.fold] += 1

    def _merge(self, other: Self) -> None:
        for fold in self.thresholds:
            self._pixels[fold] += other._pixels[fold]
            self._images_of[fold] += other._images_of[fold]

    def measurement(self) -> Measurements:
        """Means over the folds, weighted by their number of images.

        ``open_miou``; ``closed_miou``: its bound, where exactly the anomalous pixels are rejected; ``anomaly_iou``;
        and of every fold ``open_miou_FOLD`` and ``threshold_FOLD``.
        """
        opened = {fold: self._iou(assigned(pixels)) for fold, pixels in self._pixels.items()}
        closed = {fold: self._iou(bounded(pixels)) for fold, pixels in self._pixels.items()}
        extra: dict[str, float | None] = {
            "open_miou": self._mean({fold: miou for fold, (miou, _) in opened.items()}),
            "closed_miou": self._mean({fold: miou for fold, (miou, _) in closed.items()}),
            "anomaly_iou": self._mean({fold: anomaly for fold, (_, anomaly) in opened.items()}),
            **{f"open_miou_{fold}": miou for fold, (miou, _) in opened.items()},
            **{f"threshold_{fold}": threshold for fold, threshold in self.thresholds.items()},
        }
        return self.protocol.says(sum(self._images_of.values()), extra)

    def _iou(self, confusion: np.ndarray) -> tuple[float, float]:
        """Mean IoU of the known classes that are not ignored, and the IoU of the anomaly."""
        ignored = [i for i, name in enumerate(self.classes) if name in self.protocol.ignored_classes]
        known = [i for i in range(len(self.classes)) if i not in ignored]
        confusion[ignored] = 0
        confusion[:, ignored] = 0
        iou = iou_per_class(confusion)
        defined = iou[known][~np.isnan(iou[known])]
        return float(defined.mean()) if len(defined) else float("nan"), float(iou[-1])

    def _mean(self, by_fold: Mapping[str, float]) -> float:
        used = [fold for fold, images in self._images_of.items() if images]
        weights = [self._images_of[fold] for fold in used]
        return float(np.average([by_fold[fold] for fold in used], weights=weights)) if used else float("nan")

    def _state(self) -> dict[str, Any]:
        counts = np.stack(list(self._pixels.values())) if self._pixels else np.zeros(0, np.int64)
        return {"pixels": counts, "images_of": self._images_of}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._pixels = dict(zip(self.thresholds, np.array(kept["pixels"]), strict=True))
        self._images_of = kept["images_of"]


def counted_pixels(labels: np.ndarray, prediction: np.ndarray, rejected: np.ndarray, known: int) -> np.ndarray:
    """Pixels by true class (the last one is the anomaly), predicted class, and whether they are rejected.

    Args:
        labels: uint8 (H, W); what is neither a known class nor the anomaly is not counted.
        prediction: (H, W) ids of known classes.
        rejected: bool (H, W).
        known: number of known classes K.
    Returns:
        int64 (K + 1, K, 2).
    """
    counted = (labels < known) | (labels == ANOMALY)
    true = np.where(labels == ANOMALY, known, labels)[counted].astype(np.int64)
    predicted = prediction[counted].astype(np.int64)
    shape = (known + 1, known, 2)
    flat = np.bincount((true * known + predicted) * 2 + rejected[counted], minlength=(known + 1) * known * 2)
    return flat.reshape(shape)


def assigned(pixels: np.ndarray) -> np.ndarray:
    """Confusion matrix (true, assigned) where the rejected pixels are assigned to the anomaly."""
    return np.concatenate((pixels[..., 0], pixels[..., 1].sum(1, keepdims=True)), axis=1)


def bounded(pixels: np.ndarray) -> np.ndarray:
    """Confusion matrix where exactly the anomalous pixels are assigned to the anomaly."""
    confusion = np.zeros((len(pixels),) * 2, np.int64)
    confusion[:-1, :-1] = pixels[:-1].sum(-1)
    confusion[-1, -1] = pixels[-1].sum()
    return confusion
