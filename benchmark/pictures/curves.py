"""Precision-recall and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmark.pictures.colours import LINES
from benchmark.pictures.files import literal, new_figure, save_figure

DASHES = ("-", "--", "-.", ":")
SIZE = (10, 4.4)
_PATCH = {"facecolor": "white", "alpha": 0.8, "pad": 1, "linewidth": 0}


def curves(
    named: Mapping[str, Mapping[str, np.ndarray]], path: Path, prevalence: float | None = None, width: int = 1600
) -> None:
    """Write precision-recall and ROC curves side by side.

    Args:
        named: method title -> "recall", "precision" (of equal length), "fpr" and "tpr" (of equal length), in 0..1.
        path: a .png, .jpg, .svg or .pdf.
        prevalence: fraction of anomalous pixels: the precision of a constant score, drawn as a line.
        width: of the picture in pixels.
    """
    figure = new_figure(SIZE, width / SIZE[0], layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, curve) in enumerate(named.items()):
        # Colours repeat after eight methods, the dashes then tell them apart.
        style = {"color": LINES[number % len(LINES)], "linestyle": DASHES[number // len(LINES) % len(DASHES)]}
        left.plot(
            curve["recall"], curve["precision"], linewidth=1.6, label=literal(name), drawstyle="steps-pre", **style
        )
        right.plot(curve["fpr"], curve["tpr"], linewidth=1.6, label=literal(name), **style)
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
    save_figure(figure, path)
