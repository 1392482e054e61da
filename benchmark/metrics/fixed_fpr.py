"""True-positive rate at a fixed false-positive rate: what is found where false alarms are bounded.

Its threshold depends on normal pixels only. Two readings of the ROC curve differ by one distinct score:

    last_le:   the largest TPR of any threshold with FPR <= a, what can be had without more false alarms;
    first_ge:  the TPR at the first point of the curve, by falling threshold, with FPR >= a.

The first is reported as ``tpr``, the second, which is that of the source, as ``tpr_first_ge``. A constant score has 0
and 1, a perfect one 1 and 1.

Source: Vojir et al., benchmark_issu, pixel_classification_curves.py (first_ge, pooled).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from benchmark.metrics.bootstrap import mean_interval
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.inputs import scores_and_labels
from benchmark.metrics.pixel_protocols import POOLED
from benchmark.metrics.strata import ANOMALY
from benchmark.metrics.thresholds import quantile, share_above, threshold_at, tpr_error

if TYPE_CHECKING:
    from benchmark.metrics.passes import FirstPass

TARGET_FPR = 0.05


@dataclass(frozen=True)
class FixedFprProtocol(Protocol):
    """True-positive rate at a false-positive rate, of all pixels of all images at once.

    Attributes:
        target_fpr: false-positive rate a.
    """

    target_fpr: float = TARGET_FPR

    family: ClassVar = "fixed-fpr"
    rankings: ClassVar = (POOLED,)
    headlines: ClassVar = {"tpr": "TPR at 5 % FPR"}

    def measured(self, first: FirstPass) -> Measurements:
        """``tpr`` with its ``threshold``, above which pixels are called anomalous; ``tpr_first_ge``; and where the
        pixels are a sample, ``sampling_tpr``, the bound of the error of the first."""
        pixels = first.pixels
        ranking = pixels.ranking(POOLED)
        if not ranking.defined:
            return self.unmeasured("there is no anomalous or no normal pixel")
        anomalous, normal = pixels.parts(POOLED)
        extra: dict[str, float | None] = {
            "tpr": ranking.tpr("last_le", self.target_fpr),
            "tpr_first_ge": ranking.tpr("first_ge", self.target_fpr),
            "threshold": threshold_at(normal, self.target_fpr),
        }
        if bound := tpr_error(anomalous, normal, ranking, self.target_fpr):
            extra["sampling_tpr"] = bound
        return self.says(pixels.images, extra)


@dataclass(frozen=True)
class FixedFprPerImage(Protocol):
    """The same of every image, averaged over those that hold both kinds of pixels.

    Attributes:
        target_fpr: false-positive rate a.
    """

    target_fpr: float = TARGET_FPR

    family: ClassVar = "fixed-fpr-per-image"
    headlines: ClassVar = {"tpr": "TPR at 5 % FPR"}

    def evaluator(self, first: FirstPass, classes: Sequence[str], method: str) -> FixedFprEvaluator:
        return FixedFprEvaluator(self, method=method)


FIXED_FPR_PROTOCOLS = (
    FixedFprProtocol("tpr-fpr05", 1, "benchmark_issu, pixel_classification_curves.py"),
    FixedFprPerImage("tpr-fpr05-per-image", 1, "as tpr-fpr05, image by image"),
)


class FixedFprEvaluator(Evaluator[Measurements]):
    """The true-positive rate of every image, each with a threshold of its own.

    Args:
        protocol: says the false-positive rate.
        method: named in messages.
    """

    protocol_type = FixedFprPerImage

    def __init__(self, protocol: FixedFprPerImage, *, method: str = "") -> None:
        super().__init__(method)
        self.protocol = protocol
        self._rates: dict[str, float] = {}  # NaN where a kind of pixels is missing

    def _add(self, view: View, where: str) -> None:
        scores, labels = scores_and_labels(view, where)
        normal, anomalous = scores[labels < ANOMALY], scores[labels == ANOMALY]
        both = len(normal) and len(anomalous)
        target = self.protocol.target_fpr
        self._rates[view.image] = share_above(anomalous, quantile(normal, target)) if both else float("nan")

    def _merge(self, other: Self) -> None:
        self._rates |= other._rates

    def measurement(self) -> Measurements:
        """``tpr``, the mean over the images, with its 95 % bootstrap interval."""
        rates = np.array([self._rates[image] for image in sorted(self._rates)])
        known = rates[~np.isnan(rates)]
        skipped = len(rates) - len(known)
        if not len(known):
            return self.protocol.unmeasured("no image holds both anomalous and normal pixels", skipped=skipped)
        found = mean_interval(known)
        intervals = {"tpr": [found.low, found.high]}
        return self.protocol.says(len(known), {"tpr": found.value}, skipped=skipped, intervals=intervals)

    def _state(self) -> dict[str, Any]:
        return {"names": list(self._rates), "rates": np.array(list(self._rates.values()))}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._rates = dict(zip(kept["names"], kept["rates"].tolist(), strict=True))
