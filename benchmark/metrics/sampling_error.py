r"""How far pooled metrics of a sample can be from those of all pixels.

Write a metric as a function of which rank stands for each block (``sampling.py``). All blocks, of all images, are drawn
independently and without bias. To first order the metric is a sum of one term per block, and the term of block b varies
by at most c_b, so that by Hoeffding's inequality the sum is farther than

    sqrt(ln(2 / FAILURE) / 2 * sum_b c_b^2)

from its mean with probability FAILURE at most. Neither AUROC nor average precision changes unless a normal and an
anomalous pixel swap places. With P anomalous and N normal pixels, a swap of one pair at the threshold t changes them by
m(t) = 1 / (P N) and m(t) = tp / (tp + fp)^2 / P. Hence c_b is the block's weight times the sum of m over the pixels of
the other kind whose scores lie where the block's do: between the representatives of its neighbours in the same image.
Blocks of one rank, or between two equal scores, add nothing.

The false-positive rate at the threshold t changes with the normal blocks that hold scores on both sides of t, each by
weight / N; likewise the recall, by r, with anomalous ones; and with the recall the threshold moves to where the curve
has a recall of .95 - r or .95 + r. Of neighbours in one image, between whose representatives t lies, only one can hold
scores on both sides. Terms of second order in the number of blocks are left out.

Source: Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 58, 1963, theorem 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.metrics.pixel_protocols import TARGET_TPR, FprRule
from benchmark.metrics.pooled import PooledSketch
from benchmark.metrics.ranking import Ranking

FAILURE = 1e-6
KNOTS = 1 << 14
"""Scores between which sums are rounded up, so that looking them up costs little; for either metric."""


@dataclass(frozen=True)
class SamplingError:
    """Bounds of the absolute error of pooled metrics, each with a probability of 1 - 1e-6; 0: every score is kept."""

    auroc: float = 0.0
    aupr: float = 0.0
    fpr95: float = 0.0


def sampling_error(sketch: PooledSketch, rows: list[int], ranking: Ranking, rule: FprRule) -> SamplingError:
    """The bounds of one protocol.

    Args:
        sketch: of all images.
        rows: that hold the normal pixels.
        ranking: of these rows; with both kinds of pixels.
        rule: at which the false-positive rate is read.
    """
    if sketch.exact:
        return SamplingError()
    axis, threshold = _Axis(ranking), ranking.keys[ranking.cut(rule)]
    squares, crossing = np.zeros(2), np.zeros(2)
    for kind, chosen in enumerate(([-1], rows)):
        for part, weights in sketch.parts(chosen):
            around = np.concatenate(([np.uint32(0xFFFFFFFF)], part.keys, [np.uint32(0)]))
            drawn = (weights > 1) & (around[2:] < around[:-2])
            low, high, weight = around[2:][drawn], around[:-2][drawn], weights[drawn].astype(np.float64)
            for metric in range(2):
                squares[metric] += ((weight * axis.between(kind, metric, low, high)) ** 2).sum()
            crossing[kind] += (weight[(low < threshold) & (threshold <= high)] ** 2).max(initial=0)
    factor = np.sqrt(np.log(2 / FAILURE) / 2)
    auroc, aupr = factor * np.sqrt(squares)
    recall, fpr = factor * np.sqrt(crossing) / (ranking.anomalous, ranking.normal)
    ends = [ranking.fpr("first_ge", float(np.clip(TARGET_TPR + side * recall, 0, 1))) for side in (-1, 1)]
    moved = max(abs(end - ranking.fpr(rule)) for end in ends)
    return SamplingError(float(auroc), float(aupr), float(fpr + moved))


class _Axis:
    """Sums of m over the pixels of either kind between two scores, rounded up to knots."""

    def __init__(self, ranking: Ranking) -> None:
        tied = ranking.at_or_below - ranking.below
        gap = np.diff(ranking.below, append=ranking.normal)  # normal pixels from a score up to the next one
        swaps = (
            np.full(len(gap), 1 / (ranking.anomalous * ranking.normal)),
            ranking.tp / (ranking.tp + ranking.fp) ** 2.0 / ranking.anomalous,
        )
        sums = [[(ranking.anomalies * m).cumsum() for m in swaps], [(gap * m).cumsum() for m in swaps]]
        wanted = np.concatenate([np.linspace(0, s[-1], KNOTS) for s in sums[0]])
        halves = [np.searchsorted(s, part) for s, part in zip(sums[0], np.split(wanted, 2), strict=True)]
        knots = np.unique(np.concatenate([*halves, [0, len(gap) - 1]]).clip(0, len(gap) - 1))
        self.keys = ranking.keys[knots]
        # Per kind of the *other* pixels and metric: the sum below each knot, and up to and with it.
        own = [ranking.anomalies, gap]
        first = [0.0, float(ranking.below[0]) * swaps[0][0]]
        self._below, self._upto = [], []
        for kind in (1, 0):  # an anomalous block sums over normal pixels and the reverse
            below = [sums[kind][i][knots] - (own[kind] * m)[knots] for i, m in enumerate(swaps)]
            ties = [(tied if kind else ranking.anomalies)[knots] * m[knots] for m in swaps]
            self._below.append([np.concatenate(([-first[kind] if not i else 0.0], b)) for i, b in enumerate(below)])
            whole = [sums[kind][i][-1] for i in range(2)]
            self._upto.append([np.append(b + t, w) for b, t, w in zip(below, ties, whole, strict=True)])

    def between(self, kind: int, metric: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Sum over the other kind's pixels from a score to another, both included.

        Args:
            kind: 0 for anomalous blocks, 1 for normal ones.
            metric: 0 for AUROC, 1 for average precision.
            low, high: keys.
        """
        below = self._below[kind][metric][np.searchsorted(self.keys, low, side="right")]
        return self._upto[kind][metric][np.searchsorted(self.keys, high)] - below
