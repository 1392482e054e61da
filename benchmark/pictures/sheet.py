"""Contact sheets: images in lines, what the network and the methods say of them in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill

import numpy as np

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError
from benchmark.pictures.colours import ANOMALY_RGB, HEAT, IGNORE_RGB, colour, colour_limits
from benchmark.pictures.files import literal, new_figure, save_figure

INCHES = 11.0
"""Width of a sheet. A page shows it about 900 pixels wide, so that a text of 9 points gets 10 pixels."""
NARROWEST = 1.5
"""Inches of a column; with many methods the sheet grows."""
MARGIN, GAP = 0.06, 0.04
TITLE, SMALL, TINY = 9.5, 8.0, 7.0
"""Points."""
GREY = "0.35"
KNOWN_RGB = (150, 150, 150)


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One image of a contact sheet.

    Attributes:
        title: printed in it.
        image: uint8 (H, W, 3) RGB.
        labels: uint8 (H, W): known classes, 254 anomaly, 255 ignore.
        prediction: integer (H, W), known classes.
        scores: method title -> float (H, W), higher = more anomalous; the same titles in every row.
        remarks: method title -> a few words printed in its heat map.
    """

    title: str
    image: np.ndarray
    labels: np.ndarray
    prediction: np.ndarray
    scores: Mapping[str, np.ndarray]
    remarks: Mapping[str, str] = field(default_factory=dict)


def contact_sheet(
    rows: Sequence[SheetRow],
    path: Path,
    palette: Sequence[Sequence[int]],
    captions: Mapping[str, str] | None = None,
    *,
    classes: Sequence[str] = (),
    class_labels: bool = True,
    note: str = "",
    width: int = 1600,
) -> None:
    """Write a sheet: per image a line with image, label, segmentation and one heat map per method.

    The colours of a method's maps mean the same in all its images (:func:`benchmark.pictures.colour_limits`); those of
    different methods do not compare, as their scores have different units. The anomalies are outlined.

    Args:
        rows: at least one.
        path: a .png, .jpg, .svg or .pdf; the pictures within stay pixels.
        palette: RGB per known class.
        captions: method title -> a line below it, for instance its AUPR.
        classes: names of the known classes, for a legend.
        class_labels: whether the labels tell the known classes apart; else label 0 is drawn as "known".
        note: printed below everything.
        width: of the picture in pixels.
    Raises:
        BenchmarkError: no rows, or rows that differ in their methods.
    """
    methods = list(rows[0].scores) if rows else []
    if not rows or any(list(row.scores) != methods for row in rows):
        raise BenchmarkError("A contact sheet needs at least one image, and the same methods for every image.")
    captions = captions or {}
    heads = ["Image", "Label", "Segmentation", *methods]
    page = _Page(
        sizes=[row.image.shape[:2] for row in rows],
        columns=len(heads),
        captions=any(captions.get(m) for m in methods),
        bar=bool(methods),
        legend=_legend(classes, palette, class_labels, any((row.labels == IGNORE).any() for row in rows)),
        note=note,
    )
    figure = new_figure((page.width, page.height), width / page.width)
    limits = {m: colour_limits([row.scores[m] for row in rows]) for m in methods}
    for column, head in enumerate(heads):
        x = page.left(column) + page.cell / 2
        _text(figure, page, x, page.height - MARGIN, head, TITLE, ha="center", va="top")
        y, below = page.height - MARGIN - 0.18, captions.get(head, "")
        _text(figure, page, x, y, below, SMALL, ha="center", va="top", color=GREY)
        for number, row in enumerate(rows):
            axes = figure.add_axes(page.box(number, column))
            axes.set_axis_off()
            if column < 3:
                _show(axes, row, column, palette, class_labels)
            else:
                low, high = limits[head]
                # Clipped first, since a smaller picture averages its pixels and a single infinite one would spread.
                shown = np.clip(np.asarray(row.scores[head], np.float64), low, high)
                axes.imshow(shown, cmap=HEAT, vmin=low, vmax=high)
                _outline(axes, row.labels)
            _inscribe(axes, row.title if column == 0 else row.remarks.get(head, ""))
    _foot(figure, page)
    save_figure(figure, path)


