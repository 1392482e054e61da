"""Critical-difference diagrams of average ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from benchmark.leaderboard.ranks import Diagram
from benchmark.pictures.files import literal, new_figure, save_figure

AXIS = 3.4
"""Inches of the axis; the names beside it take what they need."""
LINE, BAR = 0.24, 0.1
"""Inches from one name, and from one bar, to the next."""
WRAP, CHARACTER, WRAPPED = 40, 0.066, 0.14
"""Characters in a line of a name, and inches of a character and of a further line."""
GREY = "0.45"


def critical_difference_diagram(diagram: Diagram, path: Path, width: int = 1600) -> None:
    """Draw average ranks on an axis, best to the left, with a bar below it for methods that are not told apart.

    After Demšar (JMLR 7, 2006). Behind a name stand the average rank and its interval over images.

    Args:
        diagram: what :func:`benchmark.leaderboard.ranks.ranks` found.
        path: a .pdf, .svg, .png or .jpg.
        width: of the picture in pixels.
    """
    count = len(diagram.names)
    bars = [group for group in diagram.groups if len(group) > 1]
    names = [fill(name, WRAP) for name in diagram.names]
    middle = (count + 1) // 2
    sides = list(range(middle)), list(range(count - 1, middle - 1, -1))  # each from above
    above, below = 0.75, 0.05 + BAR * len(bars)
    lows = [_heights(names, side, below) for side in sides]
    bottom = max(max(each, default=0.0) for each in lows) + (0.35 if diagram.note else 0.15)
    rooms = [0.3 + CHARACTER * max([18, *(len(line) for i in side for line in names[i].split("\n"))]) for side in sides]
    total = rooms[0] + AXIS + rooms[1]
    figure = new_figure((total, above + bottom), width / total)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, total), ylim=(-bottom, above))
    axes.set_axis_off()

    def x(rank: float) -> float:
        return rooms[0] + AXIS * (rank - 1) / (count - 1)

    axes.plot([x(1), x(count)], [0, 0], color="black", linewidth=1)
    for rank in _ticks(count):
        axes.plot([x(rank)] * 2, [0, 0.07], color="black", linewidth=1)
        axes.text(x(rank), 0.1, str(rank), ha="center", va="bottom", fontsize=8)
    words = f"average rank by {diagram.metric} over {diagram.places} places; 1 is best"
    axes.text(x((1 + count) / 2), above - 0.08, words, ha="center", va="top", fontsize=8.5)
    _ruler(axes, x(1), x(1 + diagram.difference), total - 0.1, diagram.difference)
    for number, group in enumerate(bars):
        y = -0.12 - BAR * number
        ends = [x(diagram.averages[group[0]]) - 0.03, x(diagram.averages[group[-1]]) + 0.03]
        axes.plot(ends, [y, y], color="black", linewidth=3, solid_capstyle="butt")
    for side, heights, end, sign, align in zip(sides, lows, (x(1), x(count)), (-1, 1), ("right", "left")):
        for i, height in zip(side, heights):
            start, stop = x(diagram.averages[i]), end + sign * 0.12
            axes.plot([start, start, stop], [0, -height, -height], color=GREY, linewidth=0.8)
            place = stop + sign * 0.05
            axes.text(place, 0.01 - height, literal(names[i]), ha=align, va="bottom", fontsize=8, multialignment=align)
            low, high = diagram.intervals[i]
            told = f"{diagram.averages[i]:.2f} [{low:.2f}, {high:.2f}]"
            axes.text(place, -0.005 - height, told, ha=align, va="top", fontsize=6, color=GREY)
    axes.text(total / 2, 0.08 - bottom, diagram.note, ha="center", va="bottom", fontsize=7, color=GREY)
    save_figure(figure, path)


def _heights(names: Sequence[str], side: Sequence[int], below: float) -> list[float]:
    """How far below the axis the line of every name of a side ends."""
    found, height = [], below
    for i in side:
        height += LINE + WRAPPED * names[i].count("\n")
        found.append(height)
    return found


def _ticks(count: int) -> list[int]:
    """About ten ranks, the first and the last among them."""
    step = max(1, round(count / 10))
    return [*(rank for rank in range(1, count, step) if count - rank >= step), count]


def _ruler(axes, start: float, stop: float, most: float, difference: float) -> None:
    """The critical difference as a length above the axis; one that leaves the picture has no end."""
    y = 0.42
    axes.plot([start, min(stop, most)], [y, y], color="black", linewidth=1)
    for end in (start, stop):
        if end <= most:
            axes.plot([end, end], [y - 0.04, y + 0.04], color="black", linewidth=1)
    axes.text(start - 0.06, y, f"CD = {difference:.2f}", ha="right", va="center", fontsize=8)
