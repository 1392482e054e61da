r"""Thresholds from normal pixels alone, so that no label of an anomaly decides on them.

A pixel is called anomalous where its score lies *above* the threshold. For a false-positive rate a,

    pooled:     t = min { s : share of all normal pixels above s <= a }
    conformal:  t = min { s : mean over images of the share of their normal pixels above s <= (a (n + 1) - 1) / n }

over the scores s that occur. The second is conformal risk control: where the n images and a new one are exchangeable,
the expected false-positive rate of the new image is at most a. With n < 1/a - 1 images no threshold can promise that;
it is then infinite, and nothing is called anomalous.

Source: Angelopoulos et al., Conformal Risk Control (ICLR 2024), with the false-positive rate of an image as its loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np

from benchmark.metrics.evaluator import Evaluator, Measurements, View
from benchmark.metrics.inputs import scores_and_labels
from benchmark.metrics.pooled import BUDGET, Kept, Part, PooledSketch
from benchmark.metrics.ranking import Ranking, keys_of, runs_of, scores_of
from benchmark.metrics.sampling_error import FAILURE
from benchmark.metrics.sorted_image import SortedImage
from benchmark.metrics.strata import ANOMALY, IGNORE, Strata

Rule = Literal["pooled", "conformal"]
SLACK = 1e-12
"""Rounding of a mean of shares, which are no whole numbers."""
_KNOWN = Strata.of([(IGNORE,)])


class NormalEvaluator(Evaluator[Measurements]):
    """Scores of the normal pixels of validation images; it only serves thresholds and measures nothing.

    Anomalous and ignored pixels take no part. Memory: 52 MiB at most; of more than 13 million pixels, a sample.

    Args:
        method: named in messages.
    """

    def __init__(self, *, method: str = "") -> None:
        super().__init__(method)
        self._sketch = PooledSketch(1, BUDGET)
        self._thresholds: dict[tuple[float, Rule], float] = {}  # of these images, since several protocols ask for one

    @property
    def pixels(self) -> int:
        """Number of normal pixels."""
        return sum(pixels_of(part) for part, _ in self._sketch.parts([0]))

    @property
    def with_pixels(self) -> int:
        """Number of images that hold one."""
        return sum(1 for _ in self._sketch.parts([0]))

    def threshold(self, target: float, rule: Rule) -> float:
        """The score above which a pixel is called anomalous, infinite where nothing may be; NaN without a pixel.

        Args:
            target: false-positive rate a.
            rule: "pooled" or "conformal".
        """
        if (target, rule) not in self._thresholds:
            self._thresholds[target, rule] = threshold_at(self._sketch.parts([0]), target, rule)
        return self._thresholds[target, rule]

    def measurement(self) -> Measurements:
        """Nothing: it only serves thresholds."""
        return {}

    def _add(self, view: View, where: str) -> None:
        scores, labels = scores_and_labels(view, where)
        labels = np.where(labels == ANOMALY, np.uint8(IGNORE), labels)
        self._thresholds.clear()
        self._sketch.add(view.image, SortedImage(scores, labels, _KNOWN, where), [(0, 0)])

    def _merge(self, other: Self) -> None:
        self._thresholds.clear()
        self._sketch.merge(other._sketch)

    def _state(self) -> dict[str, Any]:
        return self._sketch.state()

    def _restore(self, kept: dict[str, Any]) -> None:
        self._sketch = PooledSketch.from_state(kept, BUDGET)


def threshold_at(parts: Iterable[Kept], target: float, rule: Rule = "pooled") -> float:
    """The threshold of a false-positive rate.

    Args:
        parts: what a sketch keeps of the normal pixels of every image, with the weights of its keys; for "conformal"
            one part an image.
        target: false-positive rate a.
        rule: how it is meant.
    """
    chosen = list(parts)
    if not chosen:
        return float("nan")
    # Whole numbers of pixels are added exactly; shares in the order of the images, lest another order move a digit.
    shares = [weights if rule == "pooled" else weights / pixels_of(part) for part, weights in chosen]
    runs = [part.lengths.astype(np.int64) for part, _ in chosen]
    if rule == "conformal":
        runs = [lengths / pixels_of(part) for lengths, (part, _) in zip(runs, chosen, strict=True)]
    keys = np.concatenate([a for part, _ in chosen for a in (part.keys, part.runs)])
    mass = np.concatenate([a for pair in zip(shares, runs, strict=True) for a in pair])
    order = np.argsort(keys, kind="stable")[::-1]
    keys, mass = keys[order], mass[order]
    starts, _ = runs_of(keys)
    above = np.concatenate((np.zeros(1, mass.dtype), mass.cumsum()))[starts]
    if rule == "pooled":
        allowed = above / mass.sum() <= target
    else:
        count = len(chosen)
        allowed = above / count <= (target * (count + 1) - 1) / count + SLACK
    return float(scores_of(keys[starts[np.count_nonzero(allowed) - 1]])) if allowed.any() else float("inf")


def tpr_error(anomalous: Sequence[Kept], normal: Sequence[Kept], ranking: Ranking, target: float) -> float:
    """How far the true-positive rate of a sample can be from that of all pixels; 0 where every score is kept.

    The bound of ``sampling_error.py`` for FPR95 with the kinds changed over: the recall at the threshold is off by the
    anomalous blocks that hold scores on both sides of it, and the threshold moves to where the false-positive rate is
    off by the normal ones.

    Args:
        anomalous, normal: what a sketch keeps of these pixels of every image.
        ranking: of all of them.
        target: false-positive rate.
    """
    threshold = keys_of(np.array([threshold_at(normal, target)], np.float32))[0]
    recall = _crossing(anomalous, threshold) / ranking.anomalous
    fpr = _crossing(normal, threshold) / ranking.normal
    ends = [ranking.tpr("last_le", float(np.clip(target + side * fpr, 0, 1))) for side in (-1, 1)]
    return recall + max(abs(end - ranking.tpr("last_le", target)) for end in ends)


def _crossing(parts: Sequence[Kept], threshold: np.uint32) -> float:
    """Bound, by Hoeffding's inequality, of the number of pixels by which that above a threshold is off."""
    squares = 0.0
    for part, weights in parts:
        around = np.concatenate(([np.uint32(0xFFFFFFFF)], part.keys, [np.uint32(0)]))
        crossing = (weights > 1) & (around[2:] <= threshold) & (threshold <= around[:-2])
        squares += float(weights[crossing].max(initial=0)) ** 2
    return float(np.sqrt(np.log(2 / FAILURE) / 2 * squares))


def pixels_of(part: Part) -> int:
    """Number of pixels that a part of a sketch stands for."""
    return part.count + int(part.lengths.sum())


def share_above(scores: np.ndarray, threshold: float) -> float:
    """Share of scores above a threshold; NaN of none."""
    return float(np.count_nonzero(scores > np.float32(threshold)) / len(scores)) if len(scores) else float("nan")


def quantile(normal: Sequence[float] | np.ndarray, target: float) -> float:
    """As the pooled rule, for the scores of one image: the lowest above which at most a share `target` of them lie."""
    ordered = np.asarray(normal)
    above = int(target * len(ordered))
    above += (above + 1) / len(ordered) <= target  # a product that was rounded down, as .29 * 100
    last = len(ordered) - 1 - above
    return float(np.partition(ordered, last)[last])
