"""The pixels of all images, ranked at once from a sample of each image's sorted scores.

What an image contributes is a function of that image and of a *level* (``sampling.py``); the level is the finest at
which all images together fit a budget, and follows from the number of pixels of each. Images can therefore be added
and sketches merged in any order, with the same state bit for bit. No range, scale or spacing of the scores is assumed:
only their order is used. Up to about 13 million pixels every score is kept, and pooled values are exact.

Long runs of equal scores (saturated probabilities) are kept apart with their lengths, and are exact at every level; so
are images of few distinct scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.metrics.ranking import Ranking, counts_of, runs_of
from benchmark.metrics.sampling import LEVELS, blocks, representatives, seed_of, sizes, thinned, weights
from benchmark.metrics.sorted_image import SortedImage

SMALL = 1 << 18
"""Distinct anomalous scores up to which a ranking is kept for the next question, 7 MiB."""
BUDGET = (9_000_000, 13_000_000)
"""Most numbers of 4 bytes that are kept of the anomalous and of the normal pixels: 84 MiB together."""
LONG = 64
"""Equal scores of one image that are counted instead of sampled."""
RUNS = 512
"""Most such runs of one image; of more, the longest."""
FEW = 1024
"""An image with at most so many distinct scores, each on eight pixels in the mean, is counted as a whole."""


RUN = np.uint64(1 << 31)


@dataclass(frozen=True, eq=False)
class Part:
    """What is kept of one image's pixels of one kind.

    Attributes:
        runs: keys of the long runs of equal scores, uint32, falling.
        lengths: pixels in each, uint32.
        count: pixels in none of them.
        keys: of the representatives of these, uint32, falling.
    """

    runs: np.ndarray
    lengths: np.ndarray
    count: int
    keys: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.runs.nbytes + self.lengths.nbytes + self.keys.nbytes

    def cost(self, uniform: bool) -> np.ndarray:
        """Numbers to be kept at every level."""
        return 2 * len(self.runs) + sizes(self.count, uniform)

    def weights(self, level: int, uniform: bool) -> np.ndarray:
        """Pixels that each representative stands for, int64."""
        return weights(*blocks(self.count, level, uniform), self.count)


Kept = tuple[Part, np.ndarray]
"""A part with the weights of its keys."""


class PooledSketch:
    """Weighted scores that stand for the anomalous pixels and for several sets of normal pixels of all images.

    Args:
        rows: number of sets of normal pixels.
        budget: most numbers kept of the anomalous and of the normal pixels; None keeps every score. Beyond some
            hundred thousand images even the coarsest level needs more.
    """

    def __init__(self, rows: int, budget: tuple[int, int] | None = BUDGET) -> None:
        self.budget = budget
        self.levels = [0, 0]  # of the anomalous and of the normal pixels
        # The anomalous pixels first; by image and stratum, for these -1.
        self._rows: list[dict[tuple[str, int], Part]] = [{} for _ in range(1 + rows)]
        self._costs = np.zeros((2, LEVELS), np.int64)
        self._latest: tuple[tuple[int, ...], Ranking] | None = None  # of :meth:`ranking`, where it is small

    @property
    def exact(self) -> bool:
        """Whether every score is kept."""
        return not any(self.levels)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for row in self._rows for part in row.values())

    def add(self, name: str, image: SortedImage, rows: Sequence[tuple[int, int]]) -> None:
        """Add an image.

        Args:
            name: its id, which no other image has.
            image: with its scores sorted.
            rows: (stratum of the image, row it is counted in).
        """
        anomalous, normal = image.counts()
        for stratum, row in ((None, 0), *((stratum, 1 + row) for stratum, row in rows)):
            if count := anomalous if stratum is None else int(normal[stratum]):
                uniform = row == 0
                place = name, -1 if stratum is None else stratum
                part = _part(image, stratum, count, seed_of(*place), self.levels[not uniform], uniform)
                self._rows[row][place] = part
                self._costs[int(not uniform)] += part.cost(uniform)
        self._fit()

    def merge(self, other: PooledSketch) -> None:
        """Add the images, all of them others, of a sketch with the same rows and budget."""
        wanted = [max(levels) for levels in zip(self.levels, other.levels, strict=True)]
        self._coarsen(wanted)
        for row, parts in enumerate(other._rows):
            kind = int(row > 0)
            for place, part in parts.items():
                self._rows[row][place] = _coarser(part, place, not kind, other.levels[kind], wanted[kind])
        self._costs += other._costs
        self._fit()

    def among(self, normal: PooledSketch) -> PooledSketch:
        """The anomalous pixels of this sketch with the normal ones of another, to be read; nothing is copied."""
        both = PooledSketch(len(normal._rows) - 1, None)
        both.levels = [self.levels[0], normal.levels[1]]
        both._rows = [self._rows[0], *normal._rows[1:]]
        return both

    def ranking(self, rows: Sequence[int]) -> Ranking:
        """The ranking of the anomalous pixels among the union of some rows."""
        if self._latest is not None and self._latest[0] == tuple(rows):
            return self._latest[1]
        anomalous, weight, sampled = self._points([0])
        starts, lengths = runs_of(anomalous)
        keys = anomalous[starts]
        anomalies = np.add.reduceat(weight, starts) if len(starts) else weight
        # Scores that several points share are ties, and found together.
        beyond = np.where((lengths == 1) & sampled[starts], (anomalies - 1) / 2, 0) if self.levels[0] else 0.0
        below, at_or_below, normal = self._normal(rows, keys)
        found = Ranking(keys, anomalies, below, at_or_below, normal, beyond)
        self._latest = (tuple(rows), found) if len(keys) <= SMALL else None
        return found

    def parts(self, rows: Sequence[int]) -> Iterator[tuple[Part, np.ndarray]]:
        """What was kept of every image in some rows (-1: the anomalous pixels), with the weights of its keys."""
        for row in rows:
            kind = int(row >= 0)
            for place in sorted(self._rows[1 + row]):
                part = self._rows[1 + row][place]
                yield part, part.weights(self.levels[kind], not kind)

    def state(self) -> dict[str, Any]:
        """Arrays, and the names of the images; the same for the same images."""
        state: dict[str, Any] = {"levels": np.array(self.levels)}
        for row, parts in enumerate(self._rows):
            places = sorted(parts)
            kept = [parts[place] for place in places]
            numbers = [
                (stratum, len(p.runs), len(p.keys), p.count) for (_, stratum), p in zip(places, kept, strict=True)
            ]
            state |= {
                f"images{row}": [name for name, _ in places],
                f"sizes{row}": np.array(numbers, np.int64).reshape(-1, 4),
                **{
                    f"{field}{row}": np.concatenate([getattr(p, field) for p in kept] or [np.zeros(0, np.uint32)])
                    for field in ("runs", "lengths", "keys")
                },
            }
        return state

    @classmethod
    def from_state(cls, state: dict[str, Any], budget: tuple[int, int] | None = BUDGET) -> PooledSketch:
        sketch = cls(sum(name.startswith("images") for name in state) - 1, budget)
        sketch.levels = [int(level) for level in state["levels"]]
        for row, parts in enumerate(sketch._rows):
            kind = int(row > 0)
            run = key = 0
            for name, numbers in zip(state[f"images{row}"], state[f"sizes{row}"].tolist(), strict=True):
                stratum, runs, keys, count = numbers
                long = slice(run, run + runs)
                kept = state[f"keys{row}"][key : key + keys]
                part = Part(state[f"runs{row}"][long], state[f"lengths{row}"][long], count, kept)
                if len(part.keys) != sizes(count, not kind)[sketch.levels[kind]] or len(part.lengths) != runs:
                    raise ValueError(f"what was kept of '{name}' is not whole")
                parts[name, stratum] = part
                sketch._costs[kind] += part.cost(not kind)
                run, key = run + runs, key + keys
        return sketch

    def _fit(self) -> None:
        """Go to the finest level at which everything fits; more images never make it finer."""
        self._latest = None
        if self.budget is not None:
            fits = self._costs <= np.array(self.budget)[:, None]
            self._coarsen([int(np.argmax(row)) if row.any() else LEVELS - 1 for row in fits])

    def _coarsen(self, wanted: list[int]) -> None:
        for row, parts in enumerate(self._rows):
            kind = int(row > 0)
            if wanted[kind] > self.levels[kind]:
                for place, part in parts.items():
                    parts[place] = _coarser(part, place, not kind, self.levels[kind], wanted[kind])
        self.levels = wanted

    def _normal(self, rows: Sequence[int], keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Normal pixels below, and at or below, each of some ascending keys, int64, and of all scores."""
        kept = [1 + row for row in rows]
        points, weight, _ = self._points(kept, alone=self.levels[1] > 0)
        total = np.concatenate((np.zeros(1, np.int64), weight.cumsum()))
        below, at_or_below = (total[np.searchsorted(points, keys, side)] for side in ("left", "right"))
        normal = int(total[-1])
        if not self.levels[1]:  # every key is one pixel: to be sorted in a third of the time, without its weight
            ordered = np.concatenate([part.keys for row in kept for part in self._rows[row].values()] or [keys[:0]])
            ordered.sort()
            for counts, more in zip((below, at_or_below), counts_of(ordered, keys), strict=True):
                counts += more
            normal += len(ordered)
        return below, at_or_below, normal

    def _points(self, rows: Sequence[int], alone: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ascending keys, weights (int64) and whether they were sampled, of what was kept in some rows.

        Args:
            rows: these.
            alone: also the pixels outside of runs.
        """
        points = []
        for row in rows:
            kind = int(row > 0)
            for part in self._rows[row].values():
                # A weight is below 2^31, so that key, weight and a bit for runs are one integer to be sorted.
                if alone:
                    weight = part.weights(self.levels[kind], not kind).astype(np.uint64)
                    points.append((part.keys.astype(np.uint64) << np.uint64(32)) | weight)
                points.append((part.runs.astype(np.uint64) << np.uint64(32)) | part.lengths | RUN)
        both = np.concatenate(points or [np.zeros(0, np.uint64)])
        del points
        both.sort()
        weight = (both & (RUN - np.uint64(1))).astype(np.int64)
        return (both >> np.uint64(32)).astype(np.uint32), weight, both & RUN == 0


def _part(image: SortedImage, stratum: int | None, count: int, seed: np.uint64, level: int, uniform: bool) -> Part:
    """What is kept of so many pixels of an image at a level."""
    few = image.distinct(stratum) <= min(FEW, count // 8)
    runs, lengths = image.runs(stratum, 1 if few else LONG)
    if not few and len(runs) > RUNS:
        longest = lengths > np.partition(lengths, -RUNS - 1)[-RUNS - 1]
        runs, lengths = runs[longest], lengths[longest]
    runs, lengths = runs[::-1].copy(), lengths[::-1]
    rest = count - int(lengths.sum())
    above = image.above(stratum, runs) if len(runs) and rest else lengths
    if not level and rest:
        kept = np.ones(count, bool)
        for first, length in zip(above, lengths, strict=True):
            kept[first : first + length] = False
        return Part(runs, lengths.astype(np.uint32), rest, image.take(stratum, None)[::-1][kept])
    starts, exponents = blocks(rest, level, uniform)
    ranks = representatives(starts, exponents, rest, seed)
    if len(runs) and rest:
        # Ranks do not count the runs; those that lie higher are skipped.
        before = above - (lengths.cumsum() - lengths)
        skipped = np.concatenate((np.zeros(1, np.int64), lengths.cumsum()))
        ranks += skipped[np.searchsorted(before, ranks, side="right")]
    return Part(runs, lengths.astype(np.uint32), rest, image.take(stratum, count - 1 - ranks))


def _coarser(part: Part, place: tuple[str, int], uniform: bool, level: int, wanted: int) -> Part:
    """The same as drawn at a coarser level."""
    keys = part.keys
    for fine in range(level, wanted):
        keys = keys[thinned(part.count, fine, uniform, seed_of(*place))]
    return Part(part.runs, part.lengths, part.count, keys)
