"""What stands beside a table: from the rows per image and the curves that are stored with its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame, concat

from benchmark.errors import BenchmarkError
from benchmark.leaderboard.board import Block
from benchmark.leaderboard.wording import METRIC_TITLES, NOTHING, percent, primary
from benchmark.metrics import PixelProtocol, pixel_protocol, read_curves, read_rows, select_rows
from benchmark.metrics.bootstrap import HIGHER_IS_BETTER, resampled_means
from benchmark.metrics.rows import per_image
from benchmark.records.record import Record
from benchmark.report.heat import find_maps, heat_maps

DRAWS = 2000
"""Resamples behind a rank, as many as ``compare`` draws for its matrix."""
POINTS = 160
"""Points of a stored curve that a page holds."""
FEWEST = 8
"""Images below which no strata are made."""
STRATA = 4
PIXELS = ["anomalous", "normal", "ignored"]

Repetitions = Mapping[str, Sequence[Record]]
"""Label of a method -> its records, a seed each."""


def all_of(
    results: Path, block: Block, records: Repetitions, root: Path, drawn: int
) -> tuple[dict[str, Any], list[str]]:
    """Every view of a block that has something to show, and a sentence for what has not.

    Args:
        results: folder of the records.
        block: the table.
        records: behind its rows, in their order.
        root: the data root, for the images of heat maps.
        drawn: number of images with heat maps, where there are score maps.
    """
    protocol, rows, remarks = rows_of(results, records)
    found: dict[str, Any] = {}
    if protocol and rows:
        tables = {metric: per_image(protocol, rows, metric) for metric in METRIC_TITLES}
        pixels = concat([table[PIXELS] for each in rows.values() for table in each])
        pixels = pixels[~pixels.index.duplicated()].sort_index()
        found["protocol"] = protocol.label
        found["images"] = images(pixels, tables)
        found["strata"] = strata(pixels, tables)
        if len(rows) > 1:
            found["stability"] = {metric: stability(table, metric) for metric, table in tables.items()}
        if maps := find_maps(results, records):
            found["maps"], more = heat_maps(results, maps, root, protocol, rows, drawn)
            remarks += more
    curves, unreadable = curves_of(results, records)
    found |= {"curves": curves} if curves else {}
    found |= {"failures": failures(block.failures)} if len(block.failures) else {}
    return {name: view for name, view in found.items() if view}, remarks + unreadable


def rows_of(results: Path, records: Repetitions) -> tuple[PixelProtocol | None, dict[str, list[DataFrame]], list[str]]:
    """The rows per image of the methods that were measured on the same images under one per-image protocol.

    Returns:
        That protocol (the one of the table; None without any), its rows by method and repetition, and a sentence for
        every method whose rows are missing or belong to other images or another version.
    """
    every = [record for repetitions in records.values() for record in repetitions]
    newest = max(every, key=lambda r: r.provenance.date, default=None)
    measured = primary(newest, "per-image") if newest else None
    if not (newest and measured):
        return None, {}, []
    name = next(n for n, m in newest.metrics.items() if m is measured)
    rows: dict[str, list[DataFrame]] = {}
    remarks = []
    for label, repetitions in records.items():
        for record in repetitions:
            try:
                table = _comparable_rows(results, record, newest, name).set_index("image")
                rows.setdefault(label, []).append(table[~table.index.duplicated()])
            except BenchmarkError as error:
                remarks.append(f"{label} is left out of what rows per image show: {error}")
    return pixel_protocol(name), rows, list(dict.fromkeys(remarks))


def _comparable_rows(results: Path, record: Record, newest: Record, name: str) -> DataFrame:
    found = record.metrics.get(name)
    if found is None or found.version != newest.metrics[name].version:
        raise BenchmarkError(f"it was not measured under {name} v{newest.metrics[name].version}.")
    if record.dataset.fingerprint != newest.dataset.fingerprint:
        raise BenchmarkError("it was measured on other images.")
    if not record.rows:
        raise BenchmarkError("its record names no rows.")
    return select_rows(read_rows(record.path(results).parent / record.rows), name)


def images(pixels: DataFrame, tables: Mapping[str, DataFrame]) -> dict[str, Any]:
    """Every image with the values of every method."""
    found = {metric: table.reindex(pixels.index) for metric, table in tables.items()}
    return {
        "ids": [str(name) for name in pixels.index],
        **{kind: pixels[kind].tolist() for kind in PIXELS},
        "values": {
            metric: {label: [_text(v) for v in table[label].to_numpy()] for label in table}
            for metric, table in found.items()
        },
    }


def stability(table: DataFrame, metric: str) -> dict[str, Any]:
    """How ranks move when the images are drawn again, with replacement and the same ones for all methods.

    Args:
        table: of :func:`per_image`; images without a value of every method are left out.
        metric: its name.
    Returns:
        Methods in the order of their means; for each the share of resamples in percent at every rank, the median rank
        with the 95 % interval, and the share of resamples in which it is better than each other method, ties counting
        half. Empty where no image has a value.
    """
    table = table.dropna()
    if table.empty:
        return {}
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    whole = sign * table.mean()
    table = table[sorted(table, key=lambda label: (-whole[label], label))]
    gains = sign * resampled_means(table.to_numpy().T, draws=DRAWS)
    better, ranks = np.empty((len(gains), len(gains))), np.ones(gains.shape, np.int64)
    for place, gain in enumerate(gains):
        above = gain > gains  # methods x draws: all pairs at once do not fit where there are many methods
        better[place] = above.mean(axis=1)
        ranks += above  # equals share the better rank
    better = better / 2 + (1 - better.T) / 2
    low, middle, high = np.quantile(ranks, (0.025, 0.5, 0.975), axis=1, method="nearest")
    shares = [np.bincount(each, minlength=len(gains) + 1)[1:] / DRAWS for each in ranks]
    return {
        "labels": list(table),
        "images": len(table),
        "draws": DRAWS,
        "low": low.tolist(),
        "median": middle.tolist(),
        "high": high.tolist(),
        "shares": [[round(100 * share, 1) for share in each.tolist()] for each in shares],
        "better": [[round(100 * share, 1) for share in each] for each in better.tolist()],
    }


def strata(pixels: DataFrame, tables: Mapping[str, DataFrame]) -> dict[str, Any]:
    """Means of the metrics over the images with little and with much anomaly: quarters by the share of their pixels.

    Computed from the rows; empty where there are too few images, or all have the same share.
    """
    both = pixels[(pixels["anomalous"] > 0) & (pixels["normal"] > 0)]
    share = both["anomalous"] / (both["anomalous"] + both["normal"])
    if len(share) < FEWEST:
        return {}
    edges = np.unique(np.quantile(share, np.linspace(0, 1, STRATA + 1)))
    if len(edges) < 3:
        return {}
    place = np.clip(np.searchsorted(edges, share.to_numpy(), side="right") - 1, 0, len(edges) - 2)
    members = [share.index[place == i] for i in range(len(edges) - 1)]
    means = {metric: [table.reindex(each).mean() for each in members] for metric, table in tables.items()}
    return {
        "names": [f"{percent(a, 2)} to {percent(b, 2)} %" for a, b in pairwise(edges)],
        "images": [len(each) for each in members],
        "constant": [percent(share[each].mean(), 2) for each in members],
        "values": {
            metric: {label: [_text(mean[label]) for mean in found] for label in tables[metric]}
            for metric, found in means.items()
        },
    }


def curves_of(results: Path, records: Repetitions) -> tuple[dict[str, Any], list[str]]:
    """Points of the stored curves of the first seed of every method, in percent."""
    found: dict[str, Any] = {}
    remarks: list[str] = []
    constant = None
    for label, (record, *_) in records.items():
        if not record.curves:
            continue
        try:
            points = read_curves(record.path(results).parent / record.curves)
        except BenchmarkError as error:
            remarks.append(f"{label} has no curves: {error}")
            continue
        kept = _spaced(points.recall, points.fpr, points.precision)
        rates = {"recall": points.recall, "precision": points.precision, "fpr": points.fpr}
        found[label] = {name: [round(100 * float(v), 3) for v in rate[kept]] for name, rate in rates.items()}
        found[label]["threshold"] = [f"{t:.4g}" for t in points.threshold[kept]]
        pooled = primary(record, "pooled")
        constant = pooled.constant_aupr if pooled else constant
    return {"methods": found, "constant": constant and 100 * constant} if found else {}, remarks


def _spaced(*rates: np.ndarray) -> np.ndarray:
    """Positions of about POINTS points, close where a rate changes much; among them the first and the last."""
    travelled = sum((np.abs(np.diff(rate, prepend=rate[:1])) for rate in rates), np.zeros(len(rates[0]))).cumsum()
    step = travelled[-1] / POINTS
    if len(travelled) <= POINTS or not step:
        return np.arange(len(travelled))
    kept = np.flatnonzero(np.diff((travelled / step).astype(np.int64), prepend=-1))
    return np.union1d(kept, [0, len(travelled) - 1])


def failures(table: DataFrame) -> list[dict[str, Any]]:
    """Points of the failure split: what :func:`benchmark.leaderboard.failures.failures` says."""
    known = table[table["efpr"].notna() & table["cfpr"].notna()]
    return [
        {"label": row.method, "efpr": round(row.efpr, 4), "cfpr": round(row.cfpr, 4)}
        for row in known.itertuples(index=False)
    ]


def _text(fraction: float) -> str:
    return NOTHING if np.isnan(fraction) else percent(fraction)
