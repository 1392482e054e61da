"""What further protocols say of the rows of a block: one table of their headlines, one of the classes of sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from pandas import DataFrame, MultiIndex

from benchmark.leaderboard.wording import distinct, marked, mean_percent, method_title, percent
from benchmark.metrics import PROTOCOLS, Measurement, SizeProtocol
from benchmark.records.record import Record

TITLE = "Further protocols"
LEGEND = "In percent; what each protocol is stands in results/README.md."
SIZES_TITLE = "By the size of the anomaly"
SIZES_LEGEND = (
    "In percent, pooled: the anomalies of a class among all normal pixels, others ignored; F1 is that of components. "
    "Above each class stand its sizes in pixels or in percent of the image, the number of its components, and the AUPR "
    "of a constant score. The best value of a column is bold."
)
_BEST: Mapping[str, Callable] = {
    **dict.fromkeys(("siou", "ppv", "mean_f1", "open_miou", "mean_aupr", "aupr", "f1", "ap", "ap50"), max),
    **dict.fromkeys(("mean_fpr95", "fpr95"), min),
}
"""Metrics of which one value is better than another whatever stands beside it."""
_OF_A_CLASS = {"aupr": "AUPR", "fpr95": "FPR95", "f1": "F1"}


class Value(NamedTuple):
    """One place of a table; several seeds of a method give their mean."""

    text: str
    best: bool


@dataclass(frozen=True)
class Extra:
    """A further table of a block.

    Attributes:
        title, legend: what it is, and how to read it.
        methods: label of every row.
        titles: as printed.
        values: columns (group, title) of :class:`Value`, in the order of the rows.
        numbers: the same in percent by names for machines, NaN where there is none.
    """

    title: str
    legend: str
    methods: list[str]
    titles: list[str]
    values: DataFrame
    numbers: DataFrame


class _Column(NamedTuple):
    group: str
    title: str
    protocol: str
    key: str  # in the measurement's extra
    metric: str  # by which values are compared


def extras(records: Sequence[Record], order: Sequence[str]) -> list[Extra]:
    """The further tables of the records of a block; none where no further protocol was measured.

    Args:
        records: of one dataset and one network label; several seeds of a method become one row.
        order: labels of the methods, as the rows of the main table stand.
    """
    measured = {name: m for record in records for name, m in record.metrics.items() if m.images and name in PROTOCOLS}
    headlines, sizes = [], []
    for name in sorted(measured, key=list(PROTOCOLS).index):
        protocol, found = PROTOCOLS[name], measured[name]
        versions = " or ".join(f"v{v}" for v in sorted({r.metrics[name].version for r in records if name in r.metrics}))
        if isinstance(protocol, SizeProtocol):
            sizes += _classes(protocol, found, f", {versions}" * (" or " in versions))
        elif not protocol.of_network:
            group = f"{name} {versions}"
            headlines += [_Column(group, t, name, k, k) for k, t in protocol.headlines.items() if k in found.extra]
    made = [
        _extra(title, legend, columns, records, order)
        for title, legend, columns in ((TITLE, LEGEND, headlines), (SIZES_TITLE, SIZES_LEGEND, sizes))
    ]
    return [each for each in made if each.methods]


def _classes(protocol: SizeProtocol, found: Measurement, versions: str) -> list[_Column]:
    """The columns of every class of sizes that holds a component; `versions` are named where there are several."""
    columns = []
    for kind in protocol.classes:
        if not found.extra.get(f"components_{kind}"):
            continue
        count, constant = found.extra[f"components_{kind}"], found.extra.get(f"constant_aupr_{kind}")
        unit = "" if protocol.relative else " px"
        words = f"{kind}{unit}, {count:.0f} components, constant {percent(constant or 0.0, 2)}{versions}"
        columns += [_Column(words, title, protocol.name, f"{key}_{kind}", key) for key, title in _OF_A_CLASS.items()]
    return columns


def _extra(
    title: str, legend: str, columns: Sequence[_Column], records: Sequence[Record], order: Sequence[str]
) -> Extra:
    found = {
        label: [_values(column, [r for r in records if r.method.label == label]) for column in columns]
        for label in order
    }
    methods = [label for label in order if any(found[label])]
    best = []
    for index, column in enumerate(columns):
        means = [percent(fmean(found[label][index])) for label in methods if found[label][index]]
        chosen = _BEST.get(column.metric)
        best.append(chosen(means, key=float) if chosen and len(means) > 1 else None)
    rows = [
        [
            Value(mean_percent(values), bool(values) and percent(fmean(values)) == best[index])
            for index, values in enumerate(found[label])
        ]
        for label in methods
    ]
    heads = MultiIndex.from_tuples([(c.group, c.title) for c in columns], names=(None, None)) if columns else []
    numbers = [[100 * fmean(values) if values else float("nan") for values in found[label]] for label in methods]
    names = {
        r.method.label: marked(method_title(r.method), r.external) + " *" * bool(r.method.auxiliary_data)
        for r in records
    }
    legend += " * saw outliers in training." * any(names[label].endswith(" *") for label in methods)
    return Extra(
        title,
        legend,
        methods,
        [names[label] for label in methods],
        DataFrame(rows, columns=heads, dtype=object),
        DataFrame(numbers, columns=[f"{c.protocol}.{c.key}" for c in columns], index=methods),
    )


def _values(column: _Column, records: Sequence[Record]) -> list[float]:
    """The values of all seeds of a method that have one."""
    found = (r.metrics[column.protocol].extra.get(column.key) for r in records if column.protocol in r.metrics)
    return [value for value in found if value is not None]


def calibration(records: Sequence[Record]) -> list[str]:
    """A phrase on the calibration of the network that the rows share; none where it was not measured."""
    phrases = []
    for name, words in (("calibration", "calibration of the network"), ("calibration-val", "on its validation images")):
        if texts := _calibration([r.metrics[name] for r in records if name in r.metrics]):
            phrases.append(f"{words}: {texts}")
    return phrases


def _calibration(found: Sequence[Measurement]) -> str:
    phrases = []
    for key, title, scale in (
        ("ece", "ECE", 100),
        ("adaptive_ece", "adaptive ECE", 100),
        ("nll", "NLL", 1),
        ("brier", "Brier", 1),
    ):
        texts = distinct(f"{scale * v:.2f}" for m in found if (v := m.extra.get(key)) is not None)
        phrases += [f"{title} {' or '.join(texts)}"] if texts else []
    return ", ".join(phrases)
