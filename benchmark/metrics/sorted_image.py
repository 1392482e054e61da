"""One image, sorted once: everything that its metrics and the pooled sketch ask of its scores.

Normal and anomalous scores are sorted apart as integer keys; few anomalous ones are then searched in many normal ones.
"""

from __future__ import annotations

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.ranking import keys_of, rank, runs_of, search
from benchmark.metrics.strata import ANOMALY, Strata

BEYOND = np.uint32(0xFFFFFFFF)
"""A key above those of all numbers."""


class SortedImage:
    """Sorted keys of one image. In its methods a `row` is a stratum, or None for the anomalous pixels.

    Args:
        scores: float32 (H, W), higher is more anomalous.
        labels: uint8 (H, W), 254 anomaly, 255 ignore.
        strata: the division of the normal pixels.
        where: names method and image in messages.
    Raises:
        BenchmarkError: a score is NaN.
    """

    def __init__(self, scores: np.ndarray, labels: np.ndarray, strata: Strata, where: str) -> None:
        scores = np.ascontiguousarray(scores).reshape(-1)
        labels = np.ascontiguousarray(labels).reshape(-1)
        try:
            keys = keys_of(scores)
        except ValueError:
            message = f"{where}: {np.isnan(scores).sum()} of {scores.size} scores are NaN."
            raise BenchmarkError(message) from None
        anomalous = np.flatnonzero(labels == ANOMALY)
        left_out = [anomalous]
        self.pixels = scores.size
        self.anomalous = np.sort(keys[anomalous])
        self.normal: list[np.ndarray] = [keys[:0]] * (1 + len(strata.special))
        for row, label in enumerate(strata.special, start=1):
            special = labels == label
            if special.any():
                left_out.append(np.flatnonzero(special))
                if row in strata.used:
                    self.normal[row] = np.sort(keys[left_out[-1]])
        # Few pixels are left out as a rule: sorting them to the end is cheaper than copying all others.
        for pixels in left_out:
            keys[pixels] = BEYOND
        keys.sort()
        self.normal[0] = keys[: keys.size - sum(map(len, left_out))]

    def counts(self) -> tuple[int, np.ndarray]:
        """Number of anomalous pixels, and of normal ones per stratum."""
        return len(self.anomalous), np.array([len(keys) for keys in self.normal], np.int64)

    def rank(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """See :func:`benchmark.metrics.ranking.rank`."""
        return rank(self.anomalous, self.normal)

    def normal_key(self, row: int, index: int) -> int | None:
        """Key of the normal pixel of a stratum at a position of its order, None beyond the last."""
        return int(self.normal[row][index]) if index < len(self.normal[row]) else None

    def distinct(self, row: int | None) -> int:
        """Number of distinct scores of the anomalous pixels (None) or of a stratum."""
        keys = self._keys(row)
        return int(np.count_nonzero(keys[1:] != keys[:-1])) + 1 if len(keys) else 0

    def runs(self, row: int | None, shortest: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores that at least so many pixels share: their keys, ascending uint32, and numbers of pixels, int64."""
        keys = self._keys(row)
        if shortest == 1:
            starts, lengths = runs_of(keys)
            return keys[starts], lengths
        # So long a run holds two neighbours of a grid of half its length.
        grid = keys[:: shortest // 2]
        shared = np.unique(grid[1:][grid[1:] == grid[:-1]])
        lengths = search(keys, shared + np.uint32(1)) - search(keys, shared)
        return shared[lengths >= shortest], lengths[lengths >= shortest]

    def above(self, row: int | None, keys: np.ndarray) -> np.ndarray:
        """Number of pixels with a higher score than each of some falling keys, int64."""
        ordered = self._keys(row)
        return len(ordered) - search(ordered, keys[::-1] + np.uint32(1))[::-1]

    def take(self, row: int | None, positions: np.ndarray | None) -> np.ndarray:
        """Keys at positions of the ascending order, uint32; all of them for None."""
        keys = self._keys(row)
        return keys if positions is None else keys[positions]

    def _keys(self, row: int | None) -> np.ndarray:
        return self.anomalous if row is None else self.normal[row]


def failures(
    scores: np.ndarray, labels: np.ndarray, prediction: np.ndarray, ignored: tuple[int, ...], threshold: float
) -> tuple[int, int, int, int]:
    """False positives among the correctly and among the wrongly classified normal pixels, by a strict threshold.

    Args:
        scores, labels, prediction: (H, W).
        ignored: labels that are neither.
        threshold: pixels with a score above it are detected.
    Returns:
        detected correct, correct, detected wrong and wrong pixels. A void pixel that counts as normal is wrong.
    """
    correct = prediction == labels
    normal = labels != ANOMALY
    for label in ignored:
        normal &= labels != label
    correct &= normal
    above = scores > threshold
    hits = int((above & correct).sum())
    right = int(correct.sum())
    return hits, right, int((above & normal).sum()) - hits, int(normal.sum()) - right
