"""Scores drawn over their image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmark.api.detector import AnyImage
from benchmark.errors import BenchmarkError
from benchmark.maps.photos import as_image
from benchmark.pictures import colour_limits, panel


def plot(
    image: AnyImage,
    scores: np.ndarray,
    title: str = "",
    *,
    limits: tuple[float, float] | None = None,
    threshold: float | None = None,
) -> Image.Image:
    """The image and beside it its scores drawn over it, with title and colour bar.

    Args:
        image: as of :meth:`~benchmark.api.Detector.score`.
        scores: float (H, W) of the image, higher = more anomalous.
        title: of the method.
        limits: scores of the first and the last colour; give the same to images that are to be compared. None takes the
            1st and 99.8th percentile of these scores.
        threshold: where it is given, what reaches it is outlined in red.
    Returns:
        A PIL image, which a notebook shows; ``.save("picture.png")`` writes it.
    Raises:
        BenchmarkError: the scores are not of the size of the image, or the limits are none.
    """
    pixels = as_image(image).permute(1, 2, 0).numpy()
    try:
        scores = np.asarray(scores, np.float32)
    except (TypeError, ValueError) as error:
        raise BenchmarkError(f"Scores are an array of numbers (H, W), not a {type(scores).__name__}.") from error
    if scores.shape != pixels.shape[:2]:
        raise BenchmarkError(f"The scores are {scores.shape}, the image {pixels.shape[:2]} (H, W); the two must agree.")
    if limits is not None and not limits[0] < limits[1]:
        raise BenchmarkError(f"limits are the scores of the first and the last colour, the lower first, not {limits}.")
    return Image.fromarray(panel(pixels, scores, limits or colour_limits([scores]), title, threshold))
