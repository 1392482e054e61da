"""Protocols: what a number means, as named and versioned data.

Published values of one method on one dataset differ by several points with the evaluation alone, so a value is only
ever stored and printed together with its protocol. There are three families, one dataclass each:

* :class:`PixelProtocol`: a ranking metric over pixels (AUROC, AUPR, FPR95), evaluated by ``PixelEvaluator``;
* :class:`ComponentProtocol`: connected components at one threshold, evaluated by ``ComponentEvaluator``;
* :class:`OpenSetProtocol`: segmentation with rejection, evaluated by ``OpenSetEvaluator``.

A change that can change a value raises the version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal

from benchmark.errors import BenchmarkError

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
class Protocol:
    """What all families share.

    Attributes:
        name: key in :data:`PROTOCOLS`.
        version: raised whenever a value could change.
        source: whose evaluation it reproduces.
    """

    name: str
    version: int
    source: str

    @property
    def label(self) -> str:
        """Name and version, as printed: ``streethazards v1``."""
        return f"{self.name} v{self.version}"

    def as_dict(self) -> dict[str, Any]:
        """All fields, for a record."""
        return asdict(self)


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
        split: also report FPR95 apart for wrongly and correctly classified normal pixels (efpr, cfpr).
    """

    aggregation: Literal["per-image", "pooled"]
    fpr_rule: FprRule
    void: Literal["negative", "ignored"] = "ignored"
    ignored_classes: tuple[str, ...] = ()
    pure_images: Literal["included", "excluded"] = "included"
    split: bool = False

    @property
    def negatives(self) -> str:
        """Name of the set of negative pixels: ``all``, ``known`` (void ignored), ``known-other``, ..."""
        return "-".join(("all" if self.void == "negative" else "known", *self.ignored_classes))

    def ignored_labels(self, classes: Sequence[str]) -> tuple[int, ...]:
        """Label ids that take part in nothing, given the dataset's class names."""
        ids = [i for i, name in enumerate(classes) if name in self.ignored_classes]
        return tuple(ids + ([255] if self.void == "ignored" else []))


@dataclass(frozen=True)
class ComponentProtocol(Protocol):
    """Connected components (8 neighbours) of the score map thresholded where the pooled pixel F1 is best.

    Attributes:
        min_predicted: predicted components of fewer pixels are dropped.
        min_true: anomalous components of fewer pixels become void.
        thresholds: values of sIoU and PPV from which a component counts as found.
    """

    min_predicted: int
    min_true: int
    thresholds: tuple[float, ...] = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)


@dataclass(frozen=True)
class OpenSetProtocol(Protocol):
    """Segmentation with rejection: pixels above a threshold are assigned to the anomaly.

    Attributes:
        target_tpr: the threshold of a fold is the first with TPR > target on the pooled pixels of the other folds.
        ignored_classes: known classes that take part in nothing, where the dataset has them.
    """

    target_tpr: float = TARGET_TPR
    ignored_classes: tuple[str, ...] = ()

    @property
    def calibration(self) -> PixelProtocol:
        """The pixel protocol whose pooled ranking the thresholds are taken from."""
        return PixelProtocol(
            f"{self.name}-calibration",
            self.version,
            self.source,
            "pooled",
            "first_gt",
            ignored_classes=self.ignored_classes,
        )


_PROTOCOLS: tuple[Protocol, ...] = (
    PixelProtocol("per-image", 1, "as streethazards, with void ignored", "per-image", "nearest"),
    PixelProtocol(
        "streethazards", 1, "hendrycks/anomaly-seg and the StreetHazards papers", "per-image", "nearest", "negative"
    ),
    PixelProtocol(
        "densehybrid", 1, "DenseHybrid, evaluations/base.py", "per-image", "first_gt", ignored_classes=("other",)
    ),
    PixelProtocol("pooled", 1, "Fishyscapes, SegmentMeIfYouCan (pixel level)", "pooled", "first_ge"),
    PixelProtocol(
        "pooled-anomalous",
        1,
        "as pooled, without the images that hold no anomaly",
        "pooled",
        "first_ge",
        pure_images="excluded",
    ),
    PixelProtocol("failure-split", 1, "DiCNet, evaluation_with_seg.py", "per-image", "nearest", "negative", split=True),
    ComponentProtocol("smiyc-components", 1, "SegmentMeIfYouCan, anomaly track", min_predicted=500, min_true=100),
    ComponentProtocol("smiyc-obstacles", 1, "SegmentMeIfYouCan, obstacle track", min_predicted=50, min_true=10),
    OpenSetProtocol("open-set", 1, "DenseHybrid, evaluate_osr.py", ignored_classes=("other",)),
)
PROTOCOLS: dict[str, Protocol] = {p.name: p for p in _PROTOCOLS}
"""Every protocol by its name."""


def protocol(which: str | Protocol) -> Protocol:
    """Look a protocol up by name; a protocol passes through.

    Raises:
        BenchmarkError: no such name; the sentence suggests one.
    """
    if isinstance(which, Protocol):
        return which
    if which not in PROTOCOLS:
        near = get_close_matches(which, PROTOCOLS, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(PROTOCOLS)}."
        raise BenchmarkError(f"There is no protocol '{which}'{hint}")
    return PROTOCOLS[which]


def pixel_protocol(which: str | Protocol) -> PixelProtocol:
    """As :func:`protocol`, for a protocol that ranks pixels.

    Raises:
        BenchmarkError: unknown, or of another family.
    """
    found = protocol(which)
    if not isinstance(found, PixelProtocol):
        raise BenchmarkError(f"Protocol '{found.name}' does not rank pixels; it has an evaluator of its own.")
    return found
