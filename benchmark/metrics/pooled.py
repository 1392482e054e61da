"""Accumulators of all pixels of all images.

:class:`PooledHistogram` keeps integer counts per leading bits of the key, in bounded memory. How many bits follows
from the data: the 2^16 possible *pages* (sign, exponent and seven bits of mantissa) that hold a score are counted, and
every occupied page is divided into as many bins as fit. Scores in a narrow range are thereby resolved finely wherever
that range lies, and never with fewer than 20 bits. The resolution is a function of the set of occupied pages, and
merging only ever drops bits of counts that are exact integers: any order of images, workers and shards gives the same
counts bit for bit.

:class:`PooledKeys` keeps every key (4 bytes a pixel) and is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol as Interface

import numpy as np

from benchmark.metrics.ranking import EMPTY, Ranking, rank, run_starts

PAGE_BITS = 16
BINS = 1 << 19
"""Bins aimed at per row; 4 MiB of counts."""
MIN_BITS = 20


class Sorted(Interface):
    """The part of a sorted image that accumulators use."""

    def runs(self, row: int | None, shift: int) -> tuple[np.ndarray, np.ndarray]: ...

    def sorted_keys(self, row: int | None) -> np.ndarray: ...


class _Row:
    """Counts of one set of pixels in the occupied pages."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)  # the system commits a page of memory when it is first written

    def grow(self, size: int) -> None:
        if size > len(self.counts):
            self.counts = np.concatenate((self.counts, np.zeros(size - len(self.counts), np.int64)))


class PooledHistogram:
    """Counts per bin for the anomalous pixels and for several sets of normal pixels.

    Args:
        rows: number of sets of normal pixels.
    """

    def __init__(self, rows: int) -> None:
        self.bits = 32
        self.pages = EMPTY  # ids in the order of their slots
        self._slot = np.full(1 << PAGE_BITS, -1, np.int32)
        self._rows = [_Row() for _ in range(1 + rows)]

    @property
    def shift(self) -> int:
        """Low bits of a key that are dropped; 0 while the histogram is exact."""
        return 32 - self.bits

    @property
    def nbytes(self) -> int:
        return self._slot.nbytes + self.pages.nbytes + sum(row.counts.nbytes for row in self._rows)

    def add(self, image: Sorted, rows: Sequence[tuple[int, int]]) -> None:
        """Add an image.

        Args:
            image: with its scores sorted.
            rows: (stratum of the image, row it is counted in).
        """
        self._add(0, self.bits, *image.runs(None, self.shift))
        for stratum, row in rows:
            self._add(1 + row, self.bits, *image.runs(stratum, self.shift))

    def merge(self, other: PooledHistogram) -> None:
        """Add the counts of another histogram with the same rows."""
        for row in range(len(self._rows)):
            self._add(row, other.bits, *other.occupied(row))

    def occupied(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Bins in use, ascending, and their counts; row 0 holds the anomalous pixels."""
        width = 1 << (self.bits - PAGE_BITS)
        order = np.argsort(self.pages)
        counts = self._rows[row].counts[: len(self.pages) * width].reshape(-1, width)[order].reshape(-1)
        at = np.flatnonzero(counts)
        return (self.pages[order][at // width] << (self.bits - PAGE_BITS)) + at % width, counts[at]

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
        return Ranking(bins << self.shift, anomalies, below, at_or_below, normal)

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays, the same for the same counts."""
        state = {"bits": np.array(self.bits)}
        for row in range(len(self._rows)):
            bins, counts = self.occupied(row)
            state |= {f"bins{row}": bins.astype(np.uint32), f"counts{row}": counts}
        return state

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> PooledHistogram:
        histogram = cls(sum(key.startswith("bins") for key in state) - 1)
        for row in range(len(histogram._rows)):
            histogram._add(row, int(state["bits"]), state[f"bins{row}"].astype(np.int64), state[f"counts{row}"])
        return histogram

    def _add(self, row: int, bits: int, bins: np.ndarray, counts: np.ndarray) -> None:
        """Add counts of ascending bins of a resolution at least as fine, or coarsen to theirs."""
        pages = bins >> (bits - PAGE_BITS)
        starts = run_starts(pages)
        self._open(pages[starts], bits)
        if bits > self.bits:
            bins = bins >> (bits - self.bits)
            firsts = run_starts(bins)
            bins, counts = bins[firsts], np.add.reduceat(counts, firsts) if len(firsts) else counts
            pages = bins >> (self.bits - PAGE_BITS)
            starts = run_starts(pages)
        offsets = self._slot[pages[starts]].astype(np.int64) - pages[starts] << (self.bits - PAGE_BITS)
        bins = bins + np.repeat(offsets, np.diff(starts, append=len(bins)))
        self._rows[row].counts[bins] += counts

    def _open(self, pages: np.ndarray, bits: int) -> None:
        """Make room for pages, dropping bits where they no longer fit or where the source has fewer."""
        new = pages[self._slot[pages] < 0]
        if len(new):
            self._slot[new] = np.arange(len(self.pages), len(self.pages) + len(new))
            self.pages = np.concatenate((self.pages, new))
        fitting = PAGE_BITS + (BINS // max(len(self.pages), 1)).bit_length() - 1
        wanted = min(bits, self.bits, max(fitting, MIN_BITS))
        if wanted < self.bits:
            old = len(self.pages) - len(new)
            for row in self._rows:
                used = row.counts[: old << (self.bits - PAGE_BITS)]
                summed = used.reshape(-1, 1 << (self.bits - wanted)).sum(1)
                row.counts[: len(summed)] = summed
                row.counts[len(summed) : len(used)] = 0
            self.bits = wanted
        for row in self._rows:
            row.grow(len(self.pages) << (self.bits - PAGE_BITS))


class PooledKeys:
    """Every key of every pixel: exact, 4 bytes a pixel.

    Args:
        rows: number of sets of normal pixels.
    """

    shift = 0

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
        return Ranking(keys.astype(np.int64), anomalies, below.sum(0), at_or_below.sum(0), count)

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays."""
        return {f"keys{row}": self._all(row) for row in range(len(self._rows))}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> PooledKeys:
        kept = cls(len(state) - 1)
        kept._rows = [[state[f"keys{row}"]] for row in range(len(state))]
        return kept
