"""Typed results of pixel metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.metrics.pixel_protocols import PixelProtocol
from benchmark.metrics.ranking import Ranking, scores_of
from benchmark.metrics.rows import select_rows
from benchmark.metrics.sampling_error import SamplingError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

NAN = float("nan")


@dataclass(frozen=True)
class PixelResult:
    """Metrics under one protocol, as fractions; NaN where no image holds both kinds of pixels.

    Attributes:
        protocol: name and version.
        auroc: area under the ROC curve.
        aupr: average precision, anomalies positive.
        fpr95: false-positive rate at 95 % true-positive rate, by the protocol's rule.
        images: images that the values rest on.
        skipped: images left out of a per-image mean because they lack anomalous or normal pixels.
        prevalence: AUPR of a constant score under the same aggregation.
        threshold: pooled only: the score at and above which pixels are positive at the protocol's operating point.
        efpr, cfpr: protocols with ``split``: false-positive rate among wrongly and correctly classified normal pixels.
        sampling: pooled only: bounds of the error of the three metrics; 0 where every score was ranked.
        hints: what looks like a common mistake, a sentence each (:func:`benchmark.metrics.hints.hints`).
    """

    protocol: str
    auroc: float
    aupr: float
    fpr95: float
    images: int
    skipped: int
    prevalence: float
    threshold: float | None = None
    efpr: float | None = None
    cfpr: float | None = None
    sampling: SamplingError | None = None
    hints: tuple[str, ...] = ()


def per_image_result(protocol: PixelProtocol, table: DataFrame) -> PixelResult:
    """Unweighted means over the images that hold both kinds of pixels, from rows (read from a file or fresh).

    Args:
        protocol: with aggregation "per-image".
        table: rows of an evaluation.
    """
    rows = select_rows(table, protocol)
    counted = rows["auroc"].notna()

    def mean(values: Series) -> float:
        kept = values.dropna().to_numpy()  # NumPy's sum, whose last digit pandas does not promise
        return float(kept.mean()) if len(kept) else NAN

    anomalous, normal = rows["anomalous"][counted], rows["normal"][counted]
    return PixelResult(
        protocol=protocol.label,
        auroc=mean(rows["auroc"]),
        aupr=mean(rows["aupr"]),
        fpr95=mean(rows[f"fpr95_{protocol.fpr_rule}"]),
        images=int(counted.sum()),
        skipped=int((~counted).sum()),
        prevalence=mean(anomalous / (anomalous + normal)),
        efpr=mean(rows["efpr"]) if protocol.split else None,
        cfpr=mean(rows["cfpr"]) if protocol.split else None,
    )


def pooled_result(
    protocol: PixelProtocol, ranking: Ranking, images: int, skipped: int, sampling: SamplingError
) -> PixelResult:
    """Metrics of all pixels at once.

    Args:
        protocol: with aggregation "pooled".
        ranking: of the pooled pixels.
        images: that were pooled.
        skipped: that the protocol left out.
        sampling: bounds of the error of the ranking.
    """
    if not ranking.defined:
        return PixelResult(protocol.label, NAN, NAN, NAN, images, skipped, NAN)
    rule = protocol.fpr_rule
    return PixelResult(
        protocol=protocol.label,
        auroc=ranking.auroc(),
        aupr=ranking.average_precision(),
        fpr95=ranking.fpr(rule),
        images=images,
        skipped=skipped,
        prevalence=ranking.anomalous / (ranking.anomalous + ranking.normal),
        threshold=float(scores_of(ranking.keys[ranking.cut(rule)])),
        sampling=sampling,
    )