class _Page:
    """Where everything is, in inches from the lower left corner."""

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        columns: int,
        captions: bool,
        bar: bool,
        legend: Sequence[tuple[str, Sequence[int]]],
        note: str,
    ) -> None:
        self.columns = columns
        self.width = max(INCHES, columns * NARROWEST)
        self.cell = (self.width - 2 * MARGIN - (columns - 1) * GAP) / columns
        self.note = fill(note, int(self.width * 17))
        self.legend = _flow(legend, self.width - 2 * MARGIN)
        self.legend_foot = MARGIN + 0.16 * len(self.note.splitlines()) + (0.04 if note else 0)
        self.bar_foot = self.legend_foot + 0.2 * len(self.legend)
        foot = self.bar_foot + (0.36 if bar else 0)
        heights = [self.cell * height / width for height, width in sizes]
        above = MARGIN + (0.36 if captions else 0.2)
        self.height = foot + sum(heights) + GAP * (len(sizes) - 1) + above
        tops = self.height - above - np.cumsum([0, *heights[:-1]]) - GAP * np.arange(len(sizes))
        self._lines = list(zip(tops, heights))

    def left(self, column: int) -> float:
        """The left end of a column."""
        return MARGIN + column * (self.cell + GAP)

    def box(self, line: int, column: int) -> tuple[float, float, float, float]:
        """Place of a picture as matplotlib wants it: left, bottom, width and height in fractions of the page."""
        top, height = self._lines[line]
        return self.fractions(self.left(column), top - height, self.cell, height)

    def fractions(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Inches to fractions of the page."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height


def _legend(
    classes: Sequence[str], palette: Sequence[Sequence[int]], class_labels: bool, ignored: bool
) -> list[tuple[str, Sequence[int]]]:
    """Names and colours."""
    known = list(zip(classes, palette))
    if known and not class_labels:
        known.append(("known (label)", KNOWN_RGB))
    unknown = [("anomaly", ANOMALY_RGB), ("ignored", IGNORE_RGB)]
    return [*known, *unknown[: 1 + ignored]] if known else []


def _flow(entries: Sequence[tuple[str, Sequence[int]]], width: float) -> list[list[tuple[float, str, Sequence[int]]]]:
    """Lines of legend entries with the place of each."""
    lines: list[list[tuple[float, str, Sequence[int]]]] = []
    x = width
    for name, rgb in entries:
        needed = 0.36 + 0.06 * len(name)
        if x + needed > width:
            lines.append([])
            x = 0.0
        lines[-1].append((x, name, rgb))
        x += needed
    return lines


def _text(figure, page: _Page, x: float, y: float, text: str, size: float, **style) -> None:
    figure.text(x / page.width, y / page.height, literal(text), fontsize=size, **style)


def _show(axes, row: SheetRow, column: int, palette: Sequence[Sequence[int]], class_labels: bool) -> None:
    if column == 0:
        axes.imshow(row.image)
        return
    if column == 2:
        axes.imshow(colour(row.prediction, palette))
        return
    shown = colour(row.labels, palette if class_labels else [KNOWN_RGB])
    # Known classes are paler, so that small anomalies are seen.
    known = (row.labels < ANOMALY)[..., None]
    axes.imshow(np.where(known, shown.astype(int) * 3 // 4 + 60, shown).astype(np.uint8))


def _outline(axes, labels: np.ndarray) -> None:
    anomalous = labels == ANOMALY
    if anomalous.any() and not anomalous.all():
        axes.contour(anomalous, levels=[0.5], colors=["#ff3c00"], linewidths=0.6)


def _inscribe(axes, text: str) -> None:
    if text:
        patch = {"facecolor": "black", "alpha": 0.55, "pad": 1.5, "linewidth": 0}
        place = {"xy": (0, 0), "xycoords": "axes fraction", "xytext": (3, 3.5), "textcoords": "offset points"}
        axes.annotate(literal(text), **place, fontsize=TINY, color="white", bbox=patch)


def _foot(figure, page: _Page) -> None:
    """Colour bar, legend and the page's note."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.patches import Rectangle

    if page.columns > 3:
        left, right = page.left(3), page.width - MARGIN
        bar = figure.add_axes(page.fractions(left, page.bar_foot + 0.19, right - left, 0.07))
        drawn = figure.colorbar(ScalarMappable(cmap=HEAT), cax=bar, orientation="horizontal", ticks=[])
        drawn.outline.set_visible(False)
        for x, side, word in ((left, "left", "normal"), (right, "right", "anomalous")):
            _text(figure, page, x, page.bar_foot + 0.15, word, SMALL, ha=side, va="top")
    for number, line in enumerate(reversed(page.legend)):
        y = page.legend_foot + 0.2 * number
        for x, name, rgb in line:
            place = page.fractions(MARGIN + x, y + 0.03, 0.15, 0.1)
            figure.add_artist(Rectangle(place[:2], *place[2:], facecolor=np.divide(rgb, 255), edgecolor="none"))
            _text(figure, page, MARGIN + x + 0.2, y + 0.035, name, SMALL, va="baseline")
    _text(figure, page, MARGIN, MARGIN, page.note, SMALL, va="bottom", color=GREY, linespacing=1.3)
