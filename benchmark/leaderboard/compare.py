"""Whether one measured method is better than another, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from shlex import quote
from typing import Any

from pandas import DataFrame

from benchmark.errors import BenchmarkError
from benchmark.leaderboard.formats import TERMINAL, terminal_table
from benchmark.leaderboard.measured import Repetitions, label_of, places_of, rows_of, shared_protocol
from benchmark.leaderboard.wording import (
    METRIC_TITLES,
    NOTHING,
    STARS,
    external_legend,
    marked,
    mean_percent,
    outlier_legend,
)
from benchmark.metrics import PixelProtocol, paired_bootstrap, per_image_result
from benchmark.records.record import Record

MATRIX_DRAWS = 2000

Rows = dict[str, dict[int, DataFrame]]
"""Label -> repetition -> rows per image."""


@dataclass(frozen=True)
class Comparison:
    """Methods compared on one dataset, with one network or each with its own.

    Attributes:
        text: as printed.
        values: the same in plain values: dataset, networks, protocol, repetitions, and "metrics" of a pair or "methods"
            of a matrix, in percent and percentage points.
    """

    text: str
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return self.text


def compare(results: Path, methods: Sequence[str] = (), dataset: str = "", network: str = "") -> str:
    """The :func:`comparisons` as text."""
    return "\n\n\n".join(map(str, comparisons(results, methods, dataset, network)))


def comparisons(results: Path, methods: Sequence[str] = (), dataset: str = "", network: str = "") -> list[Comparison]:
    """Whether one method is better than another, or a matrix of all methods, for every dataset asked for.

    Methods are compared repetition by repetition: with the same seeds, and so on the same networks.

    Args:
        results: folder with records/.
        methods: two labels ("knn:k=5") or names as in the tables ("kNN (k=5)"), each with the label of its network
            behind an @ where these differ ("dicnet@pspnet-small"); none for the matrix.
        dataset: its label, or several separated by commas; empty for every one where they were measured, one after
            the other.
        network: its label, likewise.
    Raises:
        BenchmarkError: such records are not there, or cannot be compared.
    """
    if len(methods) not in (0, 2):
        raise BenchmarkError("compare takes two methods, or none for a matrix of all; --ranks takes any number.")
    across = any("@" in name for name in methods)
    if across and (network or not all("@" in name for name in methods)):
        raise BenchmarkError("Across networks, each method has its own behind an @, and --network is left out.")
    places = places_of(results, dataset, network, across)
    labels = [label_of(results, name, places) for name in methods]
    if methods and labels[0] == labels[1]:
        raise BenchmarkError(f"'{methods[0]}' and '{methods[1]}' are one method; name two.")
    chosen = [group for group in places if set(labels) <= set(group)]
    if not chosen:
        what = (
            " and ".join(methods) + f"{'' if across else ' with one network'} on one dataset"
            if methods
            else "any method"
        )
        raise BenchmarkError(
            f"{results} has no record of {what}; measure with 'run', or name another --results folder."
        )
    if not methods and all(len(group) < 2 for group in chosen):
        raise BenchmarkError(f"{next(iter(chosen[0]))} is the only method measured there; a comparison needs two.")
    return [_section(results, group, labels) for group in chosen if len(group) > 1]


def _section(results: Path, group: Mapping[str, Repetitions], labels: Sequence[str]) -> Comparison:
    """Two methods, or all of them, on one dataset with one network."""
    chosen = {label: group[label] for label in labels or group}
    seeds = {label: set(repetitions) for label, repetitions in chosen.items()}
    note = ""
    if labels:
        common = _in_common(seeds, {label: next(iter(each.values())) for label, each in chosen.items()})
        if len(set.union(*seeds.values())) > 1:
            note = f"Mean over the repetition{'s' * (len(common) > 1)} {_list(common)}.\n"
        chosen = {label: {seed: repetitions[seed] for seed in common} for label, repetitions in chosen.items()}
    records = [record for repetitions in chosen.values() for record in repetitions.values()]
    protocol = shared_protocol(records)
    rows = {label: {seed: rows_of(results, r) for seed, r in each.items()} for label, each in chosen.items()}
    where = records[0]
    networks = list(dict.fromkeys(record.network.label for record in records))
    images = f"{where.dataset.images} images"
    heading = f"{where.dataset.title}, {' and '.join(networks)}, protocol {protocol.label}, {images}, percent"
    parts = [TERMINAL.escape(heading)]
    external = {label: any(r.external for r in each.values()) for label, each in chosen.items()}
    saw = {label: next(iter(each.values())).method.auxiliary_data for label, each in chosen.items()}
    names = {label: marked(label, external[label]) + STARS[saw[label]] for label in chosen}
    table, found = _pair(rows, protocol, names) if labels else _matrix(rows, protocol, names)
    parts.append("\n".join([table, *outlier_legend(saw.values())]))
    parts += map(TERMINAL.escape, external_legend(records))
    if len(networks) == 1 and len({(r.network.seed, r.network.weights_sha256) for r in records}) > len(
        {r.network.seed for r in records}
    ):
        parts.append("Not all were measured with the same weights of the network.")
    about = {"dataset": where.dataset.name, "networks": networks, "protocol": protocol.label}
    return Comparison(note + "\n\n".join(parts), about | found)


def _in_common(seeds: Mapping[str, set[int]], records: Mapping[str, Record]) -> list[int]:
    (one, mine), (other, others) = seeds.items()
    if not mine & others:
        record = records[other]
        raise BenchmarkError(
            f"{one} and {other} have no repetition in common ({_list(mine)} and {_list(others)}); measure one with "
            f"'python -m benchmark run --dataset {quote(record.dataset.name)} --methods {quote(record.method.label)} "
            f"--repetition {min(mine)}' on the same network."
        )
    return sorted(mine & others)


def _list(seeds) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _pair(rows: Rows, protocol: PixelProtocol, names: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Means, paired difference and the share of resamples, per metric; as a table and as plain values.

    With several repetitions, resamples draw among them, too, and the difference in each is shown.
    """
    one, other = rows
    mine, others = (list(each.values()) for each in rows.values())
    lines, plain = [], {}
    for metric, title in METRIC_TITLES.items():
        values = [[_value(table, metric, protocol) for table in tables] for tables in (mine, others)]
        compared = paired_bootstrap(mine, others, metric, protocol)
        low, middle, high = (100 * getattr(compared.difference, end) for end in ("low", "value", "high"))
        better, share = (one, compared.better) if compared.better >= 0.5 else (other, 1 - compared.better)
        line = {"Metric": title} | {names[label]: mean_percent(found, 2) for label, found in zip(rows, values)}
        line["difference [95 % interval]"] = f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"
        if len(mine) > 1:
            line["of each repetition"] = ", ".join(f"{100 * (a - b):+.2f}" for a, b in zip(*values))
        line["verdict"] = f"{names[better]} is better on {100 * share:.0f} % of resamples"
        lines.append(line)
        plain[metric] = {
            "values": {label: [100 * value for value in found] for label, found in zip(rows, values)},
            "difference": middle,
            "interval": [low, high],
            "first_better": 100 * compared.better,
        }
    return terminal_table(DataFrame(lines)), {"repetitions": list(rows[one]), "metrics": plain}


