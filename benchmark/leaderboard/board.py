"""What a leaderboard says, whatever the file format: which rows, which columns, which values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from pandas import DataFrame, concat

from benchmark.io.words import quantity
from benchmark.leaderboard.alike import unlike
from benchmark.leaderboard.cells import SAW
from benchmark.leaderboard.failures import failures
from benchmark.leaderboard.protocols import Extra, calibration, extras
from benchmark.leaderboard.wording import (
    distinct,
    method_title,
    percent,
    primary,
    protocol_of,
    remarks,
    sampled,
    setting,
    timing_marks,
)
from benchmark.metrics import METRICS
from benchmark.records.published import Published, PublishedRow
from benchmark.records.record import Record

ABSENT_DATASET = "not measured here: needs the dataset"
ABSENT = "not measured here"

GROUPS = ("published", "measured", "difference", "pooled")
PERCENTAGES = [*(f"{group}.{metric}" for group in GROUPS for metric in METRICS), "miou"]
MILLISECONDS = ["network_ms", "method_ms"]
PROTOCOLS = ["published.protocol", "measured.protocol", "pooled.protocol"]
VALUES = [*PERCENTAGES, *MILLISECONDS]
COLUMNS = [
    "method",  # plugin name with the options that are not default; empty where no plugin of that name exists
    "title",  # as printed
    "external",  # whether its score maps were made elsewhere
    "auxiliary_data",  # whether outlier images were seen in training, or "synthetic" ones
    "timed",  # marks of its times: on which of several machines, and whether beside other work
    "sampled",  # pooled metrics that rank a sample of the pixels and may be off by more than the tolerance
    *PROTOCOLS,  # with versions, each of several that a row mixes; as the source calls it where it is published
    "seeds",  # number of records behind the row
    *(value + part for value in VALUES for part in ("", "_std", "_low", "_high")),
]
"""Columns of a block's table. Metrics are in percent, "difference" in percentage points, times in milliseconds; a value
is the mean over the seeds, ``_std`` their sample standard deviation (NaN for one seed), ``_low`` and ``_high`` the ends
of the 95 % interval over images, averaged over the seeds. NaN where nothing is known."""


@dataclass(frozen=True)
class Block:
    """Methods measured in one setting, so that they may be compared."""

    network: str  # label; empty where nothing is measured
    setting: list[str]  # phrases: network, protocols, images, constant score, device
    table: DataFrame  # a row per method, in the order of printing; columns as in COLUMNS
    remarks: list[str]  # what a reader must know of single values
    absent: str = ""  # what to say of a row without seeds
    failures: DataFrame = field(default_factory=lambda: failures([]))  # false alarms where the network errs
    extras: list[Extra] = field(default_factory=list)  # what further protocols say of the same rows
    records: Sequence[Record] = ()  # behind the rows

    @property
    def published(self) -> int:
        """Number of rows with a published value."""
        return int(self.table[[f"published.{metric}" for metric in METRICS]].notna().any(axis=1).sum())


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
    records = sorted(records, key=lambda r: (r.provenance.date, r.method.label, r.network.seed))
    whole = [r for r in records if r.dataset.whole]
    rows = published.rows.get(name, [])
    beside = [p for p in rows if p.comparable]
    about = published.datasets.get(name, {})
    newest = whole[-1].dataset if whole else records[-1].dataset if records else None
    blocks = [
        block([r for r in whole if r.network.label == label], beside, ABSENT)
        for label in sorted({r.network.label for r in whole})
    ]
    if not blocks:
        phrases = [ABSENT_DATASET, *distinct(f"published protocol: {p.protocol}" for p in beside if p.protocol)]
        if "constant_aupr" in about:
            phrases.append(f"AUPR of a constant score {percent(about['constant_aupr'], 2)}")
        blocks = [Block("", phrases, _table([], beside, absent=True), [], ABSENT_DATASET)]
    partial = len(records) - len(whole)
    return Board(
        name=name,
        title=newest.title if newest else about.get("title", name),
        note=newest.note if newest else about.get("note", ""),
        blocks=blocks,
        further=[p for p in rows if not p.comparable],
        sources=_sources(beside),
        remarks=[f"{quantity(partial, 'partial measurement')} not shown."] if partial else [],
    )


def _sources(rows: Sequence[PublishedRow]) -> list[str]:
    """The sources, each with the rows that it quotes from somebody else."""
    found = []
    for source in distinct(p.source for p in rows):
        quoted = [p.title for p in rows if p.source == source and p.second_hand]
        found.append(f"{source} ({', '.join(quoted)}: quoted there from others)" if quoted else source)
    return found


def block(records: Sequence[Record], beside: Sequence[PublishedRow], absent: str = "") -> Block:
    """The rows of one network setting: the published ones in the paper's order, then the rest by AUPR.

    Args:
        records: of one dataset and one network label; several seeds of a method become one row.
        beside: comparable published rows.
        absent: what to say of a published method without a record; such rows are left out where this is empty.
    """
    table = _table(records, beside, bool(absent))
    quoted = distinct(f"published protocol: {text}" for text in table["published.protocol"].dropna() if text)
    phrases, further = [*setting(records), *quoted, *calibration(records)], extras(records, table)
    label, said = records[0].network.label, [*unlike(records), *remarks(records)]
    return Block(label, phrases, table, said, absent, failures(records), further, records)


def _table(records: Sequence[Record], beside: Sequence[PublishedRow], absent: bool) -> DataFrame:
    measured, published = _measured(records), _published(beside)
    found = published.merge(measured, on="method", how="left" if absent else "inner", suffixes=("", "_here"))
    found["seeds"] = found["seeds"].fillna(0)
    found["auxiliary_data"] = found["auxiliary_data_here"].where(found["seeds"] > 0, found["auxiliary_data"])
    for metric in METRICS:  # a published value is compared with ours of the same aggregation only
        ours = np.select(
            [found["aggregation"] == "per-image", found["aggregation"] == "pooled"],
            [found[f"measured.{metric}"], found[f"pooled.{metric}"]],
            np.nan,
        )
        found[f"difference.{metric}"] = ours - found[f"published.{metric}"]
    rest = measured[~measured["method"].isin(published["method"])]
    rest = rest.sort_values(["measured.aupr", "method"], ascending=[False, True])
    table = concat([found.reindex(columns=COLUMNS), rest.reindex(columns=COLUMNS)], ignore_index=True)
    numbers = COLUMNS[COLUMNS.index("seeds") + 1 :]
    marks = timing_marks(records)
    table["timed"] = [marks.get(label, "") for label in table["method"]]
    uncertain = sampled(records)
    table["sampled"] = [uncertain.get(label, "") for label in table["method"]]
    made_elsewhere = {record.method.label for record in records if record.external}
    table["external"] = table["method"].isin(made_elsewhere)
    table = table.astype({"auxiliary_data": object, "seeds": int} | dict.fromkeys(numbers, float))
    table[[n for n in numbers if not n.startswith(tuple(MILLISECONDS))]] *= 100
    return table.sort_values("auxiliary_data", key=lambda c: c.map(SAW.index), kind="stable", ignore_index=True)


def _published(rows: Sequence[PublishedRow]) -> DataFrame:
    columns = ["method", "title", "auxiliary_data", "aggregation", "protocol", *METRICS]
    table = DataFrame([{**asdict(row), "aggregation": row.aggregation} for row in rows], columns=columns)
    return table.rename(columns={name: f"published.{name}" for name in ("protocol", *METRICS)})


def _measured(records: Sequence[Record]) -> DataFrame:
    """A row per method: means, deviations and intervals over its records, metrics as fractions."""
    values = [v for v in VALUES if v.startswith(("measured", "pooled")) or "." not in v]
    ends = [v + end for v in values for end in ("_low", "_high")]
    under = ["measured.protocol", "pooled.protocol"]
    columns = ["method", "title", "auxiliary_data", *under, *values, *ends]
    ordered = sorted(records, key=lambda r: (r.method.label, r.network.seed))
    rows = DataFrame([_row(record) for record in ordered], columns=columns)
    groups = rows.astype(dict.fromkeys([*values, *ends], float)).groupby("method")
    means, known = groups[values + ends].mean(), groups[values + ends].count()
    for end in ends:  # where one seed has no interval, the mean has none
        means[end] = means[end].where(known[end] == known[end.rpartition("_")[0]])
    first, deviations = groups[["title", "auxiliary_data"]].first(), groups[values].std().add_suffix("_std")
    protocols = groups[under].agg(lambda texts: " or ".join(sorted(distinct(texts.dropna()))))
    return concat([first, groups.size().rename("seeds"), protocols, means, deviations], axis=1).reset_index()


def _row(record: Record) -> dict[str, object]:
    row: dict[str, object] = {
        "method": record.method.label,
        "title": method_title(record.method),
        "auxiliary_data": record.method.auxiliary_data,
        "miou": record.segmentation.miou if record.segmentation else None,
        "network_ms": record.cost.network_ms,
        "method_ms": record.cost.method_ms,
    }
    for key, aggregation in (("measured", "per-image"), ("pooled", "pooled")):
        if found := primary(record, aggregation):
            row[f"{key}.protocol"] = protocol_of(record, aggregation)
            for metric in METRICS:
                name = f"{key}.{metric}"
                row[name] = getattr(found, metric)
                row[f"{name}_low"], row[f"{name}_high"] = found.intervals.get(metric) or (None, None)
    return row
