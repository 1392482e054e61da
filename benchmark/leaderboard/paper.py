r"""A selection of the boards as one table for a paper: LaTeX that fits its column, Markdown or CSV.

The LaTeX table needs ``\usepackage{booktabs,tabularx}``. It is as wide as the column of the text; the names of methods
are wrapped in what the numbers leave of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from pandas import DataFrame

from benchmark.errors import BenchmarkError
from benchmark.leaderboard.alike import unlike
from benchmark.leaderboard.board import MILLISECONDS, Block, Board, boards
from benchmark.leaderboard.cells import BEST, HEADINGS, SAW, Cell, best
from benchmark.leaderboard.formats import LATEX, MARKDOWN, Format, csv_of, lines, pipe_table
from benchmark.leaderboard.wording import EXTERNAL, METRIC_TITLES, NOTHING, SAMPLED, names
from benchmark.metrics import METRICS
from benchmark.records.published import read_published
from benchmark.records.record import read_all

FORMATS = ("latex", "markdown", "csv")
WIDE = 4
"""Columns of numbers from which a LaTeX table spans both columns of a page with two."""
_MADE_ELSEWHERE = f"{EXTERNAL} Score maps that were made elsewhere."
_OF_A_SAMPLE = f"{SAMPLED} Of a sample of the pixels; its record states how far it may be off."
_GROUPS = {"": "", "pooled": "pooled", "published": "published"}
_KEYS = {f"{group}.{metric}".lstrip("."): f"{group or 'measured'}.{metric}" for group in _GROUPS for metric in METRICS}
COLUMNS = {**_KEYS, "miou": "miou", "network-ms": "network_ms", "ms": "method_ms", "seeds": "seeds"}
"""What ``--columns`` may name -> the column of a board's table."""


@dataclass(frozen=True)
class Selection:
    """What of the boards a paper shows.

    Attributes:
        datasets: by label; none for every one that is measured.
        network: label of the network; empty for all that were measured on a dataset.
        methods: by label, by the name in the tables, or all rows of a plugin by its name, in this order; none for all,
            best first.
        columns: of :data:`COLUMNS`; the first one orders the rows.
        digits: behind the point, of percentages; times have one. CSV has four, whatever is asked for.
        intervals: whether 95 % intervals over images stand behind the values.
    """

    datasets: Sequence[str] = ()
    network: str = ""
    methods: Sequence[str] = ()
    columns: Sequence[str] = ("aupr", "fpr95", "auroc")
    digits: int = 1
    intervals: bool = False


def paper_table(results: Path, selection: Selection, form: str) -> str:
    """One table with a row for every method, and a group of columns for every dataset and network.

    Values are per image unless a column says ``pooled.`` or ``published.``, in percent, means over the seeds with their
    sample standard deviation where several were measured. Under each heading (methods that saw outliers in training
    stand apart) the best value of a column as it is printed is marked, equals together. LaTeX's caption, the paragraph
    below Markdown's and a column of CSV say what the rows share: network, protocols, images, machine.

    Args:
        results: folder with records/, and published/ unless the one that comes along is meant.
        selection: of methods and columns.
        form: one of :data:`FORMATS`.
    Raises:
        BenchmarkError: nothing of it is measured, or a name is not known.
    """
    if unknown := [name for name in selection.columns if name not in COLUMNS]:
        raise BenchmarkError(
            f"There is no column '{unknown[0]}'{_near(unknown[0], COLUMNS)}; try {', '.join(COLUMNS)}."
        )
    places = _places(Path(results), selection)
    rows = _rows(places, selection)
    if form == "csv":
        return _csv(places, rows, selection)
    return _latex(places, rows, selection) if form == "latex" else _markdown(places, rows, selection)


