"""``compare``."""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelProtocol, Rows, paired_bootstrap, per_image_result, pixel_protocol, read_rows
from benchmark.record import Record, read_all

METRICS = ("aupr", "fpr95", "auroc")
MATRIX_DRAWS = 2000


def compare(arguments: argparse.Namespace) -> int:
    """Print whether one method is better than another, or a matrix of all methods of a dataset."""
    if len(arguments.methods) not in (0, 2):
        raise BenchmarkError("compare takes two methods, or none for a matrix of all.")
    found = _records(arguments)
    if len(found) < 2:
        raise BenchmarkError(f"{next(iter(found))} is the only method measured there; a comparison needs two.")
    records = [found[name] for name in arguments.methods or found]
    chosen = _protocol(records)
    rows = {record.method.label: _rows(arguments.results, record) for record in records}
    where = records[0]
    print(f"{where.dataset.title}, {where.network.label}, protocol {chosen.label}, percent\n")
    print(_pair(rows, chosen) if arguments.methods else _matrix(rows, chosen))
    if len({record.network.weights_sha256 for record in records}) > 1:
        print("\nNot all were measured with the same weights of the network.")
    return 0


def _records(arguments: argparse.Namespace) -> dict[str, Record]:
    """The whole records of one dataset and network, by method label, which hold all methods asked for."""
    folder = arguments.results
    records, problems = read_all(folder)
    if problems:
        raise BenchmarkError(problems[0])
    groups: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        place = record.dataset.name, record.network.label
        asked = arguments.dataset in ("", place[0]) and arguments.network in ("", place[1])
        if asked and record.dataset.limit is None and record.network.seed == 0:
            groups.setdefault(place, {})[record.method.label] = record
    for name in arguments.methods:
        if not any(name in group for group in groups.values()):
            known = ", ".join(sorted({n for group in groups.values() for n in group})) or "none"
            raise BenchmarkError(
                f"{folder} has no such record of '{name}' (it has: {known}); measure it with "
                f"'python -m benchmark run --methods {name}' and read it with '--results runs'."
            )
    groups = {place: group for place, group in groups.items() if set(arguments.methods) <= set(group)}
    if not groups:
        what = (
            " and ".join(arguments.methods) + " with one network on one dataset" if arguments.methods else "any method"
        )
        raise BenchmarkError(f"{folder} has no record of {what}; measure with 'run', or name another --results folder.")
    if len(groups) > 1:
        places = "; ".join(f"--dataset {dataset} --network {network}" for dataset, network in groups)
        raise BenchmarkError(f"{folder} has several measurements to choose from: {places}.")
    return next(iter(groups.values()))


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


def _rows(results: Path, record: Record) -> Rows:
    path = record.path(results).parent / record.rows
    if not record.rows or not path.is_file():
        raise BenchmarkError(
            f"{record.path(results)} has no rows per image beside it; measure it again with 'run --force'."
        )
    return read_rows(path)


def _pair(rows: dict[str, Rows], chosen: PixelProtocol) -> str:
    """Means, paired difference and the share of resamples, per metric."""
    from tabulate import tabulate

    lines, names = [], list(rows)
    results = [per_image_result(chosen, table) for table in rows.values()]
    for metric in METRICS:
        compared = paired_bootstrap(*rows.values(), metric, chosen)
        difference = compared.difference
        better, share = (names[0], compared.better) if compared.better >= 0.5 else (names[1], 1 - compared.better)
        verdict = f"{better} is better on {100 * share:.0f} % of resamples"
        interval = f"{100 * difference.value:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"
        lines.append(
            (metric.upper(), *(f"{100 * getattr(result, metric):.2f}" for result in results), interval, verdict)
        )
    return tabulate(lines, ("", *names, "difference [95 % interval]", ""), disable_numparse=True)


def _matrix(rows: dict[str, Rows], chosen: PixelProtocol) -> str:
    """AUPR, best first, and on how many resamples the method of the row is better than that of the column."""
    from tabulate import tabulate

    aupr = {name: per_image_result(chosen, table).aupr for name, table in rows.items()}
    names = sorted(rows, key=lambda name: (-aupr[name], name))
    better: dict[tuple[str, str], float] = {}
    for a, b in combinations(names, 2):
        better[a, b] = paired_bootstrap(rows[a], rows[b], "aupr", chosen, draws=MATRIX_DRAWS).better
        better[b, a] = 1 - better[a, b]
    lines = [
        (f"{i} {a}", f"{100 * aupr[a]:.2f}", *(f"{100 * better[a, b]:.0f}" if a != b else "" for b in names))
        for i, a in enumerate(names, start=1)
    ]
    header = ("AUPR; better on % of resamples than", "AUPR", *map(str, range(1, len(names) + 1)))
    align = ("left", *["right"] * (1 + len(names)))
    return tabulate(lines, header, colalign=align, disable_numparse=True)
