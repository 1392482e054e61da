"""False alarms where the network errs and where it is right: DiCNet's claim as a table."""

from __future__ import annotations

from collections.abc import Sequence

from pandas import DataFrame

from benchmark.leaderboard.cells import BEST, SAW
from benchmark.leaderboard.wording import method_title
from benchmark.metrics import Measurement
from benchmark.records.record import Record

RATES = {"fpr95": "all normal pixels", "efpr": "wrongly classified", "cfpr": "correctly classified"}
"""Shares of normal pixels, and of which ones they are, as printed."""
TITLE = "False alarms where the network errs"


def legend(protocol: str) -> str:
    """What the table says, under a protocol with its version."""
    return (
        "Share of normal pixels above the threshold that finds 95 % of the anomalous ones, in percent, mean over "
        f"images, under the protocol {protocol}: of all normal pixels, of those that the shared network classifies "
        "wrongly, and of those that it classifies correctly. Void pixels count as normal and, having no class, as "
        f"wrongly classified. Smaller is better; ± is the sample standard deviation over seeds. {BEST}"
    )


def split_of(record: Record) -> Measurement | None:
    """The measurement that tells the two kinds of normal pixels apart, None where the record holds none."""
    return next((m for m in record.metrics.values() if {"efpr", "cfpr"} <= m.extra.keys()), None)


def failures(records: Sequence[Record]) -> DataFrame:
    """A row per method that was measured so, fewest false alarms on wrongly classified pixels first.

    Returns:
        Columns "method", "title", "auxiliary_data" (methods that saw outliers come last), "seeds", and of each of RATES
        the mean over the seeds in percent and, as ``_std``, their sample standard deviation (NaN for one seed).
    """
    rows = [
        {"method": r.method.label, "title": method_title(r.method), "auxiliary_data": r.method.auxiliary_data}
        | {name: None if (value := split.value(name)) is None else 100 * value for name in RATES}
        for r in records
        if (split := split_of(r))
    ]
    table = DataFrame(rows, columns=["method", "title", "auxiliary_data", *RATES]).astype(dict.fromkeys(RATES, float))
    groups = table.groupby("method")
    found = groups[["title", "auxiliary_data"]].first()
    found = found.join(groups.size().rename("seeds")).join(groups[[*RATES]].mean())
    found = found.join(groups[[*RATES]].std().add_suffix("_std")).reset_index()
    found["auxiliary_data"] = found["auxiliary_data"].astype(object)
    found = found.sort_values(["efpr", "method"])
    return found.sort_values("auxiliary_data", key=lambda c: c.map(SAW.index), kind="stable", ignore_index=True)
