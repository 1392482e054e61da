"""Published values that stand apart: of other images, or of methods that are not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from pandas import DataFrame

from benchmark.leaderboard.formats import BETTER, Cell, Format
from benchmark.leaderboard.wording import METRIC_TITLES, NOTHING, percent
from benchmark.records.published import PublishedRow
from benchmark.values import SYNTHETIC

TITLE = "Published elsewhere"
LONG = 12
"""Rows from which a table is folded, where a format can."""
_HEADINGS = {
    False: "Without outlier images in training",
    SYNTHETIC: "With invented outliers in training",
    True: "With outlier images in training",
    None: "Whether outlier images were used in training is not stated",
}
_VALUES = {**METRIC_TITLES, "miou": "mIoU", "siou": "sIoU", "ppv": "PPV", "mean_f1": "mean F1"}
_BEST = {**BETTER, "siou": max, "ppv": max, "mean_f1": max}


@dataclass(frozen=True)
class Further:
    """Rows of the same images and protocol, under headings that say whether outlier images were seen in training.

    Attributes:
        title: of the table, with the number of rows.
        remark: what is to be known of all of them.
        cells: a table of :class:`~benchmark.leaderboard.formats.Cell`, the best by AUPR first under each heading; the
            best value of a column is marked, equals together.
        rows: number of published rows.
    """

    title: str
    remark: str
    cells: DataFrame
    rows: int

    @property
    def folded(self) -> bool:
        """Whether it is long enough to be folded."""
        return self.rows > LONG

    def texts(self, form: Format) -> DataFrame:
        """The cells as a format writes them."""
        return self.cells.map(form.cell)


def further(rows: Sequence[PublishedRow]) -> list[Further]:
    """A table for each set of images and protocol, in the order of the files; columns without a value are left out."""
    places: dict[tuple[str, str], list[PublishedRow]] = {}
    for row in rows:
        places.setdefault((row.images, row.protocol), []).append(row)
    return [_table(*place, members) for place, members in places.items()]


def _table(images: str, protocol: str, rows: Sequence[PublishedRow]) -> Further:
    sources = list(dict.fromkeys(map(_source, rows)))
    kept = {name: title for name, title in _VALUES.items() if any(getattr(r, name) is not None for r in rows)}
    digits = {name: _digits([getattr(r, name) for r in rows]) for name in kept}
    found: list[dict[str, Cell]] = []
    # The sort is stable; nothing is said of whether outlier images were used where no row of the table used any.
    ordered = sorted(rows, key=lambda r: (list(_HEADINGS).index(r.auxiliary_data), -(r.aupr or 0.0), r.title))
    headed = any(row.auxiliary_data is not False for row in rows)
    for flag, members in groupby(ordered, key=lambda r: r.auxiliary_data):
        if headed:
            found.append({"Method": Cell(_HEADINGS[flag], kind="heading")})
        for row in members:
            cells = {"Method": Cell(f"{row.title} ({row.backbone})" if row.backbone else row.title)}
            cells |= {title: _value(row, name, rows, digits[name]) for name, title in kept.items()}
            if len(sources) > 1:
                cells["Source"] = Cell(_source(row))
            found.append(cells | {"Note": Cell(row.note or NOTHING)})
    table = DataFrame(found, dtype=object)
    table = table.where(table.notna(), Cell(""))
    if not any(row.note for row in rows):
        table = table.drop(columns="Note")
    words = [f"on {images}" if images else "", protocol, f"source: {sources[0]}" if len(sources) == 1 else ""]
    title = f"{'; '.join(filter(None, words))} ({len(rows)} row{'s' * (len(rows) > 1)})"
    apart = "These are not the images measured here: nothing in this table can be compared with a measured row."
    return Further(title[:1].upper() + title[1:], apart if images else "", table, len(rows))


def _source(row: PublishedRow) -> str:
    return row.source + " (quoted there)" * row.second_hand


def _value(row: PublishedRow, name: str, rows: Sequence[PublishedRow], digits: int) -> Cell:
    value, known = getattr(row, name), [v for r in rows if (v := getattr(r, name)) is not None]
    best = len(known) > 1 and name in _BEST and value == _BEST[name](known)
    return Cell(NOTHING if value is None else percent(value, digits), kind="best" if best else "")


def _digits(fractions: Sequence[float | None]) -> int:
    """Two digits behind the point where a source gives them, else one."""
    return 2 if any(abs(1000 * f - round(1000 * f)) > 1e-6 for f in fractions if f is not None) else 1
