"""What further protocols say of the rows of a block: tables of their headlines, of false alarms, of sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from pandas import DataFrame, MultiIndex

from benchmark.leaderboard import failures
from benchmark.leaderboard.cells import BEST, Cell, best
from benchmark.leaderboard.wording import AGGREGATIONS, distinct, mean_percent, names, primary
from benchmark.metrics import METRICS, PROTOCOLS, Measurement, SizeProtocol
from benchmark.records.record import Record
from benchmark.values import OutlierData

TITLE = "Further protocols"
LEGEND = f"In percent; what each protocol is stands in results/README.md. {BEST}"
SIZES_TITLE = "By the size of the anomaly"
SIZES_LEGEND = (
    "In percent, pooled: the anomalies of a class among all normal pixels, others ignored; F1 is that of components. "
    "Above each class stand its sizes in pixels or in percent of the image, the number of its components, and the AUPR "
    f"of a constant score. {BEST}"
)
_OF_A_CLASS = {"aupr": "AUPR", "fpr95": "FPR95", "f1": "F1"}


@dataclass(frozen=True)
class Extra:
    """A further table of a block.

    Attributes:
        title, legend: what it is, and how to read it.
        methods: label of every row.
        saw: what outliers each of them saw in training, in the order of printing.
        cells: columns (group, title) of :class:`~benchmark.leaderboard.cells.Cell`, in the order of the rows; several
            seeds of a method give their mean.
        numbers: the same by names for machines, ``PROTOCOL.METRIC`` in percent, NaN where there is none, and
            ``PROTOCOL.protocol``, its name and version.
    """

    title: str
    legend: str
    methods: list[str]
    saw: list[OutlierData]
    cells: DataFrame
    numbers: DataFrame


class _Column(NamedTuple):
    group: str
    title: str
    protocol: str
    key: str  # of the measurement
    metric: str  # by which values are compared


def extras(records: Sequence[Record], rows: DataFrame) -> list[Extra]:
    """The further tables of the records of a block; none where no further protocol was measured.

    Args:
        records: of one dataset and one network label; several seeds of a method become one row.
        rows: those of the main table, with its columns "method", "title", "external" and "auxiliary_data".
    """
    titles = {(name, key): title for record in records for name, key, title in headlines(record)}
    further, errors, sizes = [], [], []
    for name, protocol in PROTOCOLS.items():
        found = [r.metrics[name] for r in records if name in r.metrics and r.metrics[name].images]
        if not found or protocol.of_network:
            continue
        versions = _versions(found)
        if isinstance(protocol, SizeProtocol):
            sizes += _classes(protocol, found, f", {versions}" * (" or " in versions))
            continue
        split = getattr(protocol, "split", False)
        group = "" if split else f"{name} {versions}"
        columns = errors if split else further
        columns += [_Column(group, title, name, key, key) for (of, key), title in titles.items() if of == name]
    under = distinct(_under(column.protocol, records) for column in errors)
    places = {label: place for place, label in enumerate(failures.failures(records)["method"])}
    fewest = rows.sort_values("method", key=lambda labels: labels.map(places), kind="stable")
    made = [
        _extra(TITLE, LEGEND, further, records, rows),
        _extra(failures.TITLE, failures.legend(" and ".join(under)), errors, records, fewest),
        _extra(SIZES_TITLE, SIZES_LEGEND, sizes, records, rows),
    ]
    return [each for each in made if each.methods]


def headlines(record: Record) -> Iterator[tuple[str, str, str]]:
    """Protocol, metric and title of all that a record holds beside the values of the main table.

    A second protocol that ranks pixels per image, or pooled, is a further one.
    """
    shown = [primary(record, aggregation) for aggregation in AGGREGATIONS]
    for name, measured in record.metrics.items():
        if not measured.images or name not in PROTOCOLS:
            continue
        protocol = PROTOCOLS[name]
        titles = failures.RATES if getattr(protocol, "split", False) else protocol.headlines
        further = not any(measured is each for each in shown)
        for key, title in titles.items():
            if key in measured.extra or (further and key in METRICS):
                yield name, key, title


def _versions(found: Sequence[Measurement]) -> str:
    return " or ".join(f"v{version}" for version in sorted({m.version for m in found}))


def _classes(protocol: SizeProtocol, found: Sequence[Measurement], versions: str) -> list[_Column]:
    """The columns of every class of sizes that holds a component; `versions` are named where there are several."""

    def all_of(key: str, form: str, scale: int = 1) -> str:
        return " or ".join(distinct(format(scale * v, form) for m in found if (v := m.extra.get(key)) is not None))

    columns = []
    for kind in protocol.classes:
        if not any(m.extra.get(f"components_{kind}") for m in found):
            continue
        count, constant = all_of(f"components_{kind}", ".0f"), all_of(f"constant_aupr_{kind}", ".2f", 100)
        unit = "" if protocol.relative else " px"
        words = f"{kind}{unit}, {count} components, constant {constant}{versions}"
        columns += [_Column(words, title, protocol.name, f"{key}_{kind}", key) for key, title in _OF_A_CLASS.items()]
    return columns


def _extra(title: str, legend: str, columns: Sequence[_Column], records: Sequence[Record], rows: DataFrame) -> Extra:
    behind: dict[str, list[Record]] = {}
    for record in records:
        behind.setdefault(record.method.label, []).append(record)
    found = {
        row.method: [_values(column, behind.get(row.method, [])) for column in columns]
        for row in rows.itertuples(index=False)
    }
    shown = rows[[any(found[label]) for label in rows["method"]]].drop_duplicates("method")
    methods, saw = list(shown["method"]), list(shown["auxiliary_data"])
    titles = names(methods, shown["title"], shown["external"])
    cells: dict[tuple[str, str], list[Cell]] = {("", "Method"): [Cell(title) for title in titles]}
    numbers: dict[str, list[Any]] = {}
    for index, column in enumerate(columns):
        under = [_under(column.protocol, behind[label]) for label in methods]
        means = [100 * fmean(values) if (values := found[label][index]) else float("nan") for label in methods]
        texts = [mean_percent(found[label][index]) for label in methods]
        chosen = best(means, column.metric, saw, under)
        cells[column.group, column.title] = [Cell(t, kind="best" * b) for t, b in zip(texts, chosen, strict=True)]
        numbers |= {f"{column.protocol}.protocol": under, f"{column.protocol}.{column.key}": means}
    counts = [distinct(str(len(values)) for values in found[label] if values) for label in methods]
    if any(count != ["1"] for count in counts):
        cells["", "Seeds"] = [Cell(" or ".join(count)) for count in counts]
    heads = MultiIndex.from_tuples(cells, names=(None, None))
    table = DataFrame({head: texts for head, texts in enumerate(cells.values())}, dtype=object).set_axis(heads, axis=1)
    return Extra(title, legend, methods, saw, table, DataFrame(numbers, index=methods))


def _values(column: _Column, records: Sequence[Record]) -> list[float]:
    """The values of all seeds of a method that have one."""
    found = (r.metrics[column.protocol].value(column.key) for r in records if column.protocol in r.metrics)
    return [value for value in found if value is not None]


def _under(protocol: str, records: Sequence[Record]) -> str:
    """A protocol with the version under which a method was measured; every version where its seeds differ."""
    found = [r.metrics[protocol] for r in records if protocol in r.metrics]
    return f"{protocol} {_versions(found)}" if found else ""


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
