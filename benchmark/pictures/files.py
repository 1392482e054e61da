"""Figures without a display, and files that depend on nothing but the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.errors import BenchmarkError

JPEG = {"quality": 90, "subsampling": 0}
"""Thin coloured lines need all of their colour."""
VECTOR = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "benchmark"}
"""PDF embeds its fonts as TrueType, as publishers ask; SVG draws letters as paths, which look the same everywhere."""


def new_figure(size: tuple[float, float], dpi: float, **options):
    """A figure of `size` inches without pyplot: no global state, no display, no windows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=dpi, **options)
    FigureCanvasAgg(figure)
    return figure


def picture_kind(path: Path) -> str:
    """The format that the suffix of a figure names: "png", "pdf", ...

    Raises:
        BenchmarkError: no such format.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in FigureCanvasBase.get_supported_filetypes():
        raise BenchmarkError(f"{path} names no picture format; end it in .png, .jpg, .svg or .pdf.")
    return kind


def literal(text: str) -> str:
    """A text that Matplotlib prints as it is, without taking what stands between dollar signs for mathematics."""
    return text.replace("$", r"\$")


def save_figure(figure, path: Path) -> None:
    """Write a figure in the format that the suffix names: pixels, or vectors as :data:`VECTOR` says.

    Raises:
        BenchmarkError: no such format, or the file cannot be written.
    """
    from matplotlib import rc_context

    path = Path(path)
    kind = picture_kind(path)
    # Neither version nor date is written, so that the same input gives the same bytes.
    metadata = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    options = {"pil_kwargs": dict(JPEG)} if kind in ("jpg", "jpeg") else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with rc_context(VECTOR):
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
