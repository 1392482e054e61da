"""From labels and scores to colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.data import ANOMALY, IGNORE

HEAT = "cividis"
"""Perceptually uniform, the same with and without colour blindness, readable in grey."""
ANOMALY_RGB = (255, 60, 0)
IGNORE_RGB = (0, 0, 0)
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")
"""Line colours that the common kinds of colour blindness keep apart (Okabe and Ito, 2008, yellow replaced)."""


def colour(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Labels as RGB (H, W, 3) uint8: the palette for known classes, red for anomalies, black for ignored pixels."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8).reshape(-1, 3)
    table[ANOMALY], table[IGNORE] = ANOMALY_RGB, IGNORE_RGB
    return table[np.asarray(labels).astype(np.uint8)]


def colour_limits(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """The scores that get the first and the last colour in all maps of a method: their 1st and 99.8th percentile.

    So neither a single pixel nor a single image sets the scale. Scores that are not finite do not count.
    """
    values = np.concatenate([m[np.isfinite(m)].ravel() for m in maps])
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [1, 99.8])
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)


def overlay(image: np.ndarray, scores: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """The heat map of scores with the image shining through in grey.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: float (H, W), higher = more anomalous.
        limits: of the colours, see :func:`colour_limits`.
    Returns:
        uint8 (H, W, 3) RGB.
    """
    from matplotlib import colormaps

    low, high = limits
    share = np.nan_to_num((np.asarray(scores, np.float64) - low) / (high - low), posinf=1, neginf=0)
    heat = colormaps[HEAT](np.clip(share, 0, 1))[..., :3]
    grey = image.astype(np.float64) @ (0.299, 0.587, 0.114) / 255
    return np.round(255 * (0.65 * heat + 0.35 * grey[..., None])).astype(np.uint8)
