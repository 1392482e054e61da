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
from benchmark.leaderboard.formats import WIDTH, terminal_table, terminal_text, widest
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
SURE = 95
"""Percent of the resamples from which on a method is called better than another where the matrix does not fit."""

_EACH = "of each repetition"
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


def comparisons(
    results: Path, methods: Sequence[str] = (), dataset: str = "", network: str = "", width: int = WIDTH
) -> list[Comparison]:
    """Whether one method is better than another, or a matrix of several methods, for every dataset asked for.

    Methods are compared repetition by repetition: with the same seeds, and so on the same networks.

    Args:
        results: folder with records/.
        methods: labels ("knn:k=5") or names as in the tables ("kNN (k=5)"), each with the label of its network behind
            an @ where these differ ("dicnet@pspnet-small"): two, more for a matrix of these, none for one of all.
        dataset: its label, or several separated by commas; empty for every one where they were measured, one after
            the other.
        network: its label, likewise.
        width: characters that a line of text may have. A pair with long labels is numbered; in place of a matrix that
            does not fit, each method has a list of those that it is better than.
    Raises:
        BenchmarkError: such records are not there, or cannot be compared.
    """
    if len(methods) == 1:
        raise BenchmarkError("compare takes two methods, more for a matrix of these, or none for one of all.")
    across = any("@" in name for name in methods)
    if across and (network or not all("@" in name for name in methods)):
        raise BenchmarkError("Across networks, each method has its own behind an @, and --network is left out.")
    places = places_of(results, dataset, network, across)
    labels = [label_of(results, name, places) for name in methods]
    for (one, label), (other, same) in combinations(zip(methods, labels, strict=True), 2):
        if label == same:
            raise BenchmarkError(f"'{one}' and '{other}' are one method; name each once.")
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
    return [_section(results, group, labels, width) for group in chosen if len(group) > 1]


def _section(results: Path, group: Mapping[str, Repetitions], labels: Sequence[str], width: int) -> Comparison:
    """Two methods, some or all of them, on one dataset with one network."""
    chosen = {label: group[label] for label in labels or group}
    seeds = {label: set(repetitions) for label, repetitions in chosen.items()}
    note, pair = "", len(labels) == 2
    if pair:
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
    parts = [terminal_text(heading, width)]
    external = {label: any(r.external for r in each.values()) for label, each in chosen.items()}
    saw = {label: next(iter(each.values())).method.auxiliary_data for label, each in chosen.items()}
    names = {label: marked(label, external[label]) + STARS[saw[label]] for label in chosen}
    table, found = (_pair if pair else _matrix)(rows, protocol, names, width)
    parts.append("\n".join([table, *outlier_legend(saw.values())]))
    parts += [terminal_text(text, width) for text in external_legend(records)]
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


def _pair(rows: Rows, protocol: PixelProtocol, names: Mapping[str, str], width: int) -> tuple[str, dict[str, Any]]:
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
        line = {"Metric": title} | {names[label]: mean_percent(found, 2) for label, found in zip(rows, values)}
        line["difference [95 % interval]"] = f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"
        if len(mine) > 1:
            line[_EACH] = ", ".join(f"{100 * (a - b):+.2f}" for a, b in zip(*values))
        line["verdict"] = _verdict(names[one], names[other], 100 * compared.better)
        lines.append(line)
        plain[metric] = {
            "values": {label: [100 * value for value in found] for label, found in zip(rows, values)},
            "difference": middle,
            "interval": [low, high],
            "first_better": 100 * compared.better,
        }
    about = {"repetitions": list(rows[one]), "metrics": plain}
    return _fitted(DataFrame(lines), names, [each["first_better"] for each in plain.values()], width), about


def _fitted(table: DataFrame, names: Mapping[str, str], first_better: Sequence[float], width: int) -> str:
    """The table of a pair. Where it is too wide, repetitions stand below it, and then numbers stand for names."""
    text, below, above = terminal_table(table), [], []
    if widest(text) <= WIDTH:  # a narrower terminal breaks its lines no worse than numbers would
        return text
    if widest(text) > width and _EACH in table:
        said = zip(table["Metric"], table[_EACH], strict=True)
        below = ["", *(terminal_text(f"Of each repetition, {metric}: {found}", width) for metric, found in said)]
        table = table.drop(columns=_EACH)
        text = terminal_table(table)
    if widest(text) > width:
        numbers = {name: str(number) for number, name in enumerate(names.values(), 1)}
        above = [*(terminal_text(f"{number}  {name}", width) for name, number in numbers.items()), ""]
        table = table.rename(columns=numbers)
        table["verdict"] = [_verdict(*numbers.values(), share) for share in first_better]
        over = widest(terminal_table(table)) - width
        text = terminal_table(table, verdict=max(12, table["verdict"].map(len).max() - max(0, over)))
    return "\n".join([*above, text, *below])


def _verdict(one: str, other: str, first: float) -> str:
    """Which of two is better on most resamples, and on how many percent; `first` is that of the first."""
    if first == 50:
        return "neither is better"
    return f"{one if first > 50 else other} is better on {max(first, 100 - first):.0f} % of resamples"


def _value(table: DataFrame, metric: str, protocol: PixelProtocol) -> float:
    return getattr(per_image_result(protocol, table), metric)


def _matrix(rows: Rows, protocol: PixelProtocol, names: Mapping[str, str], width: int) -> tuple[str, dict[str, Any]]:
    """AUPR, best first, and on how many resamples the method of the row is better than that of the column.

    A pair is compared on the repetitions that both have; without any, the cell is a dash. Where the columns do not fit,
    their numbers are listed in each row.
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
    text = terminal_table(table.join(better.set_axis(numbers, axis=1)))
    if (needed := widest(text)) <= width:
        return f"{legend}\n\n{text}", {"methods": plain}
    legend = (
        f"Numbers are those of methods: better than these on {SURE} % of the resamples or more in AUPR; not told apart "
        f"from those where neither is. The matrix of all shares would be {needed} characters wide: name some methods "
        f"for one of these, or take --json; --dataset and --network choose a board."
    )
    return f"{terminal_text(legend, width)}\n\n{_lists(table, labels, shares, width)}", {"methods": plain}


def _lists(table: DataFrame, labels: Sequence[str], shares: Mapping[str, Mapping[str, float]], width: int) -> str:
    """The matrix turned: which methods each one is better than, and which it is not told apart from."""
    found: dict[str, list[str]] = {"better than": [], "not told apart from": [], "no repetition in common with": []}
    for label in labels:
        chosen: dict[str, list[int]] = {title: [] for title in found}
        for number, other in enumerate(labels, 1):
            share = shares[label].get(other)
            if share is None:
                chosen["no repetition in common with"] += [number] * (other != label)
            elif share > 100 - SURE:
                chosen["better than" if share >= SURE else "not told apart from"].append(number)
        for title, numbers in chosen.items():
            found[title].append(_ranges(numbers))
    shown = {title: texts for title, texts in found.items() if any(texts)}
    first = min(44, table["Method"].map(len).max())
    used = first + sum(2 + max(len(name), table[name].map(len).max()) for name in table if name != "Method")
    column = max(12, (width - used) // len(shown) - 2)
    for title, texts in shown.items():
        table[title] = [text or NOTHING for text in texts]
    return terminal_table(table, first, **dict.fromkeys(shown, column))


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in words: "1, 3–5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
