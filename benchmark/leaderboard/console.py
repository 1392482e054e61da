"""Tables for a terminal of what was just measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from pandas import DataFrame, concat

from benchmark.leaderboard.board import Block, block
from benchmark.leaderboard.formats import GROUPS, NAME, TERMINAL, WIDTH, sections, terminal_table, terminal_text, widest
from benchmark.leaderboard.protocols import headlines
from benchmark.leaderboard.wording import (
    METRIC_TITLES,
    STARS,
    UNITS,
    machine_of,
    marked,
    mean_percent,
    method_title,
    outlier_legend,
)
from benchmark.metrics import PROTOCOLS, hints_of
from benchmark.records.published import PublishedRow
from benchmark.records.record import Record

LEGIBLE = 22
"""Characters of a title, and between it and the next column, for which the least telling column makes way."""


def print_table(records: Sequence[Record], published: Mapping[str, Sequence[PublishedRow]], width: int = WIDTH) -> str:
    """What was just measured, for a terminal: one table per dataset and network, and below it what its rows share.

    Args:
        records: whole and partial ones; partial ones are marked, and stand beside no published value.
        published: dataset -> rows (``read_published(results).rows``).
        width: characters that a line may have, where numbers leave it the choice.
    """

    def place(record: Record) -> tuple[str, str, int]:
        return record.dataset.name, record.network.label, record.dataset.limit or 0

    texts = []
    for (name, network, limit), members in groupby(sorted(records, key=place), place):
        group = list(members)
        whole = all(r.dataset.whole for r in group)
        beside = [p for p in published.get(name, ()) if p.comparable and whole]
        made = block(group, beside)
        first = group[0].dataset
        count = f"the first {first.images}" if limit else f"{first.images} of {first.published_images}"
        lines = [f"{first.title}, {network}" + ("" if whole else f", {count} images only: enters no leaderboard")]
        lines += [first.note] if first.note else []
        shared = "; ".join(made.setting)
        below = [f"{shared[:1].upper()}{shared[1:]}. {UNITS}", *made.remarks]
        if not any(machine_of(r) or r.external for r in group):
            below.append("Nothing was timed: the first batch does not count, and there was no other.")
        above, below = ([terminal_text(text, width) for text in part] for part in (lines, below))
        texts.append("\n".join([*above, "", terminal(made, width), "", *below]))
    return "\n\n".join(texts)


def terminal(block: Block, width: int = WIDTH) -> str:
    """The most telling columns as plain text, `width` characters wide where numbers let them; titles are wrapped."""
    pooled = ("aupr",) if block.published else ("aupr", "fpr95")  # published values leave room for one
    shown = concat([cells for _, cells in sections(block, compact=True, pooled=pooled)], ignore_index=True)
    shown = shown.drop(columns=[("", "Seeds")], errors="ignore")  # they stand behind the title
    texts = shown.map(TERMINAL.cell)
    title, *numbers = texts.columns
    texts[numbers] = texts[numbers].replace(" ± ", "±", regex=True)
    seeds, auxiliary = block.table["seeds"], block.table["auxiliary_data"]
    texts[title] += auxiliary.map(STARS) + seeds.map(lambda n: f" ×{n}" if n > 1 else "")
    least = (GROUPS["pooled"], METRIC_TITLES["fpr95"])  # telling
    if least in texts and width - widest(terminal_table(texts[numbers])) < LEGIBLE:
        texts = texts.drop(columns=[least])
    room = width - widest(terminal_table(texts.drop(columns=[title]))) - 2
    text = terminal_table(texts, max(8, min(NAME, texts[title].map(len).max(), room)))
    text = "\n".join([text, *outlier_legend(auxiliary)])
    return text + "\n×n: mean ± sample standard deviation over n seeds" * bool((seeds > 1).any())


def summary(records: Sequence[Record], width: int = WIDTH) -> str:
    """What further protocols say of methods, in percent; empty where the records have none.

    What they say of the network stands above its rows (:func:`print_table`). Several seeds of a method are
    one row, with their mean and sample standard deviation. More columns than fit are continued in further tables.
    """
    rows = DataFrame([_second_pass(record) for record in records])
    measured = list(rows)[2:]
    if not measured:
        return ""
    groups = rows.groupby("label", sort=False)
    texts = groups[measured].agg(lambda fractions: mean_percent(fractions.dropna().tolist()))
    texts.insert(0, "Method", groups["Method"].first())
    texts = texts.map(TERMINAL.escape)
    tables, shown = [], ["Method"]
    for column in measured:
        wider = terminal_table(texts[[*shown, column]])
        if len(shown) > 1 and widest(wider) > width:
            tables.append(terminal_table(texts[shown]))
            shown = ["Method"]
        shown.append(column)
    tables.append(terminal_table(texts[shown]))
    return "\n".join(["\n\n".join(tables), *outlier_legend(record.method.auxiliary_data for record in records)])


def _second_pass(record: Record) -> dict[str, str | float | None]:
    values = {
        f"{title}\n{name} v{record.metrics[name].version}": record.metrics[name].value(key)
        for name, key, title in headlines(record)
        if not PROTOCOLS[name].of_network
    }
    name = marked(method_title(record.method), record.external) + STARS[record.method.auxiliary_data]
    return {"label": record.method.label, "Method": name, **values}


def advice(records: Sequence[Record]) -> list[str]:
    """What looks like a common mistake in these records, a line each; what all of them share is said once."""
    found: dict[str, list[str]] = {}
    for record in records:
        for hint in hints_of(record.metrics, record.dataset.pixels or None):
            found.setdefault(hint, []).append(method_title(record.method))
    return [
        f"Hint: {hint}"
        if len(set(titles)) == len({r.method.label for r in records}) > 1
        else f"Hint, {', '.join(dict.fromkeys(titles))}: {hint}"
        for hint, titles in found.items()
    ]
