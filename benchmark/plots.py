"""Pictures: contact sheets of score maps, and precision-recall and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")
"""Line colours that the common kinds of colour blindness keep apart (Okabe and Ito, 2008, yellow replaced)."""
DASHES = ("-", "--", "-.", ":")
_PATCH = {"facecolor": "white", "alpha": 0.8, "pad": 1, "linewidth": 0}
HEAT = "cividis"
"""Perceptually uniform, the same with and without colour blindness, readable in grey."""
ANOMALY_RGB = (255, 60, 0)
IGNORE_RGB = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One image of a contact sheet.

    Attributes:
        title: printed beside it.
        image: uint8 (H, W, 3) RGB.
        labels: uint8 (H, W): known classes, 254 anomaly, 255 ignore.
        prediction: integer (H, W), known classes.
        scores: method title -> float (H, W), higher = more anomalous; the same titles in every row.
    """

    title: str
    image: np.ndarray
    labels: np.ndarray
    prediction: np.ndarray
    scores: Mapping[str, np.ndarray]


def contact_sheet(
    rows: Sequence[SheetRow],
    path: Path,
    palette: Sequence[Sequence[int]],
    captions: Mapping[str, str] | None = None,
    width: float = 2.4,
) -> None:
    """Write a sheet: per image a line with image, label, segmentation and one heat map per method.

    The colours of a method's maps mean the same in all its images: they run from its 1st to its 99.8th percentile
    over the sheet, so that neither a single pixel nor a single image sets the scale.

    Args:
        rows: at least one.
        path: a .png (or whatever matplotlib writes by that suffix).
        palette: RGB per known class.
        captions: method title -> a line below it, for instance its AUPR.
        width: of one picture in inches.
    Raises:
        BenchmarkError: no rows, or rows that differ in their methods.
    """
    methods = list(rows[0].scores) if rows else []
    if not rows or any(list(row.scores) != methods for row in rows):
        raise BenchmarkError("A contact sheet needs at least one image, and the same methods for every image.")
    figure_class, canvas = _matplotlib()
    height, breadth = rows[0].image.shape[:2]
    columns = 3 + len(methods)
    line = width * height / breadth
    top, bottom = 0.5, 0.42
    size = (columns * width, len(rows) * line + top + bottom)
    figure = figure_class(figsize=size, dpi=160)
    canvas(figure)
    grid = figure.add_gridspec(
        len(rows),
        columns,
        left=0.004,
        right=0.996,
        top=1 - top / size[1],
        bottom=bottom / size[1],
        wspace=0.025,
        hspace=0.025 * breadth / height,
    )
    limits = {m: _limits([row.scores[m] for row in rows]) for m in methods}
    heads = ["Image", "Label (anomaly in red)", "Segmentation", *methods]
    for number, row in enumerate(rows):
        maps = [row.image, _mark(row, palette), colour(row.prediction, palette)]
        for column, head in enumerate(heads):
            axes = figure.add_subplot(grid[number, column])
            axes.set_axis_off()
            if column < 3:
                axes.imshow(maps[column], interpolation="nearest")
            else:
                low, high = limits[head]
                # Clipped first, since a smaller picture averages its pixels and a single infinite one would spread.
                shown = np.clip(np.asarray(row.scores[head], np.float64), low, high)
                axes.imshow(shown, cmap=HEAT, vmin=low, vmax=high)
                _outline(axes, row.labels)
            if number == 0:
                below = (captions or {}).get(head, "")
                axes.set_title(head + (f"\n{below}" if below else ""), fontsize=9, pad=4)
            if column == 0:
                axes.text(
                    0.015, 0.03, row.title, transform=axes.transAxes, fontsize=7, color="white",
                    bbox={"facecolor": "black", "alpha": 0.55, "pad": 1.5, "linewidth": 0},
                )  # fmt: skip
    if methods:
        _scale(figure, columns, bottom / size[1])
    _save(figure, path)


