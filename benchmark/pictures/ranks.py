"""Critical-difference diagrams of average ranks."""

from __future__ import annotations

from pathlib import Path

from benchmark.leaderboard.ranks import Diagram
from benchmark.pictures.files import new_figure, save_figure

WIDTH = 7.2
"""Inches, of which the axis has the middle half."""
LINE, BAR = 0.24, 0.1
"""Inches from one name, and from one bar, to the next."""
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
    left = (count + 1) // 2  # methods on the left side
    above, below = 0.75, 0.25 + BAR * len(bars)
    height = above + below + LINE * left + 0.1
    figure = new_figure((WIDTH, height), width / WIDTH)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(-(below + LINE * left + 0.1), above))
    axes.set_axis_off()

    def x(rank: float) -> float:
        return WIDTH * (0.29 + 0.42 * (rank - 1) / (count - 1))

    axes.plot([x(1), x(count)], [0, 0], color="black", linewidth=1)
    for rank in range(1, count + 1, max(1, count // 10)):
        axes.plot([x(rank)] * 2, [0, 0.07], color="black", linewidth=1)
        axes.text(x(rank), 0.1, str(rank), ha="center", va="bottom", fontsize=8)
    words = f"average rank by {diagram.metric} over {diagram.places} places; 1 is best"
    axes.text(x((1 + count) / 2), above - 0.08, words, ha="center", va="top", fontsize=8.5)
    _ruler(axes, x(1), x(1 + diagram.difference) - x(1), diagram.difference, 0.42)
    for number, group in enumerate(bars):
        y = -0.12 - BAR * number
        ends = [x(diagram.averages[group[0]]) - 0.03, x(diagram.averages[group[-1]]) + 0.03]
        axes.plot(ends, [y, y], color="black", linewidth=3, solid_capstyle="butt", gid=f"alike-{number}")
    for place, (name, average, (low, high)) in enumerate(zip(diagram.names, diagram.averages, diagram.intervals)):
        on_left = place < left
        line = place if on_left else count - 1 - place
        y, end = -(below + LINE * line), x(1) - 0.12 if on_left else x(count) + 0.12
        axes.plot([x(average), x(average), end], [0, y, y], color=GREY, linewidth=0.8)
        side = "right" if on_left else "left"
        shift = -0.05 if on_left else 0.05
        axes.text(end + shift, y + 0.01, _short(name), ha=side, va="bottom", fontsize=8)
        interval = f"{average:.2f} [{low:.2f}, {high:.2f}]"
        axes.text(end + shift, y - 0.005, interval, ha=side, va="top", fontsize=6, color=GREY)
    save_figure(figure, path)


def _ruler(axes, start: float, length: float, difference: float, y: float) -> None:
    """The critical difference as a length, above the axis; without ticks where it is longer than that."""
    shown = min(length, WIDTH - start - 0.1)
    axes.plot([start, start + shown], [y, y], color="black", linewidth=1)
    for end in (start, start + length):
        if end <= WIDTH - 0.1:
            axes.plot([end, end], [y - 0.04, y + 0.04], color="black", linewidth=1)
    axes.text(start - 0.06, y, f"CD = {difference:.2f}", ha="right", va="center", fontsize=8)


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
