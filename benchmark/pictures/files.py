"""Figures without a display, and files that depend on nothing but the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.errors import BenchmarkError

JPEG = {"quality": 90, "subsampling": 0}
"""Thin coloured lines need all of their colour."""


def new_figure(size: tuple[float, float], dpi: float, **options):
    """A figure of `size` inches without pyplot: no global state, no display, no windows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=dpi, **options)
    FigureCanvasAgg(figure)
    return figure


def literal(text: str) -> str:
    """A text that Matplotlib prints as it is, without taking what stands between dollar signs for mathematics."""
    return text.replace("$", r"\$")


def save_figure(figure, path: Path) -> None:
    """Write a figure in the format that the suffix names.

    Raises:
        BenchmarkError: no such format, or the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in figure.canvas.get_supported_filetypes():
        raise BenchmarkError(f"{path} names no picture format; end it in .png, .jpg, .svg or .pdf.")
    # Neither version nor date is written, so that the same input gives the same bytes.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    options = {"pil_kwargs": dict(JPEG)} if kind in ("jpg", "jpeg") else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata=metadata.get(kind), **options)
    except OSError as error:
        raise BenchmarkError(f"Cannot write {path}: {error.strerror or error}.") from error


def save_image(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB as JPEG or PNG, by the suffix.

    Raises:
        BenchmarkError: the file cannot be written.
    """
    from PIL import Image

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **(JPEG if path.suffix == ".jpg" else {}))
    except OSError as error:
        raise BenchmarkError(f"Cannot write {path}: {error.strerror or error}.") from error
