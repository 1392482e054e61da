"""Accumulators of all pixels of all images.

:class:`PooledHistogram` keeps integer counts per leading bits of the key, in bounded memory. How many bits follows
from the data: the finest resolution at which all pages that hold a score fit. Scores in a narrow range are thereby
resolved finely wherever that range lies, and never with fewer than 20 bits. The resolution is a function of the set of
occupied pages, and merging only ever drops bits of counts that are exact integers: any order of images, workers and
shards gives the same counts bit for bit.

:class:`PooledKeys` keeps every key (4 bytes a pixel) and is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol as Interface

import numpy as np

from benchmark.metrics.keys import COARSEST, FINEST, PAGE_BITS, Resolution, resolution
from benchmark.metrics.ranking import EMPTY, Ranking, rank, runs_of

BINS = 1 << 19
"""Bins aimed at per row; 4 MiB of counts."""


class Sorted(Interface):
    """The part of a sorted image that accumulators use."""

    def runs(self, row: int | None, fineness: Resolution) -> tuple[np.ndarray, np.ndarray]: ...

    def sorted_keys(self, row: int | None) -> np.ndarray: ...


class PooledHistogram:
    """Counts per bin for the anomalous pixels and for several sets of normal pixels.

    Bins are named by the key of their lower end.

    Args:
        rows: number of sets of normal pixels.
    """

    def __init__(self, rows: int) -> None:
        self.resolution = resolution(FINEST)
        self._pages = EMPTY  # occupied ones, in the order of their bins in memory
        self._first = np.full(1 << PAGE_BITS, -1, np.int64)  # per page, the position of its first bin
        # The system commits memory when it is first written, so that unused bins cost nothing.
        self._counts = [np.zeros(BINS, np.int64) for _ in range(1 + rows)]

    @property
    def exact(self) -> bool:
        """Whether every score has a bin of its own."""
        return self.resolution.exact

    @property
    def nbytes(self) -> int:
        return self._first.nbytes + self._pages.nbytes + sum(counts.nbytes for counts in self._counts)

    def add(self, image: Sorted, rows: Sequence[tuple[int, int]]) -> None:
        """Add an image.

        Args:
            image: with its scores sorted.
            rows: (stratum of the image, row it is counted in).
        """
        for stratum, row in ((None, 0), *((stratum, 1 + row) for stratum, row in rows)):
            fineness = self.resolution
            self._add(row, fineness.bits, *image.runs(stratum, fineness))

    def merge(self, other: PooledHistogram) -> None:
        """Add the counts of another histogram with the same rows."""
        for row in range(len(self._counts)):
            self._add(row, other.resolution.bits, *other.occupied(row))

    def occupied(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Bins in use, ascending uint32, and their counts; row 0 holds the anomalous pixels."""
        pages = np.sort(self._pages)
        bins = self.resolution.bins(pages)
        inner = np.arange(bins.sum()) - np.repeat(bins.cumsum() - bins, bins)
        counts = self._counts[row][np.repeat(self._first[pages], bins) + inner]
        used = np.flatnonzero(counts)
        ends = np.repeat(pages << PAGE_BITS, bins)[used] + (
            inner[used] << np.repeat(self.resolution.low[pages], bins)[used]
        )
        return ends.astype(np.uint32), counts[used]

    def ranking(self, rows: Sequence[int]) -> Ranking:
        """The ranking of the anomalous pixels among the union of some rows; scores in one bin count as equal."""
        bins, anomalies = self.occupied(0)
        below, at_or_below, normal = np.zeros(len(bins), np.int64), np.zeros(len(bins), np.int64), 0
        for row in rows:
            normal_bins, counts = self.occupied(1 + row)
            total = np.concatenate((np.zeros(1, np.int64), counts.cumsum()))
            below += total[np.searchsorted(normal_bins, bins)]
            at_or_below += total[np.searchsorted(normal_bins, bins, side="right")]
            normal += int(total[-1])
        return Ranking(bins, anomalies, below, at_or_below, normal)

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays, the same for the same counts."""
        state = {"bits": np.array(self.resolution.bits)}
        for row in range(len(self._counts)):
            bins, counts = self.occupied(row)
            state |= {f"bins{row}": bins, f"counts{row}": counts}
        return state

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> PooledHistogram:
        histogram = cls(sum(key.startswith("bins") for key in state) - 1)
        for row in range(len(histogram._counts)):
            histogram._add(row, int(state["bits"]), state[f"bins{row}"], state[f"counts{row}"])
        return histogram

    def _add(self, row: int, bits: int, bins: np.ndarray, counts: np.ndarray) -> None:
        """Add counts of ascending bins that were made at a resolution of so many bits."""
        pages = bins >> np.uint32(PAGE_BITS)
        starts, lengths = runs_of(pages)
        self._open(pages[starts].astype(np.int64), bits)
        if bits > self.resolution.bits and len(bins):
            bins = self.resolution.floor(bins)
            firsts = runs_of(bins)[0]
            bins, counts = bins[firsts], np.add.reduceat(counts, firsts)
            pages = bins >> np.uint32(PAGE_BITS)
            starts, lengths = runs_of(pages)
        at = self.resolution.shifted(bins).astype(np.int64)
        occupied = pages[starts].astype(np.int64)
        at += np.repeat(self._first[occupied] - (occupied << PAGE_BITS >> self.resolution.low[occupied]), lengths)
        np.add.at(self._counts[row], at, counts)

    def _open(self, pages: np.ndarray, bits: int) -> None:
        """Make room for pages, dropping bits where they would not fit or where the source has fewer."""
        new = pages[self._first[pages] < 0]
        everything = np.concatenate((self._pages, new))
        bits = min(bits, self.resolution.bits)
        while bits > COARSEST and resolution(bits).bins(everything).sum() > BINS:
            bits -= 1
        if bits < self.resolution.bits:
            before = self.resolution.bits
            kept = [self.occupied(row) for row in range(len(self._counts))]
            self.resolution, self._pages = resolution(bits), EMPTY
            self._first[:] = -1
            self._place(everything)
            for row, (bins, counts) in enumerate(kept):
                self._counts[row][:] = 0
                self._add(row, before, bins, counts)
        elif len(new):
            self._place(new)

    def _place(self, pages: np.ndarray) -> None:
        """Give pages their bins, after those in use."""
        used = int(self.resolution.bins(self._pages).sum())
        bins = self.resolution.bins(pages)
        self._first[pages] = used + bins.cumsum() - bins
        self._pages = np.concatenate((self._pages, pages))
        missing = used + int(bins.sum()) - len(self._counts[0])
        if missing > 0:
            self._counts = [np.concatenate((counts, np.zeros(missing, np.int64))) for counts in self._counts]


class PooledKeys:
    """Every key of every pixel: exact, 4 bytes a pixel.

    Args:
        rows: number of sets of normal pixels.
    """

    exact = True

    def __init__(self, rows: int) -> None:
        self._rows: list[list[np.ndarray]] = [[] for _ in range(1 + rows)]

    @property
    def nbytes(self) -> int:
        return sum(keys.nbytes for row in self._rows for keys in row)

    def add(self, image: Sorted, rows: Sequence[tuple[int, int]]) -> None:
        """As :meth:`PooledHistogram.add`."""
        self._rows[0].append(image.sorted_keys(None))
        for stratum, row in rows:
            self._rows[1 + row].append(image.sorted_keys(stratum))

    def merge(self, other: PooledKeys) -> None:
        """Add the keys of another accumulator with the same rows."""
        for mine, others in zip(self._rows, other._rows, strict=True):
            mine.extend(others)

    def _all(self, row: int) -> np.ndarray:
        keys = np.concatenate(self._rows[row] or [np.zeros(0, np.uint32)])
        keys.sort()
        self._rows[row] = [keys]
        return keys

    def ranking(self, rows: Sequence[int]) -> Ranking:
        """As :meth:`PooledHistogram.ranking`, of the scores themselves."""
        normal = [self._all(1 + row) for row in rows]
        keys, anomalies, below, at_or_below = rank(self._all(0), normal)
        count = sum(len(keys) for keys in normal)
        return Ranking(keys, anomalies, below.sum(0), at_or_below.sum(0), count)

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays."""
        return {f"keys{row}": self._all(row) for row in range(len(self._rows))}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> PooledKeys:
        kept = cls(len(state) - 1)
        kept._rows = [[state[f"keys{row}"]] for row in range(len(state))]
        return kept
