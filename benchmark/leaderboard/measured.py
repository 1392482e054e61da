"""Records by dataset, network, method and seed, for those that compare methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

from pandas import DataFrame

from benchmark.errors import BenchmarkError
from benchmark.leaderboard.wording import method_title
from benchmark.metrics import PixelProtocol, pixel_protocol, read_rows
from benchmark.records.record import Record, read_all
from benchmark.values import listed

Repetitions = dict[int, Record]
"""The records of one method by repetition, that is by seed."""


def places_of(folder: Path, dataset: str, network: str, across: bool = False) -> list[dict[str, Repetitions]]:
    """The records of all images that were at hand by method label, for every dataset and network asked for.

    Args:
        folder: with records/.
        dataset: labels separated by commas; empty for all but controls.
        network: a label; empty for all.
        across: whether those of a dataset are one group, in which the labels are "method@network".
    Raises:
        BenchmarkError: a file is no record, or there is none of a dataset or with a network.
    """
    records, problems = read_all(folder)
    if problems:
        raise BenchmarkError(problems[0])
    datasets, known = listed(dataset), sorted({r.dataset.name for r in records})
    records = [r for r in records if not r.dataset.control or r.dataset.name in datasets]
    if unknown := [name for name in datasets if name not in known]:
        raise BenchmarkError(
            f"{folder} has no record on '{unknown[0]}' (it has: {', '.join(known) or 'none'}); measure with "
            f"'python -m benchmark run --dataset {quote(unknown[0])}' and read it with '--results runs'."
        )
    networks = sorted({r.network.label for r in records})
    if network and network not in networks:
        raise BenchmarkError(
            f"{folder} has no record with the network '{network}' (it has: {', '.join(networks) or 'none'}); name "
            f"another --network."
        )
    groups: dict[tuple[str, str], dict[str, Repetitions]] = {}
    for record in sorted(records, key=lambda r: (r.dataset.name, r.network.label, r.network.seed)):
        place = record.dataset.name, record.network.label
        asked = (not datasets or place[0] in datasets) and network in ("", place[1])
        if asked and record.dataset.limit is None:
            label = f"{record.method.label}@{place[1]}" if across else record.method.label
            group = groups.setdefault((place[0], "") if across else place, {})
            group.setdefault(label, {})[record.network.seed] = record
    return list(groups.values())


def label_of(folder: Path, name: str, places: Sequence[Mapping[str, Repetitions]]) -> str:
    """The label of the method that was typed as label, as a table prints it, or by the name of its plugin alone.

    A title may be in upper or lower case. The latter two must leave no choice.
    """
    titles, plugins = {}, {}
    for group in places:
        for label, each in group.items():
            for record in each.values():
                network = label[len(record.method.label) :]
                titles[label], plugins[label] = method_title(record.method) + network, record.method.name + network
    labels = sorted(titles)
    if name in labels:
        return name
    found = [label for label in labels if titles[label].casefold() == name.casefold()]
    found = found or [label for label in labels if plugins[label] == name]
    if len(found) > 1:
        raise BenchmarkError(f"'{name}' names several methods in {folder}: {', '.join(found)}; write one label.")
    if not found:
        raise BenchmarkError(
            f"{folder} has no such record of '{name}' (it has: {', '.join(labels) or 'none'}); measure it with "
            f"'python -m benchmark run --methods {quote(name.partition('@')[0])}' and read it with '--results runs'."
        )
    return found[0]


def shared_protocol(records: list[Record]) -> PixelProtocol:
    """The first per-image protocol, if all records can be compared under it.

    Raises:
        BenchmarkError: they were measured on other images or under other protocols.
    """
    first = records[0]
    where = f"on {first.dataset.name} with {first.network.label}"
    names = [name for name, measured in first.metrics.items() if measured.aggregation == "per-image"]
    if not names:
        raise BenchmarkError(f"{first.method.label} was not measured under a per-image protocol {where}.")
    for record in records[1:]:
        pair = f"{first.method.label} and {record.method.label}"
        if record.dataset.fingerprint != first.dataset.fingerprint:
            raise BenchmarkError(f"{pair} were measured on different images {where}; measure both again.")
        mine, others = first.metrics[names[0]], record.metrics.get(names[0])
        if others is None or others.version != mine.version:
            raise BenchmarkError(
                f"{pair} were not both measured under {names[0]} v{mine.version} {where}; measure both again."
            )
    return pixel_protocol(names[0])


def rows_of(results: Path, record: Record) -> DataFrame:
    """The rows per image beside a record.

    Raises:
        BenchmarkError: there are none.
    """
    path = record.path(results).parent / record.rows
    if not record.rows or not path.is_file():
        raise BenchmarkError(
            f"{record.path(results)} has no rows per image beside it; measure it again with 'run --force'."
        )
    return read_rows(path)
