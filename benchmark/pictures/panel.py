"""One image beside the heat map of its scores, with the colour bar and the method's name below."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from benchmark.pictures.colours import ANOMALY_RGB, HEAT, overlay
from benchmark.pictures.files import literal, new_figure

GAP = 8
"""White pixels between the two."""
STRIP = (24, 0.035)
"""Height of what stands below: at least so many pixels, and so large a share of the width."""


def panel(
    image: np.ndarray,
    scores: np.ndarray,
    limits: tuple[float, float],
    title: str = "",
    threshold: float | None = None,
) -> np.ndarray:
    """The image, beside it its scores drawn over it, below the title and what the colours mean.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: float (H, W), higher = more anomalous.
        limits: scores of the first and the last colour, see :func:`benchmark.pictures.colour_limits`.
        title: of the method.
        threshold: where it is given, what reaches it is outlined in red, and a red line in the colour bar shows it.
    Returns:
        uint8 (H', 2 W + 8, 3) RGB, both pictures pixel by pixel.
    """
    drawn = overlay(image, scores, limits)
    if threshold is not None:
        drawn[_outline(scores >= threshold, max(1, round(max(scores.shape) / 600)))] = ANOMALY_RGB
    gap = np.full((len(image), GAP, 3), 255, np.uint8)
    pictures = np.concatenate([image, gap, drawn], axis=1)
    return np.concatenate([pictures, _strip(pictures.shape[1], limits, title, threshold)])


def _outline(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a mask that are at most `width` pixels from its edge."""
    import cv2

    kernel = np.ones((2 * width + 1,) * 2, np.uint8)
    inner = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return mask & (inner == 0)


@lru_cache(maxsize=32)
def _strip(width: int, limits: tuple[float, float], title: str, threshold: float | None) -> np.ndarray:
    """Title and colour bar, uint8 (h, width, 3); the same for all images of a size."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    height = max(STRIP[0], round(STRIP[1] * width))
    figure = new_figure((width / 100, height / 100), 100)
    points = 0.45 * height * 0.72
    low, high = limits
    room = max(3, int(0.42 * width / (0.29 * height)))  # characters that fit
    shown = title if len(title) <= room else f"{title[: room - 1]}…"
    figure.text(0.01, 0.5, literal(shown), fontsize=points, ha="left", va="center")
    bar = figure.add_axes((0.66, 0.3, 0.2, 0.4))
    figure.colorbar(ScalarMappable(Normalize(low, high), HEAT), cax=bar, orientation="horizontal", ticks=[])
    figure.text(0.65, 0.5, f"{low:.3g}", fontsize=points, ha="right", va="center")
    figure.text(0.87, 0.5, f"{high:.3g}  score", fontsize=points, ha="left", va="center")
    if threshold is not None:
        if low <= threshold <= high:
            bar.axvline(threshold, color=np.divide(ANOMALY_RGB, 255), linewidth=max(1.0, points / 6))
        colour = tuple(np.divide(ANOMALY_RGB, 255))
        figure.text(0.58, 0.5, f"outline ≥ {threshold:.3g}", fontsize=points, ha="right", va="center", color=colour)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:height, :width, :3].copy()