def _near(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f", perhaps '{close[0]}'" if close else ""


def _places(results: Path, selection: Selection) -> list[tuple[Board, Block]]:
    records, problems = read_all(results)
    if problems:
        raise BenchmarkError(problems[0])
    made = boards(records, read_published(results, {record.dataset.name for record in records}))
    measured = {board.name: board for board in made if board.blocks[0].network}
    for name in selection.datasets:
        if name not in measured:
            raise BenchmarkError(
                f"{results} has no measured row of '{name}'{_near(name, measured)}; measure with 'run', or name "
                f"another --results folder."
            )
    chosen = [measured[name] for name in selection.datasets] or list(measured.values())
    places = [(b, block) for b in chosen for block in b.blocks if selection.network in ("", block.network)]
    if not places:
        networks = sorted({block.network for board in chosen for block in board.blocks})
        what = (
            f" with the network '{selection.network}'{_near(selection.network, networks)}" if selection.network else ""
        )
        raise BenchmarkError(
            f"{results} has no measured row{what}; measure with 'run', or name another --results folder."
        )
    return places


def _rows(places: Sequence[tuple[Board, Block]], selection: Selection) -> list[tuple[str, str, Any]]:
    """Label, name in the tables, and what outliers it saw, of every method, in the order of printing."""
    found: dict[str, tuple[str, str, Any]] = {}
    for _, block in places:
        table, key = block.table[block.table["seeds"] > 0], COLUMNS[selection.columns[0]]
        ascending = key.endswith("fpr95") or key.endswith("_ms")
        for row in table.sort_values(key, ascending=ascending, kind="stable").itertuples():
            found.setdefault(row.method, (row.method, row.title, row.auxiliary_data))
    if selection.methods:
        named = [label for name in selection.methods for label in _labels(name, found)]
        found = {label: found[label] for label in named}
    return sorted(found.values(), key=lambda row: SAW.index(row[2]))


def _labels(name: str, rows: Mapping[str, tuple[str, str, Any]]) -> list[str]:
    """The labels of the rows that a name stands for: a label, a name in the tables, or a plugin with all its rows."""
    if name in rows:
        return [name]
    titles = {label: title.casefold() for label, title, _ in rows.values()}
    plugins = {label: label.partition(":")[0].casefold() for label in rows}
    found = [label for label in rows if name.casefold() in (titles[label], label.casefold())]
    if len(found) > 1:
        raise BenchmarkError(f"'{name}' names several rows: {', '.join(sorted(found))}; write one label.")
    found = found or [label for label in rows if plugins[label] == name.casefold()]
    if not found:
        near = _near(name.casefold(), [*titles.values(), *plugins.values(), *rows])
        raise BenchmarkError(f"No row is of '{name}'{near}; the rows are of {', '.join(sorted(rows))}.")
    return found


def _cells(
    places: Sequence[tuple[Board, Block]], rows: Sequence[tuple[str, str, Any]], selection: Selection
) -> list[list[Cell]]:
    """The cells of every row behind its name."""
    columns = []
    for board, block in places:
        table = _by_method(board, block, selection)
        there = table.loc[[row[0] for row in rows if row[0] in table.index]]
        for name in selection.columns:
            found = dict(zip(there.index, _column(there, name, selection), strict=True))
            columns.append([found.get(row[0], Cell(NOTHING)) for row in rows])
    return [list(row) for row in zip(*columns, strict=True)]


def _by_method(board: Board, block: Block, selection: Selection) -> DataFrame:
    """The rows of a board by label; a method of which several numbers are published has one row.

    Raises:
        BenchmarkError: a published column is asked for, and it is not clear which number is meant.
    """
    twice = block.table["method"].duplicated()
    if twice.any() and any(name.startswith("published.") for name in selection.columns):
        label = block.table["method"][twice].iloc[0]
        raise BenchmarkError(
            f"Of '{label}' on {board.name} several numbers are published; leave published columns out, or take them "
            f"from LEADERBOARD.md."
        )
    return block.table[~twice].set_index("method")


def _column(table: DataFrame, name: str, selection: Selection) -> list[Cell]:
    key = COLUMNS[name]
    group, _, metric = key.rpartition(".")
    digits = 0 if name == "seeds" else 1 if name.endswith("ms") else selection.digits
    under = list(table[f"{group}.protocol"]) if group else []
    chosen = best(list(table[key]), metric, list(table["auxiliary_data"]), under, digits)
    cells = []
    for value, is_best, (_, row) in zip(table[key], chosen, table.iterrows(), strict=True):
        text = NOTHING if isnan(value) else f"{value:.{digits}f}"
        std, low, high = (row.get(f"{key}_{part}", float("nan")) for part in ("std", "low", "high"))
        text += "" if isnan(std) else f" ± {std:.{digits}f}"
        interval = f"[{low:.{digits}f}, {high:.{digits}f}]" if selection.intervals and not isnan(low) else ""
        if key.startswith("pooled.") and metric in row["sampled"].split():
            text = f"{SAMPLED} {text}"
        if key in MILLISECONDS and row["timed"]:
            text += f" {row['timed']}"
        cells.append(Cell(text, interval, "best" if is_best else ""))
    return cells


def _titles(selection: Selection) -> list[str]:
    words = {"miou": "mIoU", "network-ms": "net ms", "ms": "ms", "seeds": "seeds"}
    return [
        words.get(name) or " ".join([*name.split(".")[:-1], METRIC_TITLES[name.split(".")[-1]]])
        for name in selection.columns
    ]


def _heads(places: Sequence[tuple[Board, Block]]) -> list[str]:
    """What tells the groups of columns apart: the dataset, and the network where it has several."""
    twice = len({board.name for board, _ in places}) < len(places)
    return [f"{board.title}, {block.network}" if twice else board.title for board, block in places]


def _lines(places, rows, selection: Selection, form: Format) -> list[tuple[str, list[list[str]]]]:
    """Headings, the first of which may be empty, each with its rows as a format writes them."""
    cells, external = _cells(places, rows, selection), _external(places, rows)
    titles = names((row[0] for row in rows), (row[1] for row in rows), (row[0] in external for row in rows))
    found = []
    for saw in SAW:
        texts = [
            [form.escape(title), *(form.cell(cell) for cell in line)]
            for title, row, line in zip(titles, rows, cells, strict=True)
            if row[2] == saw
        ]
        if texts:
            found.append((HEADINGS[saw], texts))
    return found


def _external(places, rows) -> set[str]:
    """The methods of the rows whose score maps were made elsewhere."""
    found = {label for _, block in places for label in block.table["method"][block.table["external"]]}
    return found & {row[0] for row in rows}


def _markdown(places, rows, selection: Selection) -> str:
    heads = _heads(places)
    titles = [("", "Method"), *((head if len(heads) > 1 else "", t) for head in heads for t in _titles(selection))]
    lines = []
    for heading, texts in _lines(places, rows, selection, MARKDOWN):
        lines += [[MARKDOWN.heading.format(heading), *[""] * (len(titles) - 1)]] if heading else []
        lines += texts
    columns = [f"{MARKDOWN.escape(group)}<br>{title}" if group else title for group, title in titles]
    return f"{pipe_table(DataFrame(lines, columns=columns))}\n\n{MARKDOWN.escape(_caption(places, rows, selection))}\n"


def _csv(places, rows, selection: Selection) -> str:
    """A line for every method and place, in the form of the files in ``tables/``, with the columns asked for."""
    ends = ("", "_std", "_low", "_high") if selection.intervals else ("", "_std")
    keys = [COLUMNS[name] for name in selection.columns]
    shown = [f"{group}.protocol" for group in dict.fromkeys(key.partition(".")[0] for key in keys if "." in key)]
    shown += [key + end for key in dict.fromkeys(keys) if key != "seeds" for end in ends]
    pooled = {metric for metric in METRICS if f"pooled.{metric}" in keys}
    parts = []
    for board, block in places:
        table = _by_method(board, block, selection)
        table = table.loc[[row[0] for row in rows if row[0] in table.index]].reset_index()
        table["sampled"] = [" ".join(m for m in metrics.split() if m in pooled) for metrics in table["sampled"]]
        if not any(key in MILLISECONDS for key in keys):
            table["timed"] = ""
        kept = ["method", "title", "auxiliary_data", "seeds", "external", *shown, "sampled", "timed"]
        parts.append(lines(board, block, table[kept], _setting(block, selection)))
    return csv_of(parts)


def _breakable(text: str) -> str:
    """Escaped text that may be broken behind the signs of a label, where it has no spaces."""
    for sign in (r"\_", "=", ":", "/", ","):
        text = text.replace(sign, rf"{sign}\allowbreak{{}}")
    return text


def _stacked(text: str, side: str = "c") -> str:
    """Escaped words below each other, so that a heading is no wider than the numbers below it where it can."""
    words = LATEX.escape(text).replace(":", ": ").replace("=", "= ").split()
    lines = r" \\ ".join(words)
    return lines if len(words) == 1 else rf"\shortstack[{side}]{{{lines}}}"


def _latex(places, rows, selection: Selection) -> str:
    count, titles, heads = len(selection.columns), _titles(selection), _heads(places)
    numbers = count * len(places)
    environment = "table*" if numbers > WIDE else "table"
    lines = [
        r"% Made by `python -m benchmark table --latex`. Needs \usepackage{booktabs,tabularx}.",
        rf"\begin{{{environment}}}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_breakable(LATEX.escape(_caption(places, rows, selection)))}}}",
        rf"\begin{{tabularx}}{{\linewidth}}{{@{{}}>{{\raggedright\arraybackslash}}X{'r' * numbers}@{{}}}}",
        r"\toprule",
    ]
    if len(places) > 1:
        groups = [rf"\multicolumn{{{count}}}{{c}}{{{_stacked(head)}}}" for head in heads]
        rules = "".join(rf"\cmidrule(lr){{{2 + i * count}-{1 + (i + 1) * count}}}" for i in range(len(places)))
        lines += [" & ".join(["", *groups]) + r" \\", rules]
    lines += [" & ".join(["Method", *(_stacked(title, "r") for title in titles * len(places))]) + r" \\", r"\midrule"]
    for index, (heading, texts) in enumerate(_lines(places, rows, selection, LATEX)):
        if heading:
            lines += [r"\midrule"] * bool(index)
            lines.append(rf"\multicolumn{{{numbers + 1}}}{{@{{}}l}}{{{LATEX.heading.format(heading)}}} \\")
        lines += [" & ".join([_breakable(line[0]), *line[1:]]) + r" \\" for line in texts]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabularx}", rf"\end{{{environment}}}"]) + "\n"


