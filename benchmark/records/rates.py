"""Whether rates at a threshold are those of the curves beside a record.

The curves of the pooled protocol say how many anomalous and normal pixels lie at or above each of their thresholds.
What lies above another threshold lies between the numbers of the two points around it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmark.metrics import PROTOCOLS, FixedFprProtocol, Measurement, OperatingProtocol
from benchmark.metrics.curves import Curves
from benchmark.records.record import Record

ROUNDING = 1e-9
"""Rows keep nine significant digits: the mean of values up to 1 is off by half of this at most."""
WIDEST = 0.05
"""Bound of the error of a sample beyond which a value counts as unproved."""


def rate_contradictions(record: Record, curves: Curves) -> Iterator[str]:
    """In a few words each, which pooled rate of a further protocol is not one of the curves.

    Args:
        record: whose measurements are looked at.
        curves: of its protocol ``pooled``, as stored.
    """
    for name, measured in record.metrics.items():
        protocol, threshold = PROTOCOLS.get(name), measured.extra.get("threshold")
        if threshold is None or not isinstance(protocol, FixedFprProtocol | OperatingProtocol):
            continue
        bounds = rates_above(curves, threshold)
        for rate in ("tpr", "fpr"):
            value, (low, high) = measured.extra.get(rate), bounds[rate]
            slack = ROUNDING + _sampling(record, measured)
            if value is not None and not low - slack <= value <= high + slack:
                yield f"{rate} is {value} under {name}, {low:.6f} to {high:.6f} by the curves"
        if isinstance(protocol, FixedFprProtocol) and bounds["fpr"][0] > protocol.target_fpr + _sampling(
            record, measured
        ):
            yield f"above the threshold under {name} lie more normal pixels than {protocol.target_fpr:g} of them"


def rates_above(curves: Curves, threshold: float) -> dict[str, tuple[float, float]]:
    """Lower and upper bound of the share of anomalous ("tpr") and of normal pixels ("fpr") above a threshold."""
    at = int(np.count_nonzero(curves.threshold > threshold))  # points that lie above it
    found = {}
    for rate, counts in (("tpr", curves.recall), ("fpr", curves.fpr)):
        ends = np.concatenate(([0.0], counts))
        found[rate] = float(ends[at]), float(ends[min(at + 1, len(ends) - 1)])
    return found


def _sampling(record: Record, measured: Measurement) -> float:
    """What a sample may be off by: rates that were counted are exact, and the curves are those of the sample."""
    stated = [
        m.extra.get(name) or 0.0 for m in (measured, *record.metrics.values()) for name in m.extra if "sampling" in name
    ]
    return min(max(stated, default=0.0), WIDEST)
