r"""How far pooled metrics of a sample can be from those of all pixels.

All blocks (``sampling.py``), of all images, are drawn independently and without bias, and where a block ends is known
from the representatives of its neighbours in the same image: its scores lie between them. If one draw can change a
metric by at most c_b, whatever the others are, the metric is by McDiarmid's inequality farther than

    sqrt(ln(2 EVENTS / FAILURE) / 2 * sum_b c_b^2)

from its mean with probability FAILURE / EVENTS at most; how far its mean can be from its value is added. With P
anomalous and N normal pixels, T and F of them at or above a threshold, and T / (T + F) the precision there:

*Normal blocks*, the anomalous sample being what it is. A block of weight w moves F by w at the sampled anomalous pixels
within its reach, of which each weighs 1 / (P N) in AUROC and T / (T + F)^2 / P at most in average precision, with the
least F that any draw gives. AUROC is linear in F, hence without bias; in average precision a variance V of F gives one
of T / (T + F)^3 V / P for each anomalous pixel.

*Anomalous blocks*, F being that of all pixels. In AUROC a block of weight w moves over the normal pixels within its
reach, of which there are at most as many as were estimated and one block of each image at either end. For average
precision let T be off by at most r at every threshold. Then the ranks over which precision is averaged are off by r,
which moves the average by r / P times the total variation of the precision, and each precision moves by r and a block
times F / (T + F)^2. Both are summed over ranges of ranks T, with F between those at r ranks more and less.

*The false-positive rate* at a threshold t changes with the normal blocks that hold scores on both sides of t. Where the
anomalous pixels are a sample, too, t lies between the scores where .95 P - r and .95 P + r of them are estimated to be
found, if their number is off by at most r.

Of blocks at either side of a threshold, in one image, only one can hold scores on both. That each error is at most the
sum of these blocks is used where it is less, as it is for a few images.

Source: McDiarmid, "On the method of bounded differences", Surveys in Combinatorics, 1989, lemma 1.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.metrics.pixel_protocols import TARGET_TPR, FprRule
from benchmark.metrics.pooled import PooledSketch
from benchmark.metrics.ranking import Ranking

FAILURE = 1e-6
EVENTS = 4
"""Inequalities that must all hold for one metric: of either kind of blocks, at two thresholds."""
KNOTS = 1 << 14
"""Scores between which sums are rounded up, so that looking them up costs little; for either metric."""
GRID = 1 << 9
"""Scores between which the sizes of blocks are rounded up."""
CELLS = 1 << 12
"""Ranges of ranks of anomalous pixels between which precision is bounded as a whole."""
BOTTOM, TOP = np.uint32(0), np.uint32(0xFFFFFFFF)


@dataclass(frozen=True)
class SamplingError:
    """Bounds of the absolute error of pooled metrics, each with a probability of 1 - 1e-6; 0: every score is kept."""

    auroc: float = 0.0
    aupr: float = 0.0
    fpr95: float = 0.0


def sampling_error(sketch: PooledSketch, rows: Sequence[int], ranking: Ranking, rule: FprRule) -> SamplingError:
    """The bounds of one protocol.

    Args:
        sketch: of all images.
        rows: that hold the normal pixels.
        ranking: of these rows; with both kinds of pixels.
        rule: at which the false-positive rate is read.
    """
    if sketch.exact:
        return SamplingError()
    grid = ranking.keys[np.linspace(0, len(ranking.keys) - 1, GRID).astype(np.int64)]
    anomalous, normal = _Straddling(sketch, [-1], grid), _Straddling(sketch, rows, grid)
    sums = _Sums(ranking, normal)
    auroc, aupr = _of_normal_blocks(sketch, rows, ranking, sums)
    aupr += _bias(ranking, normal)
    if sketch.levels[0]:
        more = _of_anomalous_blocks(sketch, ranking, sums, anomalous, normal)
        auroc, aupr = auroc + more[0], aupr + more[1]
    fpr95 = _of_threshold(sketch, rows, ranking, rule, anomalous)
    return SamplingError(*(float(min(bound, 1)) for bound in (auroc, aupr, fpr95)))


def _deviation(squares: float, whole: float = np.inf, times: int = 1) -> float:
    """How far a function of independent draws is from its mean.

    Args:
        squares: of what each draw changes, summed.
        whole: sum of what each changes.
        times: of how many functions this must hold at once.
    """
    return float(min(np.sqrt(np.log(2 * times * EVENTS / FAILURE) / 2 * squares), whole))


class _Straddling:
    """Sizes of the blocks, one of each image, that can hold scores on both sides of a threshold; rounded up."""

    def __init__(self, sketch: PooledSketch, rows: Sequence[int], grid: np.ndarray) -> None:
        self._grid = np.unique(np.concatenate(([BOTTOM], grid)))
        self._sum, self._squares = np.zeros(len(self._grid)), np.zeros(len(self._grid))
        for part, weights in sketch.parts(rows):
            if len(weights) and weights.max() > 1:
                # Blocks grow from the highest rank downwards, apart from the last, which can be cut short.
                sizes = np.maximum.accumulate(weights).astype(np.float64)
                sizes[sizes == 1] = 0
                higher = len(sizes) - np.searchsorted(part.keys[::-1], self._grid)
                found = sizes[np.minimum(higher, len(sizes) - 1)]
                self._sum += found
                self._squares += found**2

    def at(self, keys: Any) -> Any:
        """Sum of the sizes, at thresholds from these on."""
        return self._sum[np.searchsorted(self._grid, keys, side="right") - 1]

    def squares(self, keys: Any) -> Any:
        """Sum of the squared sizes, at thresholds from these on."""
        return self._squares[np.searchsorted(self._grid, keys, side="right") - 1]


class _Sums:
    """Sums over the sampled pixels between two scores, both included; rounded up to knots."""

    def __init__(self, ranking: Ranking, normal: _Straddling) -> None:
        found = ranking.tp - ranking.beyond
        falls = ranking.anomalies * found / (found + _least(ranking.fp, normal, ranking.keys)) ** 2.0
        falling = falls[::-1].cumsum()[::-1]
        wanted = [np.searchsorted(-mass, -np.linspace(0, mass[0], KNOTS)) for mass in (ranking.tp, falling)]
        at = np.unique(np.concatenate((*wanted, [0, len(falls) - 1])).clip(0, len(falls) - 1))
        self._keys = ranking.keys[at]
        # Of each: all of it, what is at or above every knot, and what is above it.
        self._anomalous = ranking.anomalous, ranking.tp[at], (ranking.tp - ranking.anomalies)[at]
        self._normal = ranking.normal, ranking.fp[at], ranking.normal - ranking.at_or_below[at]
        self._falls = falling[0], falling[at], (falling - falls)[at]

    def anomalous(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Number of anomalous pixels."""
        return self._between(self._anomalous, low, high)

    def normal(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Number of normal pixels."""
        return self._between(self._normal, low, high)

    def falls(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """T / (T + F)^2 of the anomalous pixels."""
        return self._between(self._falls, low, high)

    def _between(self, which: tuple, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        whole, at_or_above, above = which
        most = np.concatenate(([whole], at_or_above))[np.searchsorted(self._keys, low, side="right")]
        return most - np.concatenate((above, [0.0]))[np.searchsorted(self._keys, high)]


def _least(counts: np.ndarray, straddling: _Straddling, keys: np.ndarray) -> np.ndarray:
    return np.maximum(counts - straddling.at(keys), 0)


def _reach(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest score that each block can hold: the representatives of its neighbours."""
    around = np.concatenate(([TOP], keys, [BOTTOM]))
    return around[2:], around[:-2]


def _of_normal_blocks(sketch: PooledSketch, rows: Sequence[int], ranking: Ranking, sums: _Sums) -> tuple[float, float]:
    """Deviations of AUROC and of average precision."""
    squares = np.zeros(2)
    for part, weights in sketch.parts(rows):
        low, high = _reach(part.keys)
        drawn = (weights > 1) & (low < high)
        low, high, weight = low[drawn], high[drawn], weights[drawn]
        passed = sums.anomalous(low, high)
        squares[0] += ((weight * passed) ** 2).sum()
        squares[1] += (np.minimum(weight * sums.falls(low, high), passed) ** 2).sum()
    return (
        _deviation(squares[0]) / (ranking.anomalous * ranking.normal),
        _deviation(squares[1]) / ranking.anomalous,
    )


def _bias(ranking: Ranking, normal: _Straddling) -> float:
    """Of average precision, from the variance of the normal pixels that are found."""
    found = ranking.tp - ranking.beyond
    curved = found / (found + _least(ranking.fp, normal, ranking.keys)) ** 3.0 * normal.squares(ranking.keys) / 4
    return float((ranking.anomalies * np.minimum(curved, 1)).sum() / ranking.anomalous)


def _of_anomalous_blocks(
    sketch: PooledSketch, ranking: Ranking, sums: _Sums, anomalous: _Straddling, normal: _Straddling
) -> tuple[float, float]:
    """Deviation of AUROC, and error of average precision."""
    squares = 0.0
    for part, weights in sketch.parts([-1]):
        low, high = _reach(part.keys)
        drawn = (weights > 1) & (low < high)
        low, high, weight = low[drawn], high[drawn], weights[drawn]
        squares += ((weight * (sums.normal(low, high) + 2 * normal.at(low))) ** 2).sum()
    count, block = ranking.anomalous, float(1 << sketch.levels[0])
    off = _deviation(anomalous.squares(BOTTOM), anomalous.at(BOTTOM), 2 * count)
    ranks = np.unique(np.geomspace(1, count + 1, CELLS).astype(np.int64))
    first, last = ranks[:-1], ranks[1:]
    # The scores between which the anomalous pixels of these ranks must lie, and the normal pixels found at them.
    falling = ranking.tp[::-1]
    end = len(falling) - 1
    top, low = (end - np.searchsorted(falling, at).clip(0, end) for at in (first - off - block, last + off + block))
    least = _least(ranking.normal - ranking.at_or_below[top], normal, ranking.keys[top])
    most = np.where(last + off + block > count, ranking.normal, ranking.fp[low] + normal.at(ranking.keys[low]))
    varies = 1 + 2 * ((last - first) * _rise(first, least, most)).sum()
    rises = (off + block) * _rise(np.maximum(first - off - block, 1), least, most)
    moved = ((last - first) * np.minimum(rises, 1)).sum()
    return _deviation(squares) / (count * ranking.normal), float(off * varies + moved) / count


def _rise(found: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """F / (T + F)^2 with the F, from the least to the most, where it is largest."""
    false = np.clip(found, least, most)
    return false / (found + false) ** 2


def _of_threshold(
    sketch: PooledSketch, rows: Sequence[int], ranking: Ranking, rule: FprRule, anomalous: _Straddling
) -> float:
    """Bound of the error of the false-positive rate."""
    keys = ranking.keys.astype(np.int64)
    if sketch.levels[0]:
        off = _deviation(anomalous.squares(BOTTOM), anomalous.at(BOTTOM)) + 1e-6
        wanted = TARGET_TPR * ranking.anomalous
        lowest = int(np.count_nonzero(ranking.tp > wanted + off)) - 1
        highest = max(int(np.count_nonzero(ranking.tp >= wanted - off)) - 1, 0)
    else:
        lowest = highest = ranking.cut(rule)
    strictly = rule == "interpolated" or (rule == "nearest" and bool(sketch.levels[0]))
    if rule == "nearest":
        lowest -= 1
    upper = keys[highest] + strictly
    most_found = ranking.normal - ranking.at_or_below[highest] if strictly else ranking.fp[highest]
    if lowest < 0:
        lower, least_found = 0, ranking.normal
    elif rule == "nearest":
        lower, least_found = keys[lowest] + 1, ranking.normal - ranking.at_or_below[lowest]
    else:
        lower, least_found = keys[lowest], ranking.fp[lowest]
    squares = whole = 0.0
    for part, weights in sketch.parts(rows):
        low, high = _reach(part.keys)
        size = float(weights[(weights > 1) & (low < upper) & (lower <= high)].max(initial=0))
        squares, whole = squares + size**2, whole + size
    error, value = _deviation(squares, whole), ranking.false_positives(rule)
    if not sketch.levels[0]:
        return error / ranking.normal
    return max(min(least_found + error, ranking.normal) - value, value - max(most_found - error, 0)) / ranking.normal