def _caption(places, rows, selection: Selection) -> str:
    labels = {row[0] for row in rows}
    settings = []
    for board, block in places:
        settings.append(f"{board.title}: {'; '.join(_setting(block, selection))}.")
        settings += unlike([record for record in block.records if record.method.label in labels])
    said = f"Values in percent. {BEST}"
    if _timed(selection):
        said += " ms: milliseconds an image of the method's own computation, net ms: of networks."
    if any((block.table["seeds"][block.table["method"].isin(labels)] > 1).any() for _, block in places):
        said += " ± is the sample standard deviation over seeds."
    if selection.intervals:
        said += " In brackets 95 % intervals over images."
    if any(name.startswith("published.") for name in selection.columns):
        quoted = dict.fromkeys(source for board, _ in places for source in board.sources)
        said += f" Published values: {'; '.join(quoted)}."
    if any(cell.text.startswith(SAMPLED) for line in _cells(places, rows, selection) for cell in line):
        said += f" {_OF_A_SAMPLE}"
    if _external(places, rows):
        said += f" {_MADE_ELSEWHERE}"
    return " ".join([*settings, said])


def _timed(selection: Selection) -> bool:
    return any(COLUMNS[name] in MILLISECONDS for name in selection.columns)


def _setting(block: Block, selection: Selection) -> list[str]:
    """What the rows share; of times only where some are shown."""
    return [phrase for phrase in block.setting if _timed(selection) or not phrase.startswith(("timed", "times"))]
