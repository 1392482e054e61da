"""Whether records say what their rows say: per-image means and intervals, computed again from the row of every image.

Pooled values rank all pixels of all images at once and cannot be had from rows; only measuring again can refute them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelProtocol, bootstrap_interval, per_image_result, pixel_protocol, read_rows
from benchmark.records.record import METRICS, Measurement, Record, read_all

if TYPE_CHECKING:
    from pandas import DataFrame

ROUNDING = 1e-9
"""Rows keep nine significant digits: the mean of values up to 1 is off by half of this at most."""
RESAMPLING = 0.05
"""Part of an interval's width by which its ends may differ. The resamples are the same ones, apart from versions of
NumPy that draw other random numbers; 10,000 other ones move an end by 0.007 of the width (one standard deviation)."""


def audit(results: Path) -> list[str]:
    """A sentence for every record below the results folder that its rows contradict, or whose rows cannot be read."""
    results = Path(results)
    problems = []
    for record in read_all(results)[0]:
        path = record.path(results)
        try:
            wrong = list(_differences(record, path.parent))
        except BenchmarkError as error:
            problems.append(f"{path.relative_to(results.parent)}: {error}")
            continue
        if wrong:
            name = path.relative_to(results.parent)
            problems.append(
                f"{name} and {record.rows} contradict each other: {'; '.join(wrong)}; "
                f"restore both files from where they were measured, or measure again with 'run --force'."
            )
    return problems


def _differences(record: Record, folder: Path) -> Iterator[str]:
    measured = {name: m for name, m in record.metrics.items() if m.aggregation == "per-image"}
    if not measured:
        return
    if not record.rows:
        raise BenchmarkError("it names no rows per image, which prove its means; measure again with 'run --force'.")
    rows = read_rows(folder / record.rows)
    for name, measurement in measured.items():
        chosen = pixel_protocol(name)
        if chosen.version == measurement.version:  # an older version may have computed something else
            yield from (f"{words} under {name}" for words in _compare(measurement, chosen, rows))


def _compare(measured: Measurement, chosen: PixelProtocol, rows: DataFrame) -> Iterator[str]:
    found = per_image_result(chosen, rows)
    for what in ("images", "skipped"):
        mine, theirs = getattr(measured, what), getattr(found, what)
        if mine != theirs:
            yield f"{mine} {what} in the record, {theirs} in the rows"
    values = {metric: (getattr(measured, metric), getattr(found, metric)) for metric in METRICS}
    values["constant_aupr"] = measured.constant_aupr, found.prevalence
    values |= {metric: (value, getattr(found, metric, None)) for metric, value in measured.extra.items()}
    for metric, (mine, theirs) in values.items():
        if not _equal(mine, theirs):
            yield f"{metric} is {mine} in the record, {theirs} by the rows"
    for metric, ends in measured.intervals.items():
        interval = bootstrap_interval(rows, metric, chosen)
        allowed = ROUNDING + RESAMPLING * (interval.high - interval.low)
        if max(abs(ends[0] - interval.low), abs(ends[1] - interval.high)) > allowed:
            yield f"the interval of {metric} is {ends} in the record, [{interval.low}, {interval.high}] by the rows"


def _equal(mine: float | None, theirs: float | None) -> bool:
    """A value that does not exist is None in a record and NaN in what is computed."""
    if theirs is None or theirs != theirs:
        return mine is None
    return mine is not None and abs(mine - theirs) <= ROUNDING
