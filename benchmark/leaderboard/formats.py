"""Tables in every format: which cells are printed, how a format escapes and marks them, and the library that sets them.

A block becomes a table of :class:`Cell`, each format makes texts of them, and tabulate (Markdown, terminals) or pandas
(LaTeX, HTML, CSV) does the rest. Whatever a title, note or label holds, it passes the format's ``escape``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from textwrap import wrap
from typing import NamedTuple

from pandas import DataFrame, MultiIndex, concat
from tabulate import tabulate

from benchmark.leaderboard.board import Block, Board
from benchmark.leaderboard.cells import BEST, Cell, best, divided, headed
from benchmark.leaderboard.protocols import Extra
from benchmark.leaderboard.wording import METRIC_TITLES, NOTHING, SAMPLED, UNITS, names
from benchmark.values import SYNTHETIC

GROUPS = {"published": "published", "measured": "per image", "difference": "difference", "pooled": "pooled"}
WORDS = (
    *("Method", "Source", "Note", "Training step", "image sizes", "Metric", "verdict", "Machine", "Part", "Found"),
    *("Change", "Protocol", "better than", "not told apart from", "no repetition in common with"),
)
"""Columns that are aligned to the left; all others hold numbers."""


WIDTH = 120
"""Characters of a terminal's line, into which tables fit where they can."""
NAME = 40
"""Characters from which a method's name is wrapped on a terminal."""


LEGEND = (
    f"{UNITS} “per image” is the mean over the images that hold an anomaly, “pooled” ranks all pixels of all images at "
    "once. [low, high] is the 95 % bootstrap interval over images; ± is the sample standard deviation over seeds, "
    "whose intervals' ends are averaged. “difference” is measured minus published, in percentage points. "
    f"{BEST} ms/image: networks (shared ones included) + the method's own computation."
)
"""Below every board."""


class Column(NamedTuple):
    """A column of a printed table."""

    key: str  # of the block's table, or "cost"
    group: str  # heading over several columns, or ""
    title: str


@dataclass(frozen=True)
class Format:
    """How a format writes a cell.

    Attributes:
        escape: text -> one line in which nothing is a command of the format.
        best, heading: a cell's escaped text in place of ``{}``.
        small: likewise what stands behind it.
    """

    escape: Callable[[str], str]
    best: str = "{}"
    heading: str = "{}"
    small: str = ""

    def cell(self, cell: Cell) -> str:
        """A cell as the format writes it."""
        around = {"best": self.best, "heading": self.heading}.get(cell.kind, "{}")
        return around.format(self.escape(cell.text)) + (self.small.format(cell.small) if cell.small else "")


