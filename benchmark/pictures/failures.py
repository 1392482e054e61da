"""False alarms on wrongly against those on correctly classified pixels, a point per method."""

from __future__ import annotations

from pathlib import Path

from pandas import DataFrame

from benchmark.pictures.colours import LINES
from benchmark.pictures.files import literal, new_figure, save_figure

SIZE = (7.6, 4.6)
MARKS = ("o", "s", "^", "D", "v", "P")


def failure_split(table: DataFrame, path: Path, width: int = 1100) -> None:
    """Write the picture of a table of :func:`benchmark.leaderboard.failures.failures`.

    Both axes are logarithmic. On the diagonal a method raises as many false alarms where the network is right as where
    it errs; the further above, the more it is the network's failures that it finds.

    Args:
        table: what is drawn, a row per method.
        path: a .png, .jpg, .svg or .pdf.
        width: of the picture in pixels.
    """
    figure = new_figure(SIZE, width / SIZE[0], layout="constrained")
    axes = figure.subplots()
    known = table[(table["efpr"] > 0) & (table["cfpr"] > 0)]
    for number, row in enumerate(known.itertuples(index=False)):
        marker = MARKS[number // len(LINES) % len(MARKS)]
        axes.plot(row.cfpr, row.efpr, marker, color=LINES[number % len(LINES)], markersize=7, label=literal(row.title))
    low = min([*known["cfpr"], *known["efpr"], 10.0]) / 1.3
    axes.plot([low, 100], [low, 100], color="0.55", linewidth=0.9, linestyle=(0, (1, 2)), label="equal")
    axes.set(xscale="log", yscale="log", xlim=(low, 110), ylim=(low, 110))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("false alarms on correctly classified pixels, %")
    axes.set_ylabel("false alarms on wrongly classified pixels, %")
    axes.set_title("False-positive rate at 95 % true positives")
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(figure, path)