def colour(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Labels as RGB (H, W, 3) uint8: the palette for known classes, red for anomalies, black for ignored pixels."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8).reshape(-1, 3)
    table[ANOMALY], table[IGNORE] = ANOMALY_RGB, IGNORE_RGB
    return table[np.asarray(labels).astype(np.uint8)]


def _mark(row: SheetRow, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """The label map, paler where it is not anomalous, so that small anomalies are seen."""
    shown = colour(row.labels, palette)
    known = (row.labels != ANOMALY)[..., None]
    return np.where(known, shown // 2 + 120, shown).astype(np.uint8)


def _outline(axes, labels: np.ndarray) -> None:
    anomalous = labels == ANOMALY
    if anomalous.any() and not anomalous.all():
        axes.contour(anomalous, levels=[0.5], colors=["#ff5a36"], linewidths=0.6)


def _limits(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([m[np.isfinite(m)].ravel() for m in maps])
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [1, 99.8])
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1)


def _scale(figure, columns: int, room: float) -> None:
    from matplotlib.cm import ScalarMappable

    bar = figure.add_axes((3 / columns + 0.01, room * 0.5, 1 - 3 / columns - 0.02, room * 0.14))
    mapped = figure.colorbar(ScalarMappable(cmap=HEAT), cax=bar, orientation="horizontal", ticks=[0, 1])
    mapped.ax.set_xticklabels(["normal", "anomalous"], fontsize=8)
    mapped.ax.tick_params(length=0)
    for label, side in zip(mapped.ax.get_xticklabels(), ("left", "right")):
        label.set_horizontalalignment(side)
    mapped.outline.set_visible(False)


def curves(named: Mapping[str, Mapping[str, np.ndarray]], path: Path, prevalence: float | None = None) -> None:
    """Write precision-recall and ROC curves side by side.

    Args:
        named: method title -> "recall", "precision" (of equal length), "fpr" and "tpr" (of equal length), in 0..1.
        path: a .png (or .svg, .pdf).
        prevalence: fraction of anomalous pixels: the precision of a constant score, drawn as a line.
    """
    figure_class, canvas = _matplotlib()
    figure = figure_class(figsize=(10, 4.4), dpi=160, layout="constrained")
    canvas(figure)
    left, right = figure.subplots(1, 2)
    for number, (name, curve) in enumerate(named.items()):
        # Colours repeat after eight methods, the dashes then tell them apart.
        style = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}
        left.plot(curve["recall"], curve["precision"], linewidth=1.6, label=name, drawstyle="steps-pre", **style)
        right.plot(curve["fpr"], curve["tpr"], linewidth=1.6, label=name, **style)
    if prevalence is not None:
        left.axhline(prevalence, color="0.55", linewidth=0.9, linestyle=(0, (1, 2)), label="constant score")
    right.plot([0, 1], [0, 1], color="0.55", linewidth=0.9, linestyle=(0, (1, 2)))
    right.axhline(0.95, color="0.55", linewidth=0.9)
    right.text(
        0.99, 0.945, "95 % true-positive rate", ha="right", va="top", fontsize=8, color="0.4", zorder=3, bbox=_PATCH
    )
    left.set(xlabel="recall", ylabel="precision", title="Precision-recall, all pixels", xlim=(0, 1), ylim=(0, 1.01))
    right.set(
        xlabel="false-positive rate", ylabel="true-positive rate", title="ROC, all pixels", xlim=(0, 1), ylim=(0, 1.01)
    )
    for axes in (left, right):
        axes.grid(color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8.5)
    _save(figure, path)


def _matplotlib():
    """Figure and canvas without pyplot: no global state, no display, no windows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return Figure, FigureCanvasAgg


def _save(figure, path: Path) -> None:
    path = Path(path)
    # Neither version nor date is written, so that the same input gives the same bytes.
    nothing = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}, ".pdf": {"CreationDate": None}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata=nothing.get(path.suffix))
    except OSError as error:
        raise BenchmarkError(f"Cannot write {path}: {error.strerror or error}.") from error
