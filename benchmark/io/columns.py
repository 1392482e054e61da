"""Tables of text that are as wide as a line may be."""

from __future__ import annotations

from collections.abc import Sequence

NARROWEST = 10
"""Characters that a column is not wrapped below."""


def fitted(rows: Sequence[Sequence[str]], heads: Sequence[str], width: int) -> str:
    """A table whose widest columns are wrapped, all to one width; the first one, of names, never is.

    Args:
        rows: cells; one may have several lines.
        heads: titles of the columns; none for a table without.
        width: characters of a line.
    """
    from tabulate import tabulate

    cells = [[f"{head}  " for head in heads], *rows] if heads else rows  # tabulate keeps two characters beside a head
    widths = [max(len(line) for cell in column for line in (cell.splitlines() or [""])) for column in zip(*cells)]
    room = width - 2 * (len(widths) - 1) - widths[0]
    bound = max(NARROWEST, *widths[1:])
    while bound > NARROWEST and sum(min(each, bound) for each in widths[1:]) > room:
        bound -= 1
    bounds = [None, *(bound if each > bound else None for each in widths[1:])]
    form = "simple" if heads else "plain"
    return tabulate(rows, headers=heads, tablefmt=form, maxcolwidths=bounds, disable_numparse=True)
