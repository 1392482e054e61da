"""Tables for a terminal: what was just measured, and what it costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmark.leaderboard.board import Block, block
from benchmark.leaderboard.costs import METHOD_HEADS, TRAINING_HEADS, method_rows, sentence, training_rows
from benchmark.leaderboard.text import cells, columns, sections
from benchmark.leaderboard.wording import percent
from benchmark.metrics import PROTOCOLS
from benchmark.records.costs import Costs
from benchmark.records.published import PublishedRow
from benchmark.records.record import Measurement, Record


def print_table(records: Sequence[Record], published: Mapping[str, Sequence[PublishedRow]]) -> str:
    """What was just measured, for a terminal of 120 columns: one table per dataset and network.

    Args:
        records: whole and partial ones; partial ones are marked, and stand beside no published value.
        published: dataset -> rows (``read_published(results).rows``).
    """
    groups: dict[tuple[str, str, int], list[Record]] = {}
    for record in records:
        key = (record.dataset.name, record.network.label, record.dataset.limit or 0)
        groups.setdefault(key, []).append(record)
    texts = []
    for (name, network, limit), group in sorted(groups.items()):
        whole = all(r.dataset.whole for r in group)
        beside = [p for p in published.get(name, ()) if p.comparable and whole]
        made = block(group, beside)
        first = group[0].dataset
        count = f"the first {limit}" if limit else f"{first.images} of {first.published_images}"
        lines = [f"{first.title}, {network}" + ("" if whole else f", {count} images only: enters no table")]
        lines += [first.note] if first.note else []
        texts.append("\n".join([*lines, "", terminal(made), *made.remarks]))
    return "\n\n".join(texts)


def terminal(block: Block, width: int = 120) -> str:
    """The most telling columns as plain text, at most `width` characters wide."""
    from tabulate import tabulate

    shown = [c for c in columns(block, compact=True) if c.key != "seeds"]  # they stand behind the title
    numbers = [
        [*(c.main.replace(" ± ", "±") for c in row[1:])] for _, rows in sections(block) for row in cells(rows, shown)
    ]
    rows = [row for _, rows in sections(block) for row in rows]
    heads = [f"{c.title}\n{c.group}".rstrip() for c in shown]

    marks = [" *" * r.auxiliary + f" ×{r.seeds}" * (r.seeds > 1) for r in rows]

    def draw(title_width: int) -> str:
        titles = [r.title[: title_width - len(mark)] + mark for r, mark in zip(rows, marks)]
        body = [[title, *row] for title, row in zip(titles, numbers)]
        return tabulate(
            body, heads, tablefmt="simple", disable_numparse=True, colalign=["left"] + ["right"] * (len(shown) - 1)
        )

    text = draw(40)
    too_wide = max(map(len, text.splitlines())) - width
    if too_wide > 0:
        text = draw(max(8, max(min(40, len(r.title + mark)) for r, mark in zip(rows, marks)) - too_wide))
    text += "\n* saw outlier images in training" * bool(block.auxiliary)
    return text + "\n×n: mean ± sample standard deviation over n seeds" * any(r.seeds > 1 for r in rows)


def summary(records: Sequence[Record]) -> str:
    """The protocols of the second pass as a small table in percent; empty where the records have none.

    Several seeds of a method are one row, with their mean and sample standard deviation.
    """
    from tabulate import tabulate

    columns = {
        (name, key): f"{title}\n{name} v{m.version}"
        for record in records
        for name, m in record.metrics.items()
        if m.images and name in PROTOCOLS
        for key, title in PROTOCOLS[name].headlines.items()
        if key in m.extra  # the others stand in the table above
    }
    if not columns:
        return ""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.method.label, []).append(record)
    rows = [
        [g[0].method.title, *(_percent([r.metrics.get(n) for r in g], k) for n, k in columns)] for g in groups.values()
    ]
    align = ["left"] + ["right"] * len(columns)
    return tabulate(rows, ["method", *columns.values()], colalign=align, disable_numparse=True)


def costs_terminal(costs: Costs) -> str:
    """The same for a terminal."""
    from tabulate import tabulate

    def table(heads: Sequence[str], rows: list[list[str]], words: Sequence[int]) -> str:
        align = ["left" if i in words else "right" for i in range(len(heads))]
        return tabulate(rows, heads, colalign=align, disable_numparse=True)

    trainings = table(TRAINING_HEADS, training_rows(costs), (0, 2)) + "\n\n" if costs.trainings else ""
    return f"{trainings}{table(METHOD_HEADS, method_rows(costs), (0,))}\n\n{sentence(costs)}"


def _percent(measured: Sequence[Measurement | None], key: str) -> str:
    values = [value for m in measured if m and (value := m.extra.get(key)) is not None]
    if not values:
        return "–"
    return percent(statistics.fmean(values)) + (f" ± {percent(statistics.stdev(values))}" if len(values) > 1 else "")
