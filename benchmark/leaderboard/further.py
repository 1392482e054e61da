"""Published values that stand apart: of other images, or of methods that are not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pandas import DataFrame

from benchmark.io.words import quantity
from benchmark.leaderboard.cells import HEADINGS, SAW, Cell, best, divided, headed
from benchmark.leaderboard.formats import Format
from benchmark.leaderboard.wording import METRIC_TITLES, NOTHING
from benchmark.records.published import PublishedRow

TITLE = "Published elsewhere"
LONG = 12
"""Rows from which a table is folded, where a format can."""
_HEADINGS = {**HEADINGS, False: "Without outlier images in training"}
"""Where there are rows of several kinds."""
_VALUES = {**METRIC_TITLES, "miou": "mIoU", "siou": "sIoU", "ppv": "PPV", "mean_f1": "mean F1"}


@dataclass(frozen=True)
class Further:
    """Rows of the same images and protocol, under headings that say whether outlier images were seen in training.

    Attributes:
        title: of the table, with the number of rows.
        remark: what is to be known of all of them.
        cells: a table of :class:`~benchmark.leaderboard.cells.Cell`, the best by AUPR first under each heading.
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
    ordered = sorted(rows, key=lambda r: (SAW.index(r.auxiliary_data), -(r.aupr or 0.0), r.title))
    saw = [row.auxiliary_data for row in ordered]
    cells = {"Method": [Cell(f"{row.title} ({row.backbone})" if row.backbone else row.title) for row in ordered]}
    for name, title in kept.items():
        values = [None if (value := getattr(row, name)) is None else 100 * value for row in ordered]
        chosen = best(values, name, saw, digits=digits[name])
        cells[title] = [_value(*pair, digits[name]) for pair in zip(values, chosen, strict=True)]
    if len(sources) > 1:
        cells["Source"] = [Cell(_source(row)) for row in ordered]
    if any(row.note for row in rows):
        cells["Note"] = [Cell(row.note or NOTHING) for row in ordered]
    # Nothing is said of whether outlier images were used where no row of the table used any.
    headings = HEADINGS if set(saw) == {False} else _HEADINGS
    table = headed(divided(DataFrame(cells, dtype=object), saw, headings))
    words = [f"on {images}" if images else "", protocol, f"source: {sources[0]}" if len(sources) == 1 else ""]
    title = f"{'; '.join(filter(None, words))} ({quantity(len(rows), 'row')})"
    apart = "These are not the images measured here: nothing in this table can be compared with a measured row."
    return Further(title[:1].upper() + title[1:], apart if images else "", table, len(rows))


def _source(row: PublishedRow) -> str:
    return row.source + " (quoted there)" * row.second_hand


def _value(percentage: float | None, is_best: bool, digits: int) -> Cell:
    return Cell(NOTHING if percentage is None else f"{percentage:.{digits}f}", kind="best" if is_best else "")


def _digits(fractions: Sequence[float | None]) -> int:
    """Two digits behind the point where a source gives them, else one."""
    return 2 if any(abs(1000 * f - round(1000 * f)) > 1e-6 for f in fractions if f is not None) else 1
