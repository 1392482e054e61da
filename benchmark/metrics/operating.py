"""What a threshold from normal validation images is worth on test images: false and true positives, and open-mIoU.

No test label enters the threshold (``thresholds.py``), so these are numbers that somebody who deploys a method would
see. A conformal threshold promises its false-positive rate on images like the validation ones; the realised rate says
how far the test images are from that. open-mIoU is the mean IoU over the known classes where pixels above the threshold
are assigned to the anomaly (``openset.py``).

Source: Vojir et al., benchmark_issu, pixel_recognition.py (there the threshold is read off the test images).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.fixed_fpr import TARGET_FPR
from benchmark.metrics.inputs import as_arrays, check_threshold
from benchmark.metrics.openset import assigned, bounded, counted_pixels
from benchmark.metrics.segmentation import iou_per_class
from benchmark.metrics.strata import ANOMALY
from benchmark.metrics.thresholds import Rule

if TYPE_CHECKING:
    from benchmark.metrics.passes import FirstPass


@dataclass(frozen=True)
class OperatingProtocol(Protocol):
    """False and true positives at a threshold from normal validation images.

    Attributes:
        rule: "pooled" bounds the share of all normal validation pixels, "conformal" the expected rate of an image.
        target_fpr: false-positive rate a.
    """

    rule: Rule = "conformal"
    target_fpr: float = TARGET_FPR

    family: ClassVar = "operating-point"
    headlines: ClassVar[Mapping[str, str]] = {"fpr_per_image": "FPR", "tpr_per_image": "TPR"}
    passes: ClassVar = 2
    validates: ClassVar = True

    def evaluator(self, first: FirstPass, classes: Sequence[str], method: str) -> OperatingEvaluator:
        if self.predictions and not classes:
            raise BenchmarkError("The dataset does not label the known classes.")
        normal = first.normal()
        threshold, calibrated_on = normal.threshold(self.target_fpr, self.rule), (normal.with_pixels, normal.pixels)
        return OperatingEvaluator(self, threshold, classes if self.predictions else (), calibrated_on, method=method)


@dataclass(frozen=True)
class OpenOperatingProtocol(OperatingProtocol):
    """The same, with the known classes segmented beside it."""

    family: ClassVar = "open-operating-point"
    predictions: ClassVar = True
    headlines: ClassVar[Mapping[str, str]] = {"open_miou": "open-mIoU", "fpr": "FPR", "tpr": "TPR"}


OPERATING_PROTOCOLS = (
    OpenOperatingProtocol("open-set-fpr", 1, "benchmark_issu, pixel_recognition.py", "pooled"),
    OperatingProtocol("conformal", 1, "Angelopoulos et al., Conformal Risk Control", "conformal"),
    OpenOperatingProtocol("open-set-conformal", 1, "as open-set-fpr, at the threshold of conformal", "conformal"),
)


class OperatingEvaluator(Evaluator[Measurements]):
    """Streaming counts at one threshold.

    Args:
        protocol: what is wanted.
        threshold: pixels with a higher score are called anomalous.
        classes: names of the known classes, for protocols that segment them.
        calibrated_on: numbers of validation images and of their normal pixels that the threshold rests on.
        method: named in messages.
    """

    def __init__(
        self,
        protocol: OperatingProtocol,
        threshold: float,
        classes: Sequence[str] = (),
        calibrated_on: Sequence[int] = (0, 0),
        *,
        method: str = "",
    ) -> None:
        super().__init__(method)
        self.protocol = protocol
        self.threshold = check_threshold(threshold)
        self.classes = tuple(classes)
        self.calibrated_on = tuple(calibrated_on)
        self._counts: dict[str, list[int]] = {}  # normal pixels above, normal ones, anomalous above, anomalous ones
        self._pixels = np.zeros((len(self.classes) + 1, len(self.classes), 2), np.int64)  # as in openset.py

    def _add(self, view: View, where: str) -> None:
        if self.classes and view.prediction is None:
            raise BenchmarkError(f"{where}: there is no prediction, which open-set segmentation needs.")
        used = view if self.classes else replace(view, prediction=None)
        scores, labels, prediction = as_arrays(used, where, len(self.classes))
        above, anomalous, normal = scores > np.float32(self.threshold), labels == ANOMALY, labels < ANOMALY
        if self.classes:
            self._pixels += counted_pixels(labels, prediction, above, len(self.classes))
        masks = (above & normal, normal, above & anomalous, anomalous)
        self._counts[view.image] = [int(np.count_nonzero(mask)) for mask in masks]

    def _merge(self, other: Self) -> None:
        self._counts |= other._counts
        self._pixels += other._pixels

    def measurement(self) -> Measurements:
        """Rates, the threshold, and on how much it rests.

        ``fpr`` and ``tpr`` of all pixels at once, ``fpr_per_image`` and ``tpr_per_image`` averaged over the images that
        hold such pixels; ``threshold``; ``validation_images`` and ``validation_pixels`` that it was taken from. With
        known classes ``open_miou`` over the classes that occur, ``open_miou_all`` over all (absent ones count 0, as in
        the source), ``closed_miou`` and ``closed_miou_all``, where exactly the anomalous pixels are rejected, and
        ``anomaly_iou``.
        """
        protocol = self.protocol
        counts = np.array([self._counts[image] for image in sorted(self._counts)], np.int64).reshape(-1, 4)
        total = counts.sum(0)
        if not (total[1] and total[3]):
            return protocol.unmeasured("there is no anomalous or no normal pixel", images=len(counts))
        extra: dict[str, float | None] = {
            "fpr": float(total[0] / total[1]),
            "tpr": float(total[2] / total[3]),
            "fpr_per_image": _mean_rate(counts[:, 0], counts[:, 1]),
            "tpr_per_image": _mean_rate(counts[:, 2], counts[:, 3]),
            "threshold": self.threshold,
            "validation_images": self.calibrated_on[0],
            "validation_pixels": self.calibrated_on[1],
        }
        if self.classes:
            opened, closed = (iou_per_class(confusion(self._pixels)) for confusion in (assigned, bounded))
            for name, iou in (("open", opened), ("closed", closed)):
                known = iou[:-1]
                extra[f"{name}_miou"] = float(np.nanmean(known)) if not np.isnan(known).all() else None
                extra[f"{name}_miou_all"] = float(np.nansum(known) / len(known))
            extra["anomaly_iou"] = float(opened[-1])
        return protocol.says(len(counts), extra)

    @classmethod
    def _configured(cls, configuration: dict[str, Any]) -> Self:
        kind = OpenOperatingProtocol if configuration["classes"] else OperatingProtocol
        return cls(**configuration | {"protocol": kind.from_dict(configuration["protocol"])})

    def _state(self) -> dict[str, Any]:
        return {"counts": self._counts, "pixels": self._pixels}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._counts, self._pixels = kept["counts"], np.array(kept["pixels"])


def _mean_rate(above: np.ndarray, pixels: np.ndarray) -> float:
    """Mean share over the images that hold such pixels."""
    held = pixels > 0
    return float((above[held] / pixels[held]).mean())
