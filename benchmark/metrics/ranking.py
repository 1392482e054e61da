"""From a ranking to AUROC, average precision and the false-positive rates.

A ranking is what all of these need of the scores: for every distinct score v of an anomalous pixel, how many normal
pixels lie below it and how many at or below it. It is the same for one image and for a sample of the pixels of
all images, each of which then counts as often as the pixels it stands for, so each metric is written once.

Scores are sorted as integers, with the vector units: k(s) = bits(s) XOR (2^31 if s >= 0 else 2^32 - 1), so that s < t
iff k(s) < k(t), infinities included. Adding +0 first makes the two zeros equal, as they are for every comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from benchmark.metrics.pixel_protocols import TARGET_TPR, FprRule

TprRule = Literal["last_le", "first_ge"]
"""At which point of the ROC curve the true-positive rate is read: last_le, the lowest threshold with FPR <= target;
first_ge, the highest one with FPR >= target."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Counts at the distinct scores of the anomalous pixels, in ascending order of score.

    Attributes:
        keys: order-preserving keys of the scores, (K,).
        anomalies: anomalous pixels with exactly this score, int64 (K,), all > 0.
        below: normal pixels with a smaller score, int64 (K,).
        at_or_below: normal pixels with a smaller or the same score, int64 (K,).
        normal: number of normal pixels N.
        beyond: anomalous pixels that a sampled one stands for and that are lower, in the mean: half of all but itself,
            (K,). Where the curve is read at its score, these are not found yet. 0 for what stands for itself.
    """

    keys: np.ndarray
    anomalies: np.ndarray
    below: np.ndarray
    at_or_below: np.ndarray
    normal: int
    beyond: np.ndarray | float = 0.0

    @cached_property
    def anomalous(self) -> int:
        """Number of anomalous pixels P."""
        return int(self.anomalies.sum())

    @property
    def defined(self) -> bool:
        """Whether both kinds of pixels exist, without which no metric is defined."""
        return self.anomalous > 0 and self.normal > 0

    @cached_property
    def tp(self) -> np.ndarray:
        """Anomalous pixels at or above each score; from P downwards."""
        return self.anomalies[::-1].cumsum()[::-1]

    @cached_property
    def fp(self) -> np.ndarray:
        """Normal pixels at or above each score."""
        return self.normal - self.below

    @cached_property
    def recall(self) -> np.ndarray:
        return (self.tp - self.beyond) / self.anomalous

    def auroc(self) -> float:
        """P(anomalous score > normal score) + P(equal) / 2: the trapezoid area under the ROC curve."""
        pairs = (self.anomalies.astype(np.float64) * (self.below + self.at_or_below)).sum()
        return float(pairs / (2.0 * self.anomalous * self.normal))

    def average_precision(self) -> float:
        """Sum over thresholds of (R_n - R_(n-1)) P_n, stepwise, never interpolated."""
        found = self.tp - self.beyond
        return float((self.anomalies * (found / (found + self.fp))).sum() / self.anomalous)

    def cut(self, rule: FprRule, target: float = TARGET_TPR) -> int:
        """Index of the distinct anomalous score at which a rule reads the curve."""
        if rule == "nearest":
            return int(np.argmin(np.abs(self.recall - target)))
        reached = self.recall >= target if rule == "first_ge" else self.recall > target
        return max(int(np.count_nonzero(reached)) - 1, 0)  # the recall of samples ends just below 1

    def false_positives(self, rule: FprRule, target: float = TARGET_TPR) -> float:
        """Normal pixels at or above the threshold that the rule picks; fractional where it interpolates."""
        at = self.cut(rule, target)
        if rule == "nearest":
            # Of all thresholds with this recall the lowest: just above the next lower anomalous score.
            return int(self.normal - self.at_or_below[at - 1]) if at else int(self.fp[0])
        if rule != "interpolated":
            return self._between_samples(at, target, rule) if self.sampled(at) else int(self.fp[at])
        lower = self.recall[at + 1] if at + 1 < len(self.recall) else 0.0
        fp_lower = int(self.normal - self.at_or_below[at])
        share = (target - lower) / (self.recall[at] - lower)
        return fp_lower + float(share) * (int(self.fp[at]) - fp_lower)

    def sampled(self, at: int) -> bool:
        """Whether the anomalous pixel at an index stands for others."""
        return bool(np.any(self.beyond) and np.asarray(self.beyond)[at])

    def _between_samples(self, at: int, target: float, rule: FprRule) -> float:
        """Normal pixels where a recall is reached or passed, by the sample at an index and the next higher one."""
        found = self.recall[at : at + 2] * self.anomalous
        if len(found) == 1:
            return float(self.fp[at])
        wanted = target * self.anomalous
        pixels = math.ceil(wanted - 1e-6) if rule == "first_ge" else math.floor(wanted + 1e-6) + 1
        share = np.clip((pixels - found[1]) / (found[0] - found[1]), 0, 1)
        return float(self.fp[at + 1] + share * (self.fp[at] - self.fp[at + 1]))

    def fpr(self, rule: FprRule, target: float = TARGET_TPR) -> float:
        """False-positive rate at the target true-positive rate by one of the rules."""
        return self.false_positives(rule, target) / self.normal

    def tpr(self, rule: TprRule, target: float) -> float:
        """True-positive rate at a target false-positive rate by one of the rules."""
        if rule == "last_le":
            kept = self.fp / self.normal <= target
        else:  # what lies at or above the first point with FPR >= target has fewer normal pixels above it
            kept = (self.normal - self.at_or_below) / self.normal < target
        return float(self.anomalies[kept].sum() / self.anomalous)

    def best_f1(self) -> int:
        """Key of the highest score that reaches the largest F1 = 2 TP / (2 TP + FP + FN)."""
        f1 = 2 * self.tp / (self.tp + self.fp + self.anomalous)
        return int(self.keys[len(f1) - 1 - int(np.argmax(f1[::-1]))])


BLOCK = 256
EMPTY = np.zeros(0, np.int64)


def rank(anomalous: np.ndarray, normal: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct anomalous keys, their numbers, and the counts below and at or below them in each set of normal keys.

    Args:
        anomalous: sorted keys, (P,).
        normal: sorted keys of disjoint sets of normal pixels.
    Returns:
        keys (K,), anomalies (K,), below (len(normal), K), at_or_below (len(normal), K).
    """
    if not len(anomalous):
        none = np.zeros((len(normal), 0), np.int64)
        return anomalous, EMPTY, none, none
    starts, anomalies = runs_of(anomalous)
    keys = anomalous[starts]
    below = np.empty((len(normal), len(keys)), np.int64)
    at_or_below = np.empty_like(below)
    for row, ordered in enumerate(normal):
        below[row], at_or_below[row] = counts_of(ordered, keys)
    return keys, anomalies, below, at_or_below


