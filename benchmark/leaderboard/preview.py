"""What an adoption changes, record by record, for whoever decides it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pandas import DataFrame

from benchmark.leaderboard.formats import TERMINAL, terminal_table
from benchmark.leaderboard.wording import MARK, METRIC_TITLES, NOTHING, busy, distinct, machine_of, marked, primary
from benchmark.metrics import METRICS
from benchmark.records.adoption import Candidate
from benchmark.records.record import Record

ARROW = "→"
DIGITS = 2


def values(candidate: Candidate) -> dict[str, Any]:
    """One record in plain values, metrics in percent and percentage points; "old" is null where nothing is replaced."""
    old, new = candidate.old, candidate.record
    return {
        "record": candidate.name,
        "change": change(candidate),
        "dataset": new.dataset.name,
        "network": new.network.label,
        "method": new.method.label,
        "seed": new.network.seed,
        "external": new.external,
        "metrics": {
            protocol: {metric: _numbers(old, new, protocol, metric) for metric in METRICS}
            for protocol, measured in new.metrics.items()
            if any(getattr(measured, metric) is not None for metric in METRICS)
        },
        "differs": _differs(candidate),
        "dirty": new.provenance.dirty,
        "times": {"old": _times(old) if old else None, "new": _times(new)},
    }


def change(candidate: Candidate) -> str:
    """ "new", "replaces", or "same numbers" where all metrics are those of the record that is replaced."""
    old, new = candidate.old, candidate.record
    if old is None:
        return "replaces" if candidate.target.exists() else "new"
    return "same numbers" if old.metrics == new.metrics and old.segmentation == new.segmentation else "replaces"


def text(chosen: Sequence[Candidate]) -> str:
    """Tables for a terminal: of every dataset and network the metrics, then the times, then what else differs."""

    def place(candidate: Candidate) -> tuple[str, str]:
        return candidate.record.dataset.name, candidate.record.network.label

    parts = []
    for (dataset, network), members in groupby(sorted(chosen, key=place), place):
        group = list(members)
        changes = [change(each) for each in group]
        counted = ", ".join(f"{changes.count(word)} {word}" for word in ("new", "replaces", "same numbers"))
        heading = TERMINAL.escape(f"{dataset}, {network}: {counted.replace('replaces', 'replaced')}")
        tables = [terminal_table(DataFrame(map(_metrics_row, group)))]
        if any(machine_of(record) for each in group for record in (each.old, each.record) if record):
            tables.append(times(group))
        remarks = [f"{_title(each)}: {words}." for each in group if (words := _remarks(each))]
        parts.append("\n\n".join([heading, *tables, *(["\n".join(remarks)] if remarks else [])]))
    return "\n\n\n".join(parts)


def times(chosen: Sequence[Candidate]) -> str:
    """A table of times for a terminal, each beside that which it replaces."""
    table = terminal_table(DataFrame(map(_times_row, chosen)))
    if any(busy(record) for each in chosen for record in (each.old, each.record) if record):
        table += f"\n{MARK} beside other work on the machine: too long"
    return table


def _title(candidate: Candidate) -> str:
    return TERMINAL.escape(marked(candidate.record.method.label, candidate.record.external))


def _metrics_row(candidate: Candidate) -> dict[str, str]:
    """The per-image values of a record, each beside that which it replaces; pooled ones where there are no others."""
    new = candidate.record
    protocol = _protocol(new)
    row = {"Method": _title(candidate), "Seed": str(new.network.seed), "Change": change(candidate)}
    for metric, title in METRIC_TITLES.items():
        found = _numbers(candidate.old, new, protocol, metric) if protocol else {"old": None, "new": None}
        row[title] = _before_and_after(found["old"], found["new"], candidate.old is not None, DIGITS)
    return row | {"Protocol": f"{protocol} v{new.metrics[protocol].version}" if protocol else NOTHING}


def _protocol(record: Record) -> str:
    found = primary(record, "per-image") or primary(record, "pooled")
    return next((name for name, measured in record.metrics.items() if measured is found), "")


def _times_row(candidate: Candidate) -> dict[str, str]:
    """Milliseconds per image, load and machine."""
    old, new = candidate.old, candidate.record
    row = {"Method": _title(candidate), "Seed": str(new.network.seed)}
    for title, name in (("net ms", "network_ms"), ("method ms", "method_ms")):
        before, after = (getattr(record.cost, name) if record else None for record in (old, new))
        row[title] = _before_and_after(before, after, old is not None, 1)
    loads = distinct(_load(record) for record in (old, new) if record)
    machines = distinct(machine_of(record) or NOTHING for record in (old, new) if record)
    return row | {"Load": f" {ARROW} ".join(loads), "Machine": f" {ARROW} ".join(machines)}


def _load(record: Record) -> str:
    load = record.timing.load
    return NOTHING if load is None else f"{load:.2f}{f' {MARK}' if busy(record) else ''}"


def _before_and_after(old: float | None, new: float | None, replaced: bool, digits: int) -> str:
    """ "13.94 → 13.90 (-0.04)"; the new value alone where it replaces nothing, or the same."""
    before, after = (NOTHING if value is None else f"{value:.{digits}f}" for value in (old, new))
    if not replaced or old == new:
        return after
    difference = f" ({new - old:+.{digits}f})" if old is not None and new is not None else ""
    return f"{before} {ARROW} {after}{difference}"


def _numbers(old: Record | None, new: Record, protocol: str, metric: str) -> dict[str, float | None]:
    """A metric before and after, and the difference."""
    found = [each.metrics.get(protocol) if each else None for each in (old, new)]
    before, after = (None if m is None or (v := getattr(m, metric)) is None else 100 * v for m in found)
    difference = after - before if before is not None and after is not None else None
    return {"old": before, "new": after, "difference": difference}


def _differs(candidate: Candidate) -> list[str]:
    """What decides the numbers and is not what it was, in words."""
    return candidate.old.stale(candidate.record.identity) if candidate.old else []


def _remarks(candidate: Candidate) -> str:
    """What the tables do not show."""
    old, new = candidate.old, candidate.record
    found = []
    if old is None and candidate.target.exists():
        found.append(f"takes the place of {Path(candidate.target).name}, which is no record")
    found += _differs(candidate)
    if old:
        shown = _protocol(new)
        others = [name for name in new.metrics if name != shown and old.metrics.get(name) != new.metrics[name]]
        found += [f"values under {', '.join(others)} change, too"] if others else []
        gone = [name for name in old.metrics if name not in new.metrics]
        found += [f"values under {', '.join(gone)} go"] if gone else []
    if new.provenance.dirty:
        found.append("measured with uncommitted changes in the code")
    if (anew := new.cost.retimed) and not (old and old.cost.retimed == anew):
        found.append(f"times taken anew on {anew.provenance.date[:10]}, over {anew.images} images")
    return "; ".join(found)


def _times(record: Record) -> dict[str, Any]:
    """Milliseconds per image, and what they were taken on."""
    return {
        "network_ms": record.cost.network_ms,
        "method_ms": record.cost.method_ms,
        "machine": machine_of(record),
        "load": record.timing.load,
        "retimed": record.cost.retimed.images if record.cost.retimed else None,
    }
