"""Which pixels of a sorted image stand for all of them: one of every block of neighbouring ranks.

Ranks count from the highest score, 0 onwards. At level l the ranks of octave o, from 2^o up to 2^(o + 1), are divided
into blocks of 2^e, with

    e = min(max(o - KNEE + l, 0), l)

for normal pixels: the highest ones, which decide the precision, are divided finely, and level 0 keeps every rank. For
anomalous pixels, every one of which weighs the same, e = l throughout. A block is represented by one of its ranks,
drawn uniformly, which weighs as much as the block has ranks. So the number of pixels at or above any score is estimated
without bias, wherever scores crowd, since only their order is used.

A block of 2^e is the union of two of the level below. Its representative is that of one of them, chosen by a coin that
is a hash of the image, the block and nothing else. What stands for an image at a level is therefore a function of that
image, whether it was drawn there or drawn finer and thinned out later.
"""

from __future__ import annotations

import hashlib

import numpy as np

KNEE = 17
"""Octave from which on all blocks are of one size, 2^17 ranks: one pixel in seven of a 720x1280 image."""
LEVELS = 1 + KNEE


def seed_of(image: str, stratum: int) -> np.uint64:
    """What tells the coins of one stratum of one image from all others."""
    digest = hashlib.blake2b(f"{stratum}\0{image}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.frombuffer(digest, np.uint64)[0]


def sizes(count: int, uniform: bool) -> np.ndarray:
    """Number of blocks of so many ranks at every level, int64 (LEVELS,).

    Args:
        count: of ranks.
        uniform: whether all blocks of a level are of one size, as for anomalous pixels.
    """
    levels = np.arange(LEVELS)
    if uniform:
        return -(-count >> levels)
    octaves = np.arange(max(count, 1).bit_length())
    lengths = np.clip(count - (1 << octaves), 0, 1 << octaves)
    exponents = np.clip(octaves - KNEE + levels[:, None], 0, levels[:, None])
    return min(count, 1) + (-(-lengths >> exponents)).sum(1)


def blocks(count: int, level: int, uniform: bool) -> tuple[np.ndarray, np.ndarray]:
    """First rank and exponent e of every block, in the order of the ranks, int64.

    Args:
        count: of ranks.
        level: 0 (every rank) to ``LEVELS - 1``.
        uniform: as for :func:`sizes`.
    """
    if uniform:
        starts = np.arange(0, count, 1 << level)
        return starts, np.full(len(starts), level)
    # Octaves whose blocks are single ranks are one piece, and so are those from the knee on.
    edges = [0, *(1 << octave for octave in range(KNEE - level + 1, KNEE + 1))]
    pieces = [
        np.arange(first, min(last, count), 1 << exponent)
        for exponent, (first, last) in enumerate(zip(edges, [*edges[1:], count], strict=True))
    ]
    return np.concatenate(pieces), np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])


def weights(starts: np.ndarray, exponents: np.ndarray, count: int) -> np.ndarray:
    """Number of ranks in every block, int64; only the last block can be cut short."""
    found = np.left_shift(1, exponents)
    if len(found):
        found[-1] = min(found[-1], count - int(starts[-1]))
    return found


def representatives(starts: np.ndarray, exponents: np.ndarray, count: int, seed: np.uint64) -> np.ndarray:
    """The rank that stands for every block, ascending int64: the coins of ever smaller blocks are followed."""
    ranks = starts.copy()
    for exponent in range(int(exponents[-1]) if len(exponents) else 0, 0, -1):
        within = slice(int(np.searchsorted(exponents, exponent)), None)
        ranks[within] += _coins(ranks[within], exponent, count, seed).astype(np.int64) << exponent - 1
    return ranks


def thinned(count: int, level: int, uniform: bool, seed: np.uint64) -> np.ndarray:
    """Where, among the representatives of a level, those of the next coarser one are, int64."""
    starts, exponents = blocks(count, level + 1, uniform)
    first = int(np.searchsorted(exponents, 1))  # before it blocks stay as they are, from it on two become one
    chosen = np.arange(len(starts))
    chosen[first:] += np.arange(len(starts) - first)
    for exponent in range(1, int(exponents[-1]) + 1 if len(exponents) else 0):
        part = slice(*np.searchsorted(exponents, (exponent, exponent + 1)))
        chosen[part] += _coins(starts[part], exponent, count, seed)
    return chosen


def _coins(starts: np.ndarray, exponent: int, count: int, seed: np.uint64) -> np.ndarray:
    """Whether blocks of 2^exponent ranks, ascending, are represented by their second half: 0 or 1, uint8.

    In proportion to the halves' ranks: one bit of a hash where they are equal, as in all blocks but the last.
    """
    if not len(starts):
        return np.zeros(0, np.uint8)
    numbers = starts >> exponent
    word = int(numbers[0]) >> 6
    words = np.arange(word, (int(numbers[-1]) >> 6) + 1, dtype=np.uint64)
    bits = np.unpackbits(_hashed(words, exponent, seed).astype("<u8").view(np.uint8), bitorder="little")
    right = bits[numbers - 64 * word]
    size = count - int(starts[-1])
    if size < 1 << exponent:  # the last one is cut short
        drawn = int(_hashed(words[-1:], exponent + 64, seed)[0] >> np.uint64(32))
        right[-1] = drawn * size >> 32 >= 1 << exponent - 1
    return right


def _hashed(words: np.ndarray, exponent: int, seed: np.uint64) -> np.ndarray:
    """64 random bits for each of some numbers: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), keyed."""
    bits = words * np.uint64(128) + np.uint64(exponent)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits += seed
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits ^= bits >> np.uint64(shift)
        bits *= np.uint64(factor)
    bits ^= bits >> np.uint64(31)
    return bits
