"""Cells of tables, the headings over their rows, and which values are the best: one rule for every table and format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import NamedTuple

from pandas import DataFrame, concat

from benchmark.values import SYNTHETIC, OutlierData

SAW: tuple[OutlierData | None, ...] = (False, SYNTHETIC, True, None)
"""What outliers a method may have seen in training, in the order of printing; None where its source does not say."""
HEADINGS: Mapping[OutlierData | None, str] = {
    False: "",
    SYNTHETIC: "With invented outliers in training",
    True: "With outlier images in training",
    None: "Whether outlier images were used in training is not stated",
}
"""Over the rows of methods, by what outliers they saw."""
BETTER: Mapping[str, Callable] = {
    **dict.fromkeys(("aupr", "auroc"), max),
    **dict.fromkeys(("siou", "ppv", "mean_f1", "f1", "open_miou", "mean_aupr", "ap", "ap50"), max),
    **dict.fromkeys(("fpr95", "mean_fpr95", "efpr", "cfpr"), min),
}
"""Metrics of which one value is better than another whatever stands beside it."""
BEST = "Bold is the best value of a column; methods that saw outliers in training are compared among themselves."
"""The rule of :func:`best` in words, below tables."""


class Cell(NamedTuple):
    """What stands at one place of a table."""

    text: str
    small: str = ""  # behind it: the interval
    kind: str = ""  # "best" of its column, "heading" over rows, or neither


def best(
    values: Sequence[float | None],
    metric: str,
    saw: Sequence[OutlierData | None],
    protocols: Sequence[str] = (),
    digits: int = 1,
) -> list[bool]:
    """Which values of a column are marked as the best.

    The best is that of the methods that saw the same kind of outliers in training, as printed, so that equals are
    marked together. Nothing is marked where there is nothing to be better than, where the values were measured under
    several protocols, or where a source does not say what outliers were seen.

    Args:
        values: of every row, None or NaN where there is none.
        metric: what they are of; of those that are no key of :data:`BETTER` none is the best.
        saw: what outliers each row's method saw.
        protocols: of every row, with versions; empty where all are measured under one.
        digits: behind the point, as printed.
    """
    marked = [False] * len(values)
    for flag in SAW[:-1]:
        rows = [i for i, v in enumerate(values) if saw[i] == flag and v is not None and not isnan(v)]
        if metric not in BETTER or len(rows) < 2 or len({protocols[i] for i in rows if protocols}) > 1:
            continue
        printed = {i: float(f"{values[i]:.{digits}f}") for i in rows}
        chosen = BETTER[metric](printed.values())
        for i, value in printed.items():
            marked[i] = value == chosen
    return marked


def divided(
    cells: DataFrame, saw: Sequence[OutlierData | None], headings: Mapping[OutlierData | None, str] = HEADINGS
) -> list[tuple[str, DataFrame]]:
    """Headings, that of the first rows mostly empty, each with its rows; methods that saw outliers stand apart."""
    places = {flag: [i for i, each in enumerate(saw) if each == flag] for flag in SAW}
    return [(headings[flag], cells.iloc[rows]) for flag, rows in places.items() if rows]


def headed(parts: Sequence[tuple[str, DataFrame]]) -> DataFrame:
    """The rows of :func:`divided` in one table of cells, below lines with their headings."""
    found = []
    for heading, cells in parts:
        if heading:
            line = [Cell(heading, kind="heading"), *[Cell("")] * (cells.shape[1] - 1)]
            found.append(DataFrame([dict(zip(cells, line))]))
        found.append(cells)
    return concat(found, ignore_index=True)
