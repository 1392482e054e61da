"""Order-preserving integer keys of float32 scores.

Integers sort with the vector units: k(s) = bits(s) XOR (2^31 if s >= 0 else 2^32 - 1), so that s < t iff k(s) < k(t),
infinities included. Adding +0 first makes the two zeros equal, as they are for every comparison.
"""

from __future__ import annotations

import numpy as np

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
