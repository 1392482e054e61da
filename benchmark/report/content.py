"""What a report says of a results folder, as plain values that a template and its scripts show.

Numbers are those of the boards (:mod:`benchmark.leaderboard`), of the records, and of the rows and curves beside them;
what is computed from rows here, and nowhere stored, says so where it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import to_plain
from benchmark.io.names import file_name
from benchmark.leaderboard.board import Block, Board, boards
from benchmark.leaderboard.cells import Cell
from benchmark.leaderboard.formats import columns, sections
from benchmark.leaderboard.wording import METRIC_TITLES, NOTHING
from benchmark.records.published import Published, PublishedRow, read_published
from benchmark.records.record import Record, read_all
from benchmark.report import views

KINDS = {
    "Post-hoc": "nothing to fit",
    "Fitted": "statistics of the training images",
    "Trained": "a module or networks of their own",
    "Outlier exposure": "saw outliers in training",
    "Score maps": "made elsewhere",
    "Published": "not measured here",
}
"""Kinds of methods, told by what their records state, in words."""
TOP = 3
"""Rows of a board in the overview."""


@dataclass(frozen=True)
class Row:
    """A method of a board, one line of its table.

    Attributes:
        label: of the method; empty where no method here has published its numbers.
        title: as printed.
        kind: a key of :data:`KINDS`.
        cells: as printed, by the order of the columns.
        values: numbers to sort by in the same order, None where there are none; text for the first column.
        records: names of the records behind it, a seed each.
    """

    label: str
    title: str
    kind: str
    cells: list[Cell]
    values: list[Any]
    records: list[str]


@dataclass(frozen=True)
class Place:
    """A dataset and a network: what the page shows at a time.

    Attributes:
        name: in addresses within the page.
        board: of the dataset.
        block: of the network.
        heads: group and title of every column, with its key.
        sections: heading and rows; methods that saw outliers stand apart.
        views: what the tabs beside the table show, by their names; those without anything are left out.
        remarks: what could not be shown, and why.
    """

    name: str
    board: Board
    block: Block
    heads: list[tuple[str, str, str]]
    sections: list[tuple[str, list[Row]]]
    views: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """Of all sections."""
        return [row for _, rows in self.sections for row in rows]

    @property
    def top(self) -> list[tuple[str, str]]:
        """Title and AUPR of the best rows that saw no outliers, as printed; of the others where there are none."""
        keys = [key for _, _, key in self.heads]
        number = next((keys.index(key) for key in ("measured.aupr", "published.aupr") if key in keys), None)
        rows = self.sections[0][1] if self.sections and number is not None else []
        known = [row for row in rows if row.values[number] is not None]
        best = sorted(known, key=lambda row: -row.values[number])[:TOP]
        return [(row.title, row.cells[number].text) for row in best]

    @property
    def timing(self) -> list[str]:
        """What the setting says of the machine and of its times."""
        return [phrase for phrase in self.block.setting if phrase.startswith(("timed", "times"))]


@dataclass(frozen=True)
class Content:
    """A whole report.

    Attributes:
        places: what was measured, then what was published only.
        records: name -> record as plain values, with the path of its file below the results folder as "path".
        problems: a sentence for each file that is no record.
    """

    places: list[Place]
    records: dict[str, dict[str, Any]]
    problems: list[str]


def content(results: Path, root: Path, drawn: int) -> Content:
    """Read a results folder.

    Args:
        results: folder with records/, published/ or both, and scores/ where ``infer`` wrote score maps.
        root: the data root, for the images of heat maps.
        drawn: images of a board that have heat maps, where there are score maps.
    Raises:
        BenchmarkError: it holds neither a record nor a published number.
    """
    results = Path(results)
    records, problems = read_all(results)
    records = [record for record in records if not record.dataset.control]
    published = read_published(results, {record.dataset.name for record in records})
    found = [
        _place(results, board, block, [r for r in records if _belongs(r, board, block)], published, root, drawn)
        for board in boards(records, published)
        for block in board.blocks
    ]
    if not found:
        raise BenchmarkError(
            f"{results} holds no record and no published number; measure with 'run', or name another folder with "
            f"--results."
        )
    found.sort(key=lambda place: (not place.block.network, bool(place.board.note)))
    shown = {name for place in found for row in place.rows for name in row.records}
    kept = {name_of(r): to_plain(r) | {"path": r.path(results).relative_to(results).as_posix()} for r in records}
    return Content(found, {name: plain for name, plain in kept.items() if name in shown}, problems)


def name_of(record: Record) -> str:
    """What the page calls a record."""
    return record.path(Path()).relative_to("records").with_suffix("").as_posix()


def _belongs(record: Record, board: Board, block: Block) -> bool:
    return record.dataset.whole and record.dataset.name == board.name and record.network.label == block.network


def _place(
    results: Path,
    board: Board,
    block: Block,
    records: Sequence[Record],
    published: Published,
    root: Path,
    drawn: int,
) -> Place:
    by_label: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: r.network.seed):
        by_label.setdefault(record.method.label, []).append(record)
    heads = [(column.group, column.title, column.key) for column in columns(block, compact=not block.network)]
    keys = [key for _, _, key in heads]
    made = _sections(block, keys, by_label)
    titles = {row.label: row.title for _, rows in made for row in rows if row.records}
    ordered = {label: by_label[label] for label in titles}
    shown, remarks = views.all_of(results, block, ordered, root, drawn)
    beside: dict[str, list[dict[str, Any]]] = {}
    for row in published.rows.get(board.name, []):
        if row.comparable:
            beside.setdefault(row.method, []).append(_source(row))
    shown["rows"] = [_row_values(row, keys, beside) for _, rows in made for row in rows]
    name = "/".join(filter(None, (file_name(board.name), file_name(block.network) if block.network else "")))
    return Place(name, board, block, heads, made, shown, remarks)


def _sections(block: Block, keys: Sequence[str], records: Mapping[str, list[Record]]) -> list[tuple[str, list[Row]]]:
    """The rows of a block as printed; its table holds them in the same order."""
    made = []
    labels, titles = iter(block.table["method"]), iter(block.table["title"])
    numbers = {key: iter(_numbers(block, key)) for key in keys}
    for heading, cells in sections(block, compact=not block.network):
        rows = []
        for texts in cells.itertuples(index=False, name=None):
            label, title = next(labels), next(titles)
            behind = records.get(label, [])
            values = [next(numbers[key]) for key in keys]
            rows.append(Row(label, title, kind(behind), list(texts), values, [name_of(r) for r in behind]))
        made.append((heading, rows))
    return made


def _numbers(block: Block, key: str) -> list[Any]:
    table = block.table
    if key == "title":
        return [title.casefold() for title in table["title"]]
    column = table["network_ms"].fillna(0) + table["method_ms"] if key == "cost" else table[key]
    return [round(float(value), 6) if isfinite(value) else None for value in column]


def kind(records: Sequence[Record]) -> str:
    """The kind of a method by what its records state."""
    if not records:
        return "Published"
    record = records[-1]
    if record.method.auxiliary_data:
        return "Outlier exposure"
    if record.external:
        return "Score maps"
    if any(other.trained for other in record.other_networks.values()) or (record.method.fit or {}).get("recipe"):
        return "Trained"
    return "Fitted" if record.method.fit_key else "Post-hoc"


def _row_values(row: Row, keys: Sequence[str], beside: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A row for the scripts of the page."""
    return {
        "label": row.label,
        "title": row.title,
        "kind": row.kind,
        "records": row.records,
        "published": beside.get(row.label, []),
        "texts": {key: [cell.text, cell.small] for key, cell in zip(keys, row.cells, strict=True)},
        "values": dict(zip(keys, row.values, strict=True)),
    }


def _source(row: PublishedRow) -> dict[str, Any]:
    """Where a published number comes from."""
    return {
        "source": row.source + " (quoted there from others)" * row.second_hand,
        "protocol": row.protocol or NOTHING,
        "title": row.title,
        "note": row.note,
        **{title: getattr(row, metric) for metric, title in METRIC_TITLES.items()},
    }
