"""Noise tiles from which textures, clouds and sensor grain are cut."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

TILE = 512


@lru_cache(maxsize=8)
def tile(seed: int, octaves: tuple[int, ...]) -> NDArray[np.uint8]:
    """Seamless noise (TILE, TILE): a sum of octaves, each a lattice of the given number of cells, around 128."""
    rng = np.random.default_rng(seed)
    total = np.zeros((TILE, TILE), np.float32)
    for octave, cells in enumerate(octaves):
        lattice = rng.random((cells, cells), np.float32) - 0.5
        wrapped = np.pad(lattice, 2, mode="wrap")
        step = TILE // cells
        smooth = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += smooth[2 * step : -2 * step, 2 * step : -2 * step] * 0.62**octave
    total *= 46 / total.std()
    return np.clip(np.rint(total + 128), 0, 255).astype(np.uint8)


def cut(noise: NDArray[np.uint8], width: int, height: int, at: tuple[int, int]) -> NDArray[np.uint8]:
    """A window of the endlessly repeated tile."""
    x, y = at[0] % TILE, at[1] % TILE
    across, down = -(-(x + width) // TILE), -(-(y + height) // TILE)
    return np.tile(noise, (down, across))[y : y + height, x : x + width]
