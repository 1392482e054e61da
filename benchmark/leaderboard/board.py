"""What a leaderboard says, before anybody thinks of a file format: which rows, which columns, which values."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmark.leaderboard.wording import distinct, percent, primary, remarks, setting
from benchmark.records.published import Published, PublishedRow
from benchmark.records.record import METRICS, Record

ABSENT_DATASET = "not measured here: needs the dataset"
ABSENT = "not measured here"


@dataclass(frozen=True)
class Value:
    """A number in a table. Fractions for metrics, milliseconds for costs."""

    mean: float  # over the seeds
    std: float | None = None  # sample standard deviation over the seeds, None for one seed
    low: float | None = None  # 95 % interval over images; its ends are averaged over the seeds
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One method in one setting."""

    title: str
    label: str  # plugin name with the options that are not default; empty where no plugin of that name exists
    auxiliary: bool = False
    values: dict[str, Value] = field(default_factory=dict)  # column key ("measured.aupr") -> value
    seeds: int = 0  # number of records behind it
    absent: str = ""  # why nothing is measured


@dataclass(frozen=True)
class Block:
    """Rows measured in one setting, so that they may be compared."""

    network: str  # label; empty where nothing is measured
    setting: list[str]  # phrases: network, protocols, images, constant score, device
    rows: list[Row]  # ordered; without auxiliary data
    auxiliary: list[Row]  # ordered; with
    remarks: list[str]  # what a reader must know of single values

    @property
    def published(self) -> int:
        """Number of rows with a published value."""
        return sum(any(k.startswith("published.") for k in r.values) for r in (*self.rows, *self.auxiliary))


@dataclass(frozen=True)
class Board:
    """All tables of one dataset."""

    name: str
    title: str
    note: str
    blocks: list[Block]
    further: list[PublishedRow]  # published on other images or by methods that are not here
    sources: list[str]  # of the published values in the blocks
    remarks: list[str]


def boards(records: Sequence[Record], published: Published) -> list[Board]:
    """One board per dataset that was measured or published, those with comparable published rows first.

    The order of `records` does not matter; records of a limited number of images are counted and left out.
    """
    names = {r.dataset.name for r in records} | {name for name, rows in published.rows.items() if rows}
    made = [_board(name, [r for r in records if r.dataset.name == name], published) for name in sorted(names)]
    # The sort is stable, so that equals stay in alphabetical order.
    return sorted(made, key=lambda b: (-b.blocks[0].published, not b.blocks[0].network))


def _board(name: str, records: Sequence[Record], published: Published) -> Board:
    whole = sorted((r for r in records if r.dataset.whole), key=lambda r: (r.provenance.date, r.method.label))
    rows = published.rows.get(name, [])
    beside = [p for p in rows if p.comparable]
    about = published.datasets.get(name, {})
    newest = whole[-1].dataset if whole else records[-1].dataset if records else None
    blocks = [
        block([r for r in whole if r.network.label == label], beside, ABSENT)
        for label in sorted({r.network.label for r in whole})
    ]
    if not blocks:
        blocks = [_empty_block(beside, about)]
    partial = len(records) - len(whole)
    return Board(
        name=name,
        title=newest.title if newest else about.get("title", name),
        note=newest.note if newest else about.get("note", ""),
        blocks=blocks,
        further=[p for p in rows if not p.comparable],
        sources=_sources(beside),
        remarks=[f"{partial} partial measurement{'s' * (partial > 1)} not shown."] if partial else [],
    )


def _sources(rows: Sequence[PublishedRow]) -> list[str]:
    """The sources, each with the rows that it quotes from somebody else."""
    found = []
    for source in distinct(p.source for p in rows):
        quoted = [p.title for p in rows if p.source == source and p.second_hand]
        found.append(f"{source} ({', '.join(quoted)}: quoted there from others)" if quoted else source)
    return found


def _empty_block(beside: Sequence[PublishedRow], about: dict) -> Block:
    rows = [Row(p.title, p.method, p.auxiliary_data, _published_values(p), absent=ABSENT_DATASET) for p in beside]
    phrases = [ABSENT_DATASET, *distinct(f"published protocol: {p.protocol}" for p in beside if p.protocol)]
    if "constant_aupr" in about:
        phrases.append(f"AUPR of a constant score {percent(about['constant_aupr'], 2)}")
    return Block("", phrases, [r for r in rows if not r.auxiliary], [r for r in rows if r.auxiliary], [])


def block(records: Sequence[Record], beside: Sequence[PublishedRow], absent: str = "") -> Block:
    """The rows of one network setting: the published ones in the paper's order, then the rest by AUPR.

    Args:
        records: of one dataset and one network label; several seeds of a method become one row.
        beside: comparable published rows.
        absent: what to say of a published method without a record; such rows are left out where this is empty.
    """
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.method.label, r.network.seed)):
        groups.setdefault(record.method.label, []).append(record)
    rows = []
    for paper in beside:
        group = groups.pop(paper.method, [])
        if group:
            rows.append(_measured(group, paper))
        elif absent:
            rows.append(Row(paper.title, paper.method, paper.auxiliary_data, _published_values(paper), absent=absent))
    rest = [_measured(group, None) for group in groups.values()]
    rows += sorted(rest, key=lambda r: (-r.values["measured.aupr"].mean if "measured.aupr" in r.values else 1, r.label))
    return Block(
        network=records[0].network.label,
        setting=setting(records),
        rows=[r for r in rows if not r.auxiliary],
        auxiliary=[r for r in rows if r.auxiliary],
        remarks=remarks(records),
    )


def _measured(group: Sequence[Record], paper: PublishedRow | None) -> Row:
    values = _published_values(paper) if paper else {}
    for key, aggregation in (("measured", "per-image"), ("pooled", "pooled")):
        found = [m for r in group if (m := primary(r, aggregation))]
        for metric in METRICS:
            _put(
                values, f"{key}.{metric}", (getattr(m, metric) for m in found), (m.intervals.get(metric) for m in found)
            )
    if paper:
        ours = "measured" if paper.aggregation == "per-image" else "pooled"
        for metric in METRICS:
            theirs, mine = getattr(paper, metric), values.get(f"{ours}.{metric}")
            if paper.aggregation and theirs is not None and mine:
                values[f"difference.{metric}"] = Value(mine.mean - theirs)
    _put(values, "miou", (r.segmentation.miou if r.segmentation else None for r in group))
    _put(values, "network_ms", (r.cost.network_ms for r in group))
    _put(values, "method_ms", (r.cost.method_ms for r in group))
    method = group[0].method
    title = paper.title if paper else method.title or method.name
    options = method.label.partition(":")[2]
    return Row(
        title=f"{title} ({options.replace(':', ', ')})" if options and not paper else title,
        label=method.label,
        auxiliary=method.auxiliary_data,
        values=values,
        seeds=len(group),
    )


def _published_values(row: PublishedRow) -> dict[str, Value]:
    found = {f"published.{m}": getattr(row, m) for m in METRICS}
    return {key: Value(value) for key, value in found.items() if value is not None}


def _put(values: dict[str, Value], key: str, numbers: Iterable[float | None], intervals: Iterable = ()) -> None:
    known = [n for n in numbers if n is not None]
    if not known:
        return
    ends = [i for i in intervals if i]
    whole = len(ends) == len(known)
    values[key] = Value(
        mean=statistics.fmean(known),
        std=statistics.stdev(known) if len(known) > 1 else None,
        low=statistics.fmean(e[0] for e in ends) if whole else None,
        high=statistics.fmean(e[1] for e in ends) if whole else None,
    )
