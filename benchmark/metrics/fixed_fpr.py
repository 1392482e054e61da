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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from benchmark.metrics.bootstrap import mean_interval
from benchmark.metrics.evaluator import Evaluator, Measurements, Protocol, View
from benchmark.metrics.inputs import as_arrays
from benchmark.metrics.measurement import Measurement
from benchmark.metrics.pixel_protocols import POOLED, PixelProtocol
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

    headlines: ClassVar = {"tpr": "TPR at 5 % FPR"}

    @property
    def family(self) -> str:
        return "fixed-fpr"

    @property
    def rankings(self) -> tuple[PixelProtocol, ...]:
        return (POOLED,)

    def measured(self, first: FirstPass) -> Measurement | None:
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
        return Measurement(self.version, self.family, pixels.images, extra=extra)


@dataclass(frozen=True)
class FixedFprPerImage(Protocol):
    """The same of every image, averaged over those that hold both kinds of pixels.

    Attributes:
        target_fpr: false-positive rate a.
    """

    target_fpr: float = TARGET_FPR

    headlines: ClassVar = {"tpr": "TPR at 5 % FPR"}

    @property
    def family(self) -> str:
        return "fixed-fpr-per-image"

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

    def __init__(self, protocol: FixedFprPerImage, *, method: str = "") -> None:
        super().__init__(method)
        self.protocol = protocol
        self._rates: dict[str, float] = {}  # NaN where a kind of pixels is missing

    def _add(self, view: View, where: str) -> None:
        scores, labels, _ = as_arrays(replace(view, prediction=None), where)
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
        skipped, protocol = len(rates) - len(known), self.protocol
        if not len(known):
            made = protocol.unmeasured("no image holds both anomalous and normal pixels")
            return {protocol.name: replace(made, skipped=skipped)}
        found = mean_interval(known)
        made = Measurement(
            protocol.version,
            protocol.family,
            len(known),
            skipped=skipped,
            intervals={"tpr": [found.low, found.high]},
            extra={"tpr": found.value},
        )
        return {protocol.name: made}

    def _configuration(self) -> dict[str, Any]:
        return {"protocol": self.protocol.as_dict(), "method": self.method}

    @classmethod
    def _configured(cls, configuration: dict[str, Any]) -> Self:
        return cls(**configuration | {"protocol": FixedFprPerImage.from_dict(configuration["protocol"])})

    def _state(self) -> dict[str, Any]:
        return {"names": list(self._rates), "rates": np.array(list(self._rates.values()))}

    def _restore(self, kept: dict[str, Any]) -> None:
        self._rates = dict(zip(kept["names"], kept["rates"].tolist(), strict=True))
