"""What lens and sensor make of the canvas: texture, blur, vignette, tone and grain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from . import noise
from .classes import Label

_ROUGHNESS = np.zeros(256, np.float32)
"""Contrast of the texture of a label, as a share of its brightness."""
for _label, _value in {
    Label.BUILDING: 0.055,
    Label.FENCE: 0.06,
    Label.OTHER: 0.06,
    Label.PEDESTRIAN: 0.06,
    Label.POLE: 0.05,
    Label.ROAD_LINE: 0.05,
    Label.SIDEWALK: 0.03,
    Label.VEGETATION: 0.14,
    Label.CAR: 0.03,
    Label.WALL: 0.075,
    Label.TRAFFIC_SIGN: 0.03,
    Label.ANOMALY: 0.06,
}.items():
    _ROUGHNESS[_label] = _value


def develop(canvas: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (H, W, 3) and labels (H, W) from a canvas of twice the size.

    Labels are those of one of the four canvas pixels under an image pixel, so they stay crisp; the image is their mean.
    """
    height, width = canvas.shape[0] // 2, canvas.shape[1] // 2
    shift = rng.integers(0, noise.TILE, 4)
    blur, vignette, gamma = rng.uniform(0.35, 0.65), rng.uniform(0.1, 0.28), rng.uniform(0.9, 1.12)
    grain = rng.uniform(1.2, 3.2)
    labels = np.ascontiguousarray(canvas[1::2, ::2, 3])
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)[..., :3]

    # The scene is the same at every size, so its texture is laid out on 320 columns and enlarged with the picture.
    rows = -(-320 * height // width)
    surface = noise.cut(noise.tile(4, (64, 128, 256)), 320, rows, (int(shift[0]), int(shift[1])))
    if (width, height) != (320, rows):
        surface = cv2.resize(surface, (width, height), interpolation=cv2.INTER_LINEAR)
    texture = 1 + (surface.astype(np.float32) - 128) * (1 / 46) * _ROUGHNESS[labels]
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    texture *= 1 - np.float32(vignette) * (0.6 * np.square(x) + 0.4 * np.square(y))
    light = image * texture[..., None]
    light = cv2.GaussianBlur(light, (0, 0), blur * np.sqrt(width / 320))
    speckle = noise.cut(noise.tile(5, (512,)), width, height, (int(shift[2]), int(shift[3])))
    light += ((speckle.astype(np.float32) - 128) * np.float32(grain / 46))[..., None]
    tone = (np.power(np.arange(256) / 255, gamma) * 255).astype(np.uint8)
    return cv2.LUT(np.clip(light, 0, 255).astype(np.uint8), tone), labels
