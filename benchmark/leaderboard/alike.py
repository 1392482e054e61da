"""In which way the values of one table, or the seeds behind one value, were not measured alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmark.leaderboard.wording import AGGREGATIONS, METRIC_TITLES, distinct, primary, protocol_of
from benchmark.records.record import Record

_PARTS: dict[str, Callable[[Record], object]] = {
    "images": lambda r: r.dataset.fingerprint,
    "version of the method": lambda r: r.method.version,
    "options of the method": lambda r: r.method.config,
    "source of the method": lambda r: r.method.source or None,  # None: not stated, as in older records
    "recipe of the network": lambda r: {name: value for name, value in r.network.recipe.items() if name != "seed"},
    "test scales": lambda r: (r.network.scales, r.network.max_size),
    "arithmetic": lambda r: r.provenance.precision,
}
"""What decides a number and is the same for all seeds of a method, unless it was changed between their runs."""


def unlike(records: Iterable[Record]) -> list[str]:
    """Sentences on what makes values hard to compare; none where all records were measured alike.

    Args:
        records: of one dataset and one network label.
    """
    ordered = sorted(records, key=lambda r: (r.method.label, r.network.seed))
    here = [r for r in ordered if not r.external]
    found = [sentence for aggregation in AGGREGATIONS for sentence in _protocols(ordered, aggregation)]
    for words, odd in (
        ("on the same images: the dataset's fingerprints differ", _odd(ordered, lambda r: r.dataset.fingerprint)),
        ("with the same weights of the network", _odd(ordered, lambda r: r.network.weights_sha256, by_seed=True)),
        ("in the same arithmetic", _odd(here, lambda r: r.provenance.precision)),
    ):
        found += [f"Not all rows were measured {words}. The exceptions: {', '.join(odd)}."] if odd else []
    behind: dict[str, list[Record]] = {}
    for record in ordered:
        behind.setdefault(record.method.label, []).append(record)
    differing: dict[str, list[str]] = {}
    for label, seeds in behind.items():
        if parts := ", ".join(name for name, read in _PARTS.items() if _differ(map(read, seeds))):
            differing.setdefault(parts, []).append(label)
    found += [f"Seeds differ in more than the seed ({parts}): {', '.join(rows)}." for parts, rows in differing.items()]
    return found + [sentence for label, seeds in behind.items() for sentence in _fewer(label, seeds)]


def _protocols(records: Sequence[Record], aggregation: str) -> list[str]:
    """Which rows were measured under which of several protocols."""
    under: dict[str, list[str]] = {}
    for record in records:
        if protocol := protocol_of(record, aggregation):
            under.setdefault(protocol, []).append(record.method.label)
    if len(under) < 2:
        return []
    most = max(sorted(under), key=lambda protocol: len(under[protocol]))
    named = [f"{p} ({'most rows' if p == most else ', '.join(distinct(under[p]))})" for p in sorted(under)]
    return [f"Values {AGGREGATIONS[aggregation]} were not all measured under one protocol: {', '.join(named)}."]


def _odd(records: Iterable[Record], read: Callable[[Record], str], by_seed: bool = False) -> list[str]:
    """The methods of which something is not what it is of most; of most with the same seed, where seeds may differ."""
    found: dict[int, dict[str, list[str]]] = {}
    for record in records:
        seed = record.network.seed if by_seed else 0
        found.setdefault(seed, {}).setdefault(read(record), []).append(record.method.label)
    odd = (labels for each in found.values() for labels in sorted(each.values(), key=len)[:-1])
    return sorted({label for labels in odd for label in labels})


def _differ(values: Iterable[object]) -> bool:
    stated = [value for value in values if value is not None]
    return any(value != stated[0] for value in stated)


def _fewer(label: str, seeds: Sequence[Record]) -> list[str]:
    """Which means of a row are not over all of its seeds."""
    found = []
    for aggregation, words in AGGREGATIONS.items():
        measured = [m for r in seeds if (m := primary(r, aggregation))]
        for metric, title in METRIC_TITLES.items():
            known = sum(getattr(m, metric) is not None for m in measured)
            if 0 < known < len(seeds):
                found.append(f"{title} {words} of {label} is the mean of {known} of its {len(seeds)} seeds.")
    return found
