"""Order-preserving integer keys of float32 scores, and how finely the pooled histogram divides them.

Integers sort with the vector units, and their leading bits are histogram bins that need neither a range known
beforehand nor a rescaling: k(s) = bits(s) XOR (2^31 if s >= 0 else 2^32 - 1), so that s < t iff k(s) < k(t),
infinities included. Adding +0 first makes the two zeros equal, as they are for every comparison.

A *page* is the set of scores that share the upper 16 bits of their key: sign, exponent and seven bits of mantissa,
128 pages an octave. At resolution `bits` a page holds 2^(bits - 16) bins of equal width, so that the width follows the
magnitude of the score. Probabilities crowd where magnitude does not help, next to +-1 (a confident softmax), so the
pages of the octave below 1 get more bins the closer they are to 1: up to 2^7 times as many, as if the distance to 1
had been binned. No page has more than 2^16 bins, one for every float.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

SIGN = np.uint32(0x80000000)
INFINITY = 0x7F800000
"""Bits of plus infinity."""
LOWEST = 0x007FFFFF
"""Key of minus infinity."""
HIGHEST = 0xFF800000
"""Key of plus infinity."""
PAGE_BITS = 16
FINEST = 32
COARSEST = 20


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


class Resolution:
    """The bins at a number of leading bits.

    Attributes:
        bits: leading bits of the key that tell bins apart.
        low: per page, the number of low bits of the key that a bin drops, int64 (65536,).
        starts: first keys of the ranges of constant `low`, uint32.
        masks: per range, the mask that turns a key into the lower end of its bin, uint32.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.low = PAGE_BITS - np.minimum(bits - PAGE_BITS + _extra_bits(), PAGE_BITS)
        firsts = np.concatenate(([0], np.flatnonzero(np.diff(self.low)) + 1))
        self.starts = (firsts << PAGE_BITS).astype(np.uint32)
        self._dropped = self.low[firsts].astype(np.uint32)
        self.masks = ((0xFFFFFFFF << self.low[firsts]) & 0xFFFFFFFF).astype(np.uint32)

    @property
    def exact(self) -> bool:
        """Whether every float has a bin of its own."""
        return self.bits == FINEST

    def bins(self, pages: np.ndarray) -> np.ndarray:
        """Number of bins of each page."""
        return 1 << (PAGE_BITS - self.low[pages])

    def floor(self, keys: np.ndarray) -> np.ndarray:
        """The lower ends of the bins of ascending uint32 keys, as keys."""
        return keys if self.exact else self._by_range(np.bitwise_and, keys, self.masks)

    def shifted(self, keys: np.ndarray) -> np.ndarray:
        """Ascending uint32 keys without the low bits that their bins drop."""
        return keys if self.exact else self._by_range(np.right_shift, keys, self._dropped)

    def runs(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First index and length of each run of ascending uint32 keys in one bin, int64."""
        changes = np.ones(len(keys) + 1, bool)  # also after the last key
        # Two keys share a bin iff they differ in dropped bits only. Ranges begin with a page, whose keys differ from
        # all others in more bits than any range drops.
        for mask, start, stop in self._ranges(keys, ~self.masks):
            start = max(start, 1)
            np.greater(keys[start:stop] ^ keys[start - 1 : stop - 1], mask, out=changes[start:stop])
        bounds = np.flatnonzero(changes)
        return bounds[:-1], bounds[1:] - bounds[:-1]

    def _ranges(self, keys: np.ndarray, operands: np.ndarray) -> Iterator[tuple[np.uint32, int, int]]:
        """The operand of every range of constant `low` that ascending keys fall into, and where they do."""
        cuts = [*np.searchsorted(keys, self.starts), len(keys)]
        return ((o, a, b) for o, a, b in zip(operands, cuts[:-1], cuts[1:], strict=True) if b > a)

    def _by_range(self, operation: np.ufunc, keys: np.ndarray, operands: np.ndarray) -> np.ndarray:
        result = np.empty_like(keys)
        for operand, start, stop in self._ranges(keys, operands):
            operation(keys[start:stop], operand, out=result[start:stop])
        return result


@lru_cache(maxsize=FINEST)
def resolution(bits: int) -> Resolution:
    """The resolution at a number of leading bits, 20 to 32."""
    return Resolution(bits)


def _extra_bits() -> np.ndarray:
    """Per page, floor(log2(1 / relative distance to 1)) within the octave below 1 of either sign, else 0."""
    extra = np.zeros(1 << PAGE_BITS, np.int64)
    distance = np.arange(128, 0, -1)  # of the 128 pages from 1/2 up to 1
    finer = 7 - np.floor(np.log2(distance)).astype(np.int64)
    first = np.float32(0.5).view(np.uint32) >> PAGE_BITS
    extra[0x8000 + first : 0x8000 + first + 128] = finer
    extra[0x8000 - first - 128 : 0x8000 - first] = finer[::-1]
    return extra
