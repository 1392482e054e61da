"""Protocols that rank pixels: AUROC, AUPR and FPR95, evaluated by ``PixelEvaluator``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar, Literal

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import Protocol

FprRule = Literal["nearest", "first_ge", "first_gt", "interpolated"]
FPR_RULES: tuple[FprRule, ...] = ("nearest", "first_ge", "first_gt", "interpolated")
"""At which point of the ROC curve the false-positive rate is read (t = target TPR).

nearest: the recall closest to t, which may lie below it; of two equally close ones the higher recall, up to float
    rounding (10 anomalous pixels give recall .9, 5 give 1); of all thresholds with that recall the lowest.
first_ge: the highest threshold with TPR >= t.
first_gt: the highest threshold with TPR > t.
interpolated: linear in TPR between the neighbouring points of the curve.
"""
TARGET_TPR = 0.95


@dataclass(frozen=True)
class PixelProtocol(Protocol):
    """Ranking of pixels: anomalous pixels (label 254) are positive.

    Attributes:
        aggregation: "per-image": unweighted mean over the images that hold both kinds of pixels, the others are
            skipped and counted; "pooled": one ranking of all pixels of all images.
        fpr_rule: see :data:`FPR_RULES`.
        void: whether pixels labelled 255 are negative or ignored.
        ignored_classes: names of known classes whose pixels are ignored, where the dataset has them.
        pure_images: whether images without an anomalous pixel take part in the pooled ranking.
        split: also report FPR95 among the wrongly and among the correctly classified normal pixels (efpr, cfpr).
    """

    aggregation: Literal["per-image", "pooled"]
    fpr_rule: FprRule
    void: Literal["negative", "ignored"] = "ignored"
    ignored_classes: tuple[str, ...] = ()
    pure_images: Literal["included", "excluded"] = "included"
    split: bool = False

    headlines: ClassVar = {"auroc": "AUROC", "aupr": "AUPR", "fpr95": "FPR95"}

    @property
    def family(self) -> str:
        return self.aggregation

    @property
    def predictions(self) -> bool:
        return self.split

    @property
    def rankings(self) -> tuple[PixelProtocol, ...]:
        return (self,)

    @property
    def negatives(self) -> str:
        """Name of the set of negative pixels: ``all``, ``known`` (void ignored), ``known-other``, ..."""
        return "-".join(("all" if self.void == "negative" else "known", *self.ignored_classes))

    def ignored_labels(self, classes: Sequence[str]) -> tuple[int, ...]:
        """Label ids that take part in nothing, given the dataset's class names."""
        ids = [i for i, name in enumerate(classes) if name in self.ignored_classes]
        return tuple(ids + ([255] if self.void == "ignored" else []))


POOLED = PixelProtocol("pooled", 2, "Fishyscapes, SegmentMeIfYouCan (pixel level)", "pooled", "first_ge")
PIXEL_PROTOCOLS = (
    PixelProtocol("per-image", 1, "as streethazards, with void ignored", "per-image", "nearest"),
    PixelProtocol(
        "streethazards", 1, "hendrycks/anomaly-seg and the StreetHazards papers", "per-image", "nearest", "negative"
    ),
    PixelProtocol(
        "densehybrid", 1, "DenseHybrid, evaluations/base.py", "per-image", "first_gt", ignored_classes=("other",)
    ),
    POOLED,
    PixelProtocol(
        "pooled-anomalous",
        2,
        "as pooled, without the images that hold no anomaly",
        "pooled",
        "first_ge",
        pure_images="excluded",
    ),
    PixelProtocol("failure-split", 1, "DiCNet, evaluation_with_seg.py", "per-image", "nearest", "negative", split=True),
)


def pixel_protocol(which: str | PixelProtocol) -> PixelProtocol:
    """Look a protocol that ranks pixels up by name; a protocol passes through.

    Raises:
        BenchmarkError: no such name; the sentence suggests one.
    """
    if isinstance(which, PixelProtocol):
        return which
    known = {p.name: p for p in PIXEL_PROTOCOLS}
    if not isinstance(which, str):
        raise BenchmarkError(f"A protocol is named, as in '{PIXEL_PROTOCOLS[0].name}', not a {type(which).__name__}.")
    if which not in known:
        near = get_close_matches(which, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(known)}."
        raise BenchmarkError(f"There is no protocol '{which}' that ranks pixels{hint}")
    return known[which]