def counts_of(ordered: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of the ordered values lie below, and at or below, each of some ascending keys, int64."""
    below = search(ordered, keys)
    at_or_below = below.copy()
    if len(ordered):
        tied = np.flatnonzero(ordered.take(below, mode="clip") == keys)
        at_or_below[tied] = search(ordered, keys[tied] + np.uint32(1))
    return below, at_or_below


def search(ordered: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """As ``np.searchsorted``, for ascending keys: how many of the ordered values lie below each key, int64.

    Every 256th value is searched among the keys, which leaves each key one block, and all blocks are bisected at once:
    half the time, since no step waits for a mispredicted branch.
    """
    samples = ordered[BLOCK - 1 :: BLOCK]
    blocks = np.bincount(np.searchsorted(keys, samples, side="right"), minlength=len(keys) + 1)[:-1]
    found = blocks.cumsum() * BLOCK
    at, values = np.empty_like(found), np.empty_like(ordered, shape=len(keys))
    step = BLOCK // 2 if len(ordered) else 0
    while step:
        np.add(found, step - 1, out=at)
        ordered.take(at, mode="clip", out=values)
        np.multiply(values < keys, step, out=at)
        found += at
        step //= 2
    return np.minimum(found, len(ordered), out=found)


def runs_of(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First index and length of each run of equal values, int64."""
    changes = np.ones(len(ordered) + 1, bool)  # also after the last value
    np.not_equal(ordered[1:], ordered[:-1], out=changes[1:-1])
    bounds = np.flatnonzero(changes)
    return bounds[:-1], bounds[1:] - bounds[:-1]


SIGN = np.uint32(0x80000000)
INFINITY = 0x7F800000
"""Bits of plus infinity."""
LOWEST = 0x007FFFFF
"""Key of minus infinity."""
HIGHEST = 0xFF800000
"""Key of plus infinity."""


def keys_of(scores: np.ndarray) -> np.ndarray:
    """Keys of contiguous float32 scores, uint32, same shape.

    Raises:
        ValueError: a score is NaN.
    """
    # Without a sign bit anywhere, one pass rules out NaN and both zeros at once.
    if not scores.size or scores.view(np.uint32).max() <= INFINITY:
        return scores.view(np.uint32) ^ SIGN
    if np.isnan(scores.min()):
        raise ValueError("NaN has no place in an order")
    bits = (scores + np.float32(0)).view(np.uint32)
    flip = (bits.view(np.int32) >> np.int32(31)).view(np.uint32)
    flip |= SIGN
    bits ^= flip
    return bits


def scores_of(keys: np.ndarray | int) -> np.ndarray:
    """The float32 scores of keys; keys outside those of numbers are clipped to the infinities."""
    bits = np.clip(np.asarray(keys, dtype=np.int64), LOWEST, HIGHEST).astype(np.uint32)
    return np.where(bits >= SIGN, bits ^ SIGN, ~bits).astype(np.uint32).view(np.float32)
