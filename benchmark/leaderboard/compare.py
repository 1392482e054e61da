"""Whether one measured method is better than another, image by image."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelProtocol, paired_bootstrap, per_image_result, pixel_protocol, read_rows
from benchmark.records.record import Record, read_all

if TYPE_CHECKING:
    from pandas import DataFrame

METRICS = ("aupr", "fpr95", "auroc")
MATRIX_DRAWS = 2000

Repetitions = dict[int, Record]
"""The records of one method by repetition, that is by seed."""


def compare(results: Path, methods: Sequence[str] = (), dataset: str = "", network: str = "") -> str:
    """Whether one method is better than another, or a matrix of all methods of a data set, as text.

    Methods are compared repetition by repetition: with the same seeds, and so on the same networks.

    Args:
        results: folder with records/.
        methods: two labels; none for the matrix.
        dataset: its label; empty where only one was measured.
        network: its label, likewise.
    Raises:
        BenchmarkError: such records are not there, or cannot be compared.
    """
    if len(methods) not in (0, 2):
        raise BenchmarkError("compare takes two methods, or none for a matrix of all.")
    found = _records(results, methods, dataset, network)
    if len(found) < 2:
        raise BenchmarkError(f"{next(iter(found))} is the only method measured there; a comparison needs two.")
    chosen, note = {name: found[name] for name in methods or found}, ""
    if methods:
        chosen, note = _in_common(chosen)
    records = [record for repetitions in chosen.values() for record in repetitions.values()]
    protocol = _protocol(records)
    rows = {name: {seed: _rows(results, r) for seed, r in each.items()} for name, each in chosen.items()}
    where = records[0]
    parts = [f"{where.dataset.title}, {where.network.label}, protocol {protocol.label}, percent"]
    parts.append(_pair(rows, protocol) if methods else _matrix(rows, protocol))
    seeds = {record.network.seed for record in records}
    if len({(record.network.seed, record.network.weights_sha256) for record in records}) > len(seeds):
        parts.append("Not all were measured with the same weights of the network.")
    return note + "\n\n".join(parts)


def _records(folder: Path, methods: Sequence[str], dataset: str, network: str) -> dict[str, Repetitions]:
    """The whole records of one dataset and network, by method label, which hold all methods asked for."""
    records, problems = read_all(folder)
    if problems:
        raise BenchmarkError(problems[0])
    groups: dict[tuple[str, str], dict[str, Repetitions]] = {}
    for record in sorted(records, key=lambda r: r.network.seed):
        place = record.dataset.name, record.network.label
        asked = dataset in ("", place[0]) and network in ("", place[1])
        if asked and record.dataset.limit is None:
            groups.setdefault(place, {}).setdefault(record.method.label, {})[record.network.seed] = record
    for name in methods:
        if not any(name in group for group in groups.values()):
            known = ", ".join(sorted({n for group in groups.values() for n in group})) or "none"
            raise BenchmarkError(
                f"{folder} has no such record of '{name}' (it has: {known}); measure it with "
                f"'python -m benchmark run --methods {name}' and read it with '--results runs'."
            )
    groups = {place: group for place, group in groups.items() if set(methods) <= set(group)}
    if not groups:
        what = " and ".join(methods) + " with one network on one dataset" if methods else "any method"
        raise BenchmarkError(f"{folder} has no record of {what}; measure with 'run', or name another --results folder.")
    if len(groups) > 1:
        places = "; ".join(f"--dataset {name} --network {label}" for name, label in groups)
        raise BenchmarkError(f"{folder} has several measurements to choose from: {places}.")
    return next(iter(groups.values()))


def _in_common(chosen: Mapping[str, Repetitions]) -> tuple[dict[str, Repetitions], str]:
    """Both methods with the repetitions that both have, and a line that says which, where there is more than one."""
    (one, mine), (other, others) = chosen.items()
    seeds = sorted(mine.keys() & others.keys())
    if not seeds:
        raise BenchmarkError(
            f"{one} and {other} have no repetition in common ({_list(mine)} and {_list(others)}); measure one with "
            f"'python -m benchmark run --methods {other} --repetition {min(mine)}'."
        )
    note = ""
    if len(mine.keys() | others.keys()) > 1:
        note = f"Mean over the repetition{'s' * (len(seeds) > 1)} {_list(seeds)}.\n"
    return {name: {seed: repetitions[seed] for seed in seeds} for name, repetitions in chosen.items()}, note


def _list(seeds) -> str:
    return ", ".join(map(str, seeds))


def _protocol(records: list[Record]) -> PixelProtocol:
    """The first per-image protocol, if all records can be compared under it."""
    first = records[0]
    names = [name for name, measured in first.metrics.items() if measured.aggregation == "per-image"]
    if not names:
        raise BenchmarkError(f"{first.method.label} was not measured under a per-image protocol.")
    for record in records[1:]:
        pair = f"{first.method.label} and {record.method.label}"
        if record.dataset.fingerprint != first.dataset.fingerprint:
            raise BenchmarkError(f"{pair} were measured on different images; measure both again.")
        mine, others = first.metrics[names[0]], record.metrics.get(names[0])
        if others is None or others.version != mine.version:
            raise BenchmarkError(f"{pair} were not both measured under {names[0]} v{mine.version}; measure both again.")
    return pixel_protocol(names[0])


def _rows(results: Path, record: Record) -> DataFrame:
    path = record.path(results).parent / record.rows
    if not record.rows or not path.is_file():
        raise BenchmarkError(
            f"{record.path(results)} has no rows per image beside it; measure it again with 'run --force'."
        )
    return read_rows(path)


def _pair(rows: Mapping[str, dict[int, DataFrame]], chosen: PixelProtocol) -> str:
    """Means, paired difference and the share of resamples, per metric.

    With several repetitions, resamples draw among them, too, and the difference in each is shown.
    """
    from tabulate import tabulate

    lines, names = [], list(rows)
    mine, others = (list(each.values()) for each in rows.values())
    for metric in METRICS:
        values = [[_value(table, metric, chosen) for table in tables] for tables in (mine, others)]
        compared = paired_bootstrap(mine, others, metric, chosen)
        difference = compared.difference
        better, share = (names[0], compared.better) if compared.better >= 0.5 else (names[1], 1 - compared.better)
        verdict = f"{better} is better on {100 * share:.0f} % of resamples"
        interval = f"{100 * difference.value:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"
        apart = ", ".join(f"{100 * (a - b):+.2f}" for a, b in zip(*values))
        lines.append((metric.upper(), *map(_mean, values), interval, *([apart] if len(mine) > 1 else []), verdict))
    each = ["of each repetition"] if len(mine) > 1 else []
    return tabulate(lines, ("", *names, "difference [95 % interval]", *each, ""), disable_numparse=True)


def _value(table: DataFrame, metric: str, chosen: PixelProtocol) -> float:
    return getattr(per_image_result(chosen, table), metric)


def _mean(values: list[float]) -> str:
    """In percent, with the sample standard deviation where there is one."""
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{deviation}"


def _matrix(rows: Mapping[str, dict[int, DataFrame]], chosen: PixelProtocol) -> str:
    """AUPR, best first, and on how many resamples the method of the row is better than that of the column.

    A pair is compared on the repetitions that both have; without any, the cell is a dash.
    """
    from tabulate import tabulate

    aupr = {name: [_value(table, "aupr", chosen) for table in each.values()] for name, each in rows.items()}
    names = sorted(rows, key=lambda name: (-statistics.fmean(aupr[name]), name))
    better: dict[tuple[str, str], str] = {}
    for a, b in combinations(names, 2):
        seeds = sorted(rows[a].keys() & rows[b].keys())
        both = [[rows[name][seed] for seed in seeds] for name in (a, b)]
        share = 100 * paired_bootstrap(*both, "aupr", chosen, draws=MATRIX_DRAWS).better if seeds else None
        better[a, b], better[b, a] = ("–", "–") if share is None else (f"{share:.0f}", f"{100 - share:.0f}")
    several = any(len(each) > 1 for each in rows.values())
    lines = [
        (
            f"{i} {a}",
            _mean(aupr[a]),
            *([str(len(rows[a]))] if several else []),
            *(better[a, b] if a != b else "" for b in names),
        )
        for i, a in enumerate(names, start=1)
    ]
    seeds = ["Seeds"] if several else []
    header = ("AUPR; better on % of resamples than", "AUPR", *seeds, *map(str, range(1, len(names) + 1)))
    align = ("left", *["right"] * (len(header) - 1))
    return tabulate(lines, header, colalign=align, disable_numparse=True)