def plain(text: str) -> str:
    """Text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


_TEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a row it would be an argument of the line break before it, as the star
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "−": "$-$",
    "–": "--",
}


def _escape_markdown(text: str) -> str:
    # At the start of a line a sign or a number with a dot would begin a list.
    escaped = re.sub(r"([\\`*_\[\]<>|~$]|^#|&(?=#?\w+;)|^[-+](?=\s|$))", r"\\\1", plain(text))
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)


def _escape_tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in plain(text))


def _escape_html(text: str) -> str:
    return html.escape(plain(text))


def _escape_csv(text: str) -> str:
    """Spreadsheets take a cell that begins like this for a formula."""
    return f"'{plain(text)}" if plain(text).startswith(("=", "+", "-", "@")) else plain(text)


TERMINAL = Format(plain)
MARKDOWN = Format(_escape_markdown, "**{}**", "*{}*", " <sub>{}</sub>")
LATEX = Format(_escape_tex, r"\textbf{{{}}}", r"\emph{{{}}}", r" {{\tiny {}}}")
HTML = Format(_escape_html, "<strong>{}</strong>", "<em>{}</em>", "<small>{}</small>")
CSV = Format(_escape_csv)


def columns(block: Block, compact: bool = False, pooled: Sequence[str] = ("aupr",)) -> list[Column]:
    """The columns of a block, published ones only where something is published; `compact` shows the most telling.

    Where nothing is measured, there are no columns that nothing could stand in.

    Of the pooled metrics these are the ones named in `pooled`.
    """
    groups = list(GROUPS) if block.published else ["measured", "pooled"]
    if not block.network:
        groups = ["published"]
    found = [Column("title", "", "Method")]
    for group in groups:
        if not (compact and group == "difference"):
            metrics = pooled if compact and group == "pooled" else METRIC_TITLES
            found += [Column(f"{group}.{metric}", GROUPS[group], METRIC_TITLES[metric]) for metric in metrics]
    if not block.network:  # one column is left, which says so
        return found if compact else [*found, Column("measured.aupr", GROUPS["measured"], METRIC_TITLES["aupr"])]
    if not compact:
        found.append(Column("miou", "network", "mIoU"))
    found.append(Column("cost", "ms/image", "net + method"))
    if not compact or (block.table["seeds"] > 1).any():
        found.append(Column("seeds", "", "Seeds"))
    return found


def sections(
    block: Block, compact: bool = False, shown: Collection[str] | None = None, pooled: Sequence[str] = ("aupr",)
) -> list[tuple[str, DataFrame]]:
    """Headings, the first of which is empty, each with its rows; methods that saw outliers stand apart.

    Args:
        block: a table.
        compact: with the most telling columns only.
        shown: with the rows of these methods only.
        pooled: the pooled metrics where it is compact.
    Returns:
        Tables of :class:`~benchmark.leaderboard.cells.Cell`, whose columns are pairs of group and title. The best of a
        column is that of all rows under a heading, whether it is shown or not.
    """
    table = block.table
    cells = DataFrame({(c.group, c.title): _cells(table, c, block.absent) for c in columns(block, compact, pooled)})
    kept = table["method"].isin(table["method"] if shown is None else shown).to_numpy()
    return divided(cells[kept], list(table["auxiliary_data"][kept]))


def _cells(rows: DataFrame, column: Column, absent: str) -> list[Cell]:
    if column.key == "title":
        return [Cell(name) for name in names(rows["method"], rows["title"], rows["external"])]
    if column.key == "seeds":
        return [Cell(str(seeds or NOTHING)) for seeds in rows["seeds"]]
    if column.key == "cost":
        both = [(_number(network), _number(method)) for network, method in zip(rows["network_ms"], rows["method_ms"])]
        return [
            Cell(NOTHING if one == other == NOTHING else f"{one} + {other} {mark}".strip())
            for (one, other), mark in zip(both, rows["timed"])
        ]
    if column.group == GROUPS["difference"]:
        return [Cell(_number(value, "+.1f").replace("-", "−")) for value in rows[column.key]]
    group, _, metric = column.key.rpartition(".")
    under = list(rows[f"{group}.protocol"]) if group else []
    chosen = best(list(rows[column.key]), metric, list(rows["auxiliary_data"]), under)
    parts = rows[[column.key + part for part in ("", "_std", "_low", "_high")]].itertuples(index=False)
    cells = [_value_cell(*numbers, best=each) for numbers, each in zip(parts, chosen, strict=True)]
    if column.group == GROUPS["pooled"]:
        uncertain = [metric in sampled.split() for sampled in rows["sampled"]]
        cells = [c._replace(text=f"{SAMPLED} {c.text}") if u else c for c, u in zip(cells, uncertain, strict=True)]
    if column.key == "measured.aupr" and absent:
        cells = [cell if seeds else Cell(absent) for cell, seeds in zip(cells, rows["seeds"])]
    return cells


def _value_cell(mean: float, std: float, low: float, high: float, *, best: bool) -> Cell:
    text = _number(mean) + ("" if isnan(std) else f" ± {_number(std)}")
    interval = "" if isnan(low) or isnan(high) else f"[{_number(low)}, {_number(high)}]"
    return Cell(text, interval, "best" if best else "")


def _number(value: float, form: str = ".1f") -> str:
    return NOTHING if isnan(value) else format(value, form)


def block_texts(block: Block, form: Format, compact: bool = False, shown: Collection[str] | None = None) -> DataFrame:
    """The rows of a block as a format writes them, under their headings; arguments as for :func:`sections`."""
    return headed(sections(block, compact, shown)).map(form.cell)


def _heads(texts: DataFrame, between: str) -> list[str]:
    """Titles of columns, with that of their group behind or below."""
    if texts.columns.nlevels == 1:
        return list(texts.columns)
    return [f"{title}{between}{group}" if group else title for group, title in texts.columns]


def _alignment(texts: DataFrame) -> list[str]:
    """Words to the left, numbers to the right."""
    titles = texts.columns.get_level_values(-1)
    return ["left" if title in WORDS else "right" for title in titles]


def pipe_table(texts: DataFrame) -> str:
    """A Markdown table of escaped texts."""
    rows, heads = texts.to_numpy().tolist(), _heads(texts, "<br>")
    return tabulate(rows, heads, "pipe", colalign=_alignment(texts), disable_numparse=True)


def terminal_table(texts: DataFrame, width: int | None = None, **widths: int) -> str:
    """A table of texts for a terminal, whose first column is wrapped where it is wider than `width` characters.

    Args:
        texts: of the cells.
        width: of the first column; None leaves it as it is.
        widths: of other columns by their titles.
    """
    titles = texts.columns.get_level_values(-1)
    bounds = [width, *(widths.get(title) for title in titles[1:])]
    return tabulate(
        texts.to_numpy().tolist(),
        _heads(texts, "\n"),
        maxcolwidths=bounds,
        colalign=_alignment(texts),
        disable_numparse=True,
    )


def terminal_text(text: str, width: int) -> str:
    """Running text for a terminal, in lines of at most `width` characters."""
    return "\n".join(wrap(TERMINAL.escape(text), width, break_on_hyphens=False))


def widest(text: str) -> int:
    """Characters of the longest line."""
    return max(map(len, text.splitlines()), default=0)


def html_table(texts: DataFrame, attributes: str = "") -> str:
    """An HTML table of escaped texts."""
    table = texts.style.hide(axis="index").to_html(exclude_styles=True)  # which leaves out attributes, too
    return table.replace("<table", f"<table {attributes}".rstrip(), 1)


def extra_texts(extra: Extra, form: Format) -> DataFrame:
    """A further table of a block as a format writes it."""
    texts = headed(divided(extra.cells, extra.saw)).map(form.cell)
    texts.columns = MultiIndex.from_tuples([tuple(map(form.escape, head)) for head in texts.columns])
    return texts


def latex(board: Board) -> str:
    r"""Tables for a paper (needs ``\usepackage{booktabs}``), one per setting."""
    parts = ["% Generated by `python -m benchmark table`. Needs booktabs.\n"]
    for block in board.blocks:
        tables = []
        if len(block.table):
            tables.append(
                (block_texts(block, LATEX), f"{board.title}: {'; '.join(block.setting)}. {board.note} {LEGEND}")
            )
        for extra in block.extras:
            tables.append((extra_texts(extra, LATEX), f"{board.title}, {block.network}: {extra.title}. {extra.legend}"))
        for texts, caption in tables:
            style = texts.style.hide(axis="index").set_table_styles(
                [{"selector": "small", "props": ":;"}, {"selector": "setlength", "props": r":{\tabcolsep}{4pt};"}]
            )
            parts.append(
                style.to_latex(
                    caption=LATEX.escape(caption),
                    column_format="".join(side[0] for side in _alignment(texts)),
                    position_float="centering",
                    multicol_align="c",
                    hrules=True,
                )
            )
    return "\n".join(parts)


def csv(board: Board) -> str:
    """Every number of a board, one line per row."""
    return csv_of(lines(board, block, with_extras(block)) for block in board.blocks)


def lines(board: Board, block: Block, rows: DataFrame, setting: Sequence[str] | None = None) -> DataFrame:
    """Rows of a block as lines of a CSV, with what they share; some phrases of the setting, or all of them."""
    shared = "; ".join(block.setting if setting is None else setting)
    return rows.assign(dataset=board.name, network=block.network, setting=shared)


def csv_of(parts: Iterable[DataFrame]) -> str:
    """One CSV of :func:`lines`, whatever columns of values they hold: the one form for files and for what is printed.

    Metrics are in percent, with ``_std``, ``_low`` and ``_high`` where known. Before the values of each ``GROUP.``
    stands ``GROUP.protocol``, the protocol and version under which they were measured. What marks stand for in other
    formats are columns, and the last one is what the rows share. Columns without any value are left out.
    """
    table = concat(parts)
    protocols = {name.rpartition(".")[0]: name for name in table if name.endswith(".protocol")}
    words = ["dataset", "network", "method", "title", *protocols.values(), "setting"]
    table[words] = table[words].fillna("").map(CSV.escape)
    external = bool(table["external"].any())
    table["external"] = table["external"].map({True: "yes", False: "no"})
    table["auxiliary_data"] = table["auxiliary_data"].map({True: "yes", False: "no", SYNTHETIC: SYNTHETIC})
    first = ["dataset", "network", "method", "title", "auxiliary_data", *["external"] * external, "seeds"]
    values = [name for name in table if name not in (*first, *protocols.values(), "external", "setting")]
    known = [name for name in values if (table[name].notna() & (table[name] != "")).any()]
    groups = [(protocols.get(name.rpartition(".")[0], name), name) for name in known]
    table = table[list(dict.fromkeys([*first, *(name for pair in groups for name in pair), "setting"]))]
    return table.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def with_extras(block: Block) -> DataFrame:
    """The rows of a block with the columns of its further tables, ``PROTOCOL.METRIC``."""
    table = block.table
    for extra in block.extras:
        table = table.join(extra.numbers, on="method")
    return table