def _value(table: DataFrame, metric: str, protocol: PixelProtocol) -> float:
    return getattr(per_image_result(protocol, table), metric)


def _matrix(rows: Rows, protocol: PixelProtocol, names: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """AUPR, best first, and on how many resamples the method of the row is better than that of the column.

    A pair is compared on the repetitions that both have; without any, the cell is a dash.
    """
    aupr = {label: [_value(table, "aupr", protocol) for table in each.values()] for label, each in rows.items()}
    labels = sorted(rows, key=lambda label: (-sum(aupr[label]) / len(aupr[label]), label))
    better = DataFrame("", labels, labels)
    shares: dict[str, dict[str, float]] = {label: {} for label in labels}
    for one, other in combinations(labels, 2):
        seeds = sorted(rows[one].keys() & rows[other].keys())
        if seeds:
            mine, others = ([rows[label][seed] for seed in seeds] for label in (one, other))
            share = 100 * paired_bootstrap(mine, others, "aupr", protocol, draws=MATRIX_DRAWS).better
            shares[one][other], shares[other][one] = share, 100 - share
            better.loc[one, other], better.loc[other, one] = f"{share:.0f}", f"{100 - share:.0f}"
        else:
            better.loc[one, other] = better.loc[other, one] = NOTHING
    numbers = [str(place) for place in range(1, len(labels) + 1)]
    table = DataFrame(
        {
            "Method": [f"{number} {names[label]}" for number, label in zip(numbers, labels)],
            "AUPR": [mean_percent(aupr[label], 2) for label in labels],
            "Seeds": [str(len(rows[label])) for label in labels],
        },
        index=labels,
    )
    if all(len(each) == 1 for each in rows.values()):
        del table["Seeds"]
    legend = (
        "Under a number: on how many percent of the resamples the row has a better AUPR than the method of that number."
    )
    plain = [
        {
            "method": label,
            "repetitions": list(rows[label]),
            "aupr": [100 * value for value in aupr[label]],
            "better_than": shares[label],
        }
        for label in labels
    ]
    return f"{legend}\n\n{terminal_table(table.join(better.set_axis(numbers, axis=1)))}", {"methods": plain}
