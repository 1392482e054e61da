"""Whether float32, in which scores are compared, keeps the order of scores that were given with more digits.

Within an image, :func:`benchmark.metrics.inputs.as_maps` ranks the pixels both ways. Between images, whose scores are
never all in memory, a sample of all pixels is ranked both ways.
"""

from __future__ import annotations

import hashlib

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.ranking import Ranking
from benchmark.metrics.strata import ANOMALY, IGNORE

KEPT = 1 << 16
"""Pixels of either kind in the sample: 2 MiB with their hashes."""
TOLERANCE = 1e-4
"""How far a pooled metric of the sample may move. One accidental tie moves it by 1 / KEPT at most."""
MEND = "subtract a constant, take logarithms or give ranks"
"""What to do where it moves further."""


class Rounding:
    """A uniform sample of the pixels whose scores have more digits than float32.

    Every pixel has a hash of its image and place; the smallest hashes of anomalous and of normal pixels stay. So the
    sample depends on the set of images alone: not on their order, nor on how evaluators were merged.
    """

    def __init__(self) -> None:
        self._hashes = [np.zeros(0, np.uint64), np.zeros(0, np.uint64)]  # of normal and of anomalous pixels
        self._scores = [np.zeros(0), np.zeros(0)]
        self._pixels = [0, 0]

    def add(self, image: str, scores: np.ndarray, labels: np.ndarray) -> None:
        """Add the pixels of an image that take part.

        Args:
            image: its id.
            scores: (H, W), in the type in which they were given.
            labels: uint8 (H, W).
        """
        hashes = _hashes(image, scores.size).reshape(scores.shape)
        for kind, chosen in enumerate(((labels != ANOMALY) & (labels != IGNORE), labels == ANOMALY)):
            self._pixels[kind] += int(chosen.sum())
            self._keep(kind, hashes[chosen], scores[chosen].astype(np.float64))

    def merge(self, other: Rounding) -> None:
        """Add the pixels of other images."""
        for kind in range(2):
            self._pixels[kind] += other._pixels[kind]
            self._keep(kind, other._hashes[kind], other._scores[kind])

    def check(self, where: str) -> None:
        """Refuse scores whose order between images is lost in float32.

        Args:
            where: names the method.
        Raises:
            BenchmarkError: AUROC, average precision or FPR95 of the sample move by more than the tolerance.
        """
        if not all(self._pixels):
            return
        normal, anomalous = self._scores
        exact = self._metrics(normal, anomalous)
        found = self._metrics(normal.astype(np.float32), anomalous.astype(np.float32))
        moved = max(abs(a - b) for a, b in zip(exact, found, strict=True))
        if moved > TOLERANCE:
            raise BenchmarkError(
                f"{where}the scores of all images together lie closer than float32, in which scores are compared, "
                f"tells apart: a pooled metric moves by about {100 * moved:.2g} points; {MEND}."
            )

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays; none where no image was added."""
        if not any(self._pixels):
            return {}
        kinds = ("normal", "anomalous")
        kept = {f"rounding_{name}_hashes": self._hashes[kind] for kind, name in enumerate(kinds)}
        kept |= {f"rounding_{name}_scores": self._scores[kind] for kind, name in enumerate(kinds)}
        return kept | {"rounding_pixels": np.array(self._pixels)}

    @classmethod
    def taken_from(cls, state: dict[str, np.ndarray]) -> Rounding:
        """What :meth:`state` gave, taken out of a larger state."""
        found = cls()
        if "rounding_pixels" in state:
            found._pixels = [int(count) for count in state.pop("rounding_pixels")]
            for part, target in (("hashes", "_hashes"), ("scores", "_scores")):
                setattr(found, target, [state.pop(f"rounding_{name}_{part}") for name in ("normal", "anomalous")])
        return found

    def _keep(self, kind: int, hashes: np.ndarray, scores: np.ndarray) -> None:
        """The smallest hashes of what is there and what comes, ascending."""
        if len(self._hashes[kind]) == KEPT:
            smaller = hashes < self._hashes[kind][-1]
            hashes, scores = hashes[smaller], scores[smaller]
        hashes = np.concatenate((self._hashes[kind], hashes))
        order = np.argsort(hashes, kind="stable")[:KEPT]
        self._hashes[kind] = hashes[order]
        self._scores[kind] = np.concatenate((self._scores[kind], scores))[order]

    def _metrics(self, normal: np.ndarray, anomalous: np.ndarray) -> tuple[float, float, float]:
        """AUROC, average precision and FPR95 of the sample, every pixel weighing as many as it stands for."""
        weights = [round(pixels / len(scores)) for pixels, scores in zip(self._pixels, self._scores, strict=True)]
        normal = np.sort(normal)
        distinct, counts = np.unique(anomalous, return_counts=True)
        below, at_or_below = (weights[0] * np.searchsorted(normal, distinct, side) for side in ("left", "right"))
        ranking = Ranking(distinct, weights[1] * counts, below, at_or_below, weights[0] * len(normal))
        return ranking.auroc(), ranking.average_precision(), ranking.fpr("first_ge")


def _hashes(image: str, pixels: int) -> np.ndarray:
    """A hash of every pixel of an image, uint64."""
    digest = hashlib.blake2b(image.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of the pixel's place, keyed by the image.
    bits = np.arange(pixels, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.frombuffer(digest, np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    return bits ^ (bits >> np.uint64(31))
