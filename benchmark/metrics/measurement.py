"""What an evaluator says, as a record stores it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

from benchmark.values import Fraction, Length, Number

METRICS = ("auroc", "aupr", "fpr95")
"""What every ranking of pixels is summed up by."""
TOLERANCES = {"auroc": 1e-6, "aupr": 2e-5, "fpr95": 2e-5}
"""Bounds of the error of a pooled value from which it is printed with its bound."""


@dataclass(frozen=True)
class Measurement:
    """What one evaluation protocol says. A value that is not finite becomes null and `missing` says why."""

    version: Number  # of the protocol
    aggregation: str  # "per-image": mean over images; "pooled": over all pixels at once; else the protocol's family
    images: Number  # images that count
    auroc: Fraction | None = None
    aupr: Fraction | None = None  # average precision
    fpr95: Fraction | None = None  # false-positive rate at 95 % true-positive rate
    constant_aupr: Fraction | None = None  # what a constant score gets as AUPR under this protocol
    skipped: Number = 0  # images left out because they hold only one kind of pixel
    intervals: dict[str, Annotated[list[Fraction], Length(2)]] = field(default_factory=dict)  # metric -> its ends, 95 %
    extra: dict[str, float | None] = field(default_factory=dict)  # further metrics of the protocol (efpr, cfpr, ...)
    missing: dict[str, str] = field(default_factory=dict)  # metric -> why it is null

    def __post_init__(self) -> None:
        missing = dict(self.missing)
        extra = dict(self.extra)
        for name in METRICS:
            object.__setattr__(self, name, _finite(getattr(self, name), name, missing))
        object.__setattr__(self, "constant_aupr", _finite(self.constant_aupr, "constant_aupr", {}))
        for name in extra:
            extra[name] = _finite(extra[name], name, missing)
        good = {k: [float(x) for x in v] for k, v in self.intervals.items() if all(map(math.isfinite, v))}
        for key, value in (("extra", extra), ("missing", missing), ("intervals", good)):
            object.__setattr__(self, key, value)

    @property
    def sampling(self) -> dict[str, float]:
        """Metric -> bound of the error of a pooled value that was taken from a sample; empty where it is exact."""
        found = {metric: self.extra.get(f"sampling_{metric}") for metric in METRICS}
        return {metric: bound for metric, bound in found.items() if bound is not None}

    @property
    def uncertain(self) -> dict[str, float]:
        """The bounds that are worth a word beside the values."""
        return {metric: bound for metric, bound in self.sampling.items() if bound > TOLERANCES[metric]}

    def value(self, metric: str) -> float | None:
        """A metric by its name, wherever it is kept; None where it has no value."""
        return getattr(self, metric) if metric in METRICS else self.extra.get(metric)

    def gaps(self) -> list[str]:
        """What has no value, and why: "aupr, auroc have no value (not a number)", one text a reason."""
        reasons: dict[str, list[str]] = {}
        for metric in sorted(self.missing):
            reasons.setdefault(self.missing[metric], []).append(metric)
        return [
            f"{', '.join(metrics)} {'have' if len(metrics) > 1 else 'has'} no value ({reason})"
            for reason, metrics in reasons.items()
        ]


@dataclass(frozen=True)
class Segmentation:
    """How well the shared network segments the known classes of the same images."""

    miou: Fraction | None  # mean IoU over `miou_denominator` classes
    miou_denominator: Number  # classes present in the labels
    miou_all: Fraction | None  # sum of IoUs / all known classes
    pixel_accuracy: Fraction | None
    per_class_iou: dict[str, Fraction | None] = field(default_factory=dict)  # class -> IoU, null where absent


def _finite(value: float | None, name: str, missing: dict[str, str]) -> float | None:
    if value is None or math.isfinite(value):
        return None if value is None else float(value)
    missing.setdefault(name, "not a number" if math.isnan(value) else "infinite")
    return None
