"""A board as Markdown, CSV, LaTeX, HTML and as text for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.leaderboard.board import Block, Board, Row, Value
from benchmark.leaderboard.wording import percent
from benchmark.records.record import METRICS

NAMES = {"auroc": "AUROC", "aupr": "AUPR", "fpr95": "FPR95"}
SHOWN = ("aupr", "fpr95", "auroc")
GROUPS = {"published": "published", "measured": "per image", "difference": "difference", "pooled": "pooled"}
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A column of a printed table."""

    key: str  # of Row.values, or "method", "cost", "seeds"
    group: str  # heading over several columns, or ""
    title: str
    better: int = 0  # 1: larger is better, -1: smaller is better, 0: no best value


@dataclass(frozen=True)
class Cell:
    """What stands in a table: the value and, small behind it, its interval."""

    main: str
    small: str = ""
    best: bool = False


def columns(block: Block, compact: bool = False) -> list[Column]:
    """The columns of a block, published ones only where something is published; `compact` shows the most telling."""
    groups = ["published", "measured", "difference", "pooled"] if block.published else ["measured", "pooled"]
    if compact:
        groups = [g for g in groups if g != "difference"]
    found = [Column("method", "", "Method")]
    for group in groups:
        better = {"aupr": 1, "fpr95": -1, "auroc": 1} if group != "difference" else {}
        shown = ("aupr",) if compact and group == "pooled" else SHOWN
        found += [Column(f"{group}.{m}", GROUPS[group], NAMES[m], better.get(m, 0)) for m in shown]
    if not compact:
        found.append(Column("miou", "network", "mIoU"))
    found.append(Column("cost", "ms/image", "net + method"))
    if any(row.seeds > 1 for row in (*block.rows, *block.auxiliary)) or not compact:
        found.append(Column("seeds", "", "Seeds"))
    return found


def cells(rows: Sequence[Row], shown: Sequence[Column]) -> list[list[Cell]]:
    """The rows as text; in each column of a quality the best of these rows is marked, equals together."""
    best = {c.key: _best(rows, c) for c in shown if c.better}
    return [[_cell(row, column, best.get(column.key)) for column in shown] for row in rows]


def _best(rows: Sequence[Row], column: Column) -> str | None:
    found = [row.values[column.key].mean for row in rows if column.key in row.values]
    if len(found) < 2:
        return None
    return percent(max(found) if column.better > 0 else min(found))


def _cell(row: Row, column: Column, best: str | None) -> Cell:
    if column.key == "method":
        return Cell(row.title)
    if column.key == "seeds":
        return Cell(str(row.seeds) if row.seeds else NOTHING)
    if column.key == "cost":
        both = [row.values.get(key) for key in ("network_ms", "method_ms")]
        return Cell(" + ".join(f"{v.mean:.1f}" if v else NOTHING for v in both) if any(both) else NOTHING)
    value = row.values.get(column.key)
    if value is None:
        first = f"measured.{SHOWN[0]}"
        return Cell(row.absent if row.absent and column.key == first else NOTHING)
    if column.group == GROUPS["difference"]:
        return Cell(f"{100 * value.mean:+.1f}".replace("-", "−"))
    return Cell(_with_std(value), _interval(value), percent(value.mean) == best)


def _with_std(value: Value) -> str:
    return percent(value.mean) + (f" ± {percent(value.std)}" if value.std is not None else "")


def _interval(value: Value) -> str:
    return "" if value.low is None or value.high is None else f"[{percent(value.low)}, {percent(value.high)}]"


def sections(block: Block) -> list[tuple[str, list[Row]]]:
    """The rows with the heading that they stand under; methods that saw outliers stand apart."""
    found = [("", block.rows), ("With outlier images in training", block.auxiliary)]
    return [(title, rows) for title, rows in found if rows]


def markdown(block: Block, compact: bool = False) -> str:
    """A pipe table; headings of groups stand in the column's title."""
    shown = columns(block, compact)
    heads = [_escape_markdown(f"{c.title}") + (f"<br>{c.group}" if c.group else "") for c in shown]
    lines = [_pipe(heads), _pipe([":--" if c.key == "method" else "--:" for c in shown])]
    for title, rows in sections(block):
        lines += [_pipe([f"*{title}*"] + [""] * (len(shown) - 1))] if title else []
        lines += [_pipe([_markdown_cell(c) for c in row]) for row in cells(rows, shown)]
    return "\n".join(lines)


def _markdown_cell(cell: Cell) -> str:
    main = _escape_markdown(cell.main)
    return (f"**{main}**" if cell.best else main) + (f" <sub>{cell.small}</sub>" if cell.small else "")


def _pipe(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"


FURTHER = ("Method", "Images", "AUPR", "FPR95", "AUROC", "Protocol", "Source")
"""Headings of the table of what was published on other images or by methods that are not here."""

FURTHER_TITLE = "Published elsewhere (* saw outlier images in training)"


def further(board: Board) -> list[list[str]]:
    """The rows of that table, as text."""
    rows = []
    for row in board.further:
        method = f"{row.title} ({row.backbone})" if row.backbone else row.title
        images = row.dataset.partition("(")[2].rstrip(")") or NOTHING
        numbers = [NOTHING if (v := getattr(row, m)) is None else percent(v) for m in SHOWN]
        source = row.source + (" (quoted there)" if row.second_hand else "")
        method += " *" if row.auxiliary_data else ""
        rows.append([method, images, *numbers, row.protocol, source])
    return rows


def markdown_further(board: Board) -> str:
    """The same as a pipe table; a star marks outlier images in training."""
    lines = [_pipe(FURTHER), _pipe([":--", ":--", "--:", "--:", "--:", ":--", ":--"])]
    return "\n".join(lines + [_pipe(map(_escape_markdown, row)) for row in further(board)])


def _escape_markdown(text: str) -> str:
    for character in "\\|*_<`":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")


def csv_text(board: Board) -> str:
    """Every number of a board, one line per row: metrics in percent, ``_std``, ``_low`` and ``_high`` where known."""
    keys = [f"{group}.{m}" for group in GROUPS for m in METRICS] + ["miou", "network_ms", "method_ms"]
    parts = ("", "_std", "_low", "_high")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["dataset", "network", "method", "title", "auxiliary_data", "seeds", *(k + p for k in keys for p in parts)]
    )
    for block in board.blocks:
        for row in (*block.rows, *block.auxiliary):
            numbers = [_numbers(row.values.get(key), 1 if key.endswith("_ms") else 100) for key in keys]
            fixed = [board.name, block.network, row.label, row.title, "yes" if row.auxiliary else "no", row.seeds]
            writer.writerow([*fixed, *(n for four in numbers for n in four)])
    return out.getvalue()


def _numbers(value: Value | None, factor: float) -> list[str]:
    if value is None:
        return [""] * 4
    four = (value.mean, value.std, value.low, value.high)
    return ["" if n is None else f"{n * factor:.4f}" for n in four]
