"""What ``bench device`` found out about one machine: a record that grows part by part, and the tables made of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import dumps, read_as, write_atomic
from benchmark.records.costs import Costs, read_costs
from benchmark.records.provenance import Provenance, device_stem

SCHEMA = 1
FOLDER = "devices"
"""Below the results."""


@dataclass(frozen=True)
class Gap:
    """How far scores are from those of the CPU."""

    absolute: float  # largest difference
    relative: float  # the same as a share of the range of the CPU's scores
    rank: float  # Spearman's correlation of all pixels
    auroc: float  # AUROC less the CPU's, in percentage points


@dataclass
class DeviceRow:
    """A method on the device."""

    call: str
    broken: list[str] = field(default_factory=list)  # clauses of its contract, with what was wrong
    gaps: dict[str, Gap] = field(default_factory=dict)  # by precision
    errors: dict[str, str] = field(default_factory=dict)  # by precision
    tolerance: float = 0.0  # of the range of the scores, within which float32 must agree

    @property
    def failed(self) -> bool:
        """Whether something does not work on the device, or float32 gives something else there."""
        exact = self.gaps.get("fp32")
        return bool(self.broken or self.errors) or (exact is not None and not exact.relative <= self.tolerance)


@dataclass(frozen=True)
class MetricTime:
    """What it takes to measure an image."""

    name: str  # who computes what
    milliseconds: float  # per image, median over the rounds
    cpu_milliseconds: float  # of all threads together
    times_faster: float | None  # than the reference, median of the ratios within the rounds; None without comparison
    cpu_times_faster: float | None


@dataclass(frozen=True)
class Pipeline:
    """A pass over test images; milliseconds per image, medians over the rounds."""

    methods: list[str]
    network: str
    device: str
    precision: str
    size: list[int]  # of an image, height and width in pixels
    images: int
    batch_size: int
    workers: int  # threads that read, and as many that measure
    reading: float
    scoring: float  # networks, shared maps and scores
    metrics: float
    whole: float  # everything beside each other, as `run` does it
    serial: float  # one after the other
    ratio: float  # of serial and whole, median of the rounds
    busy: float | None = None  # share of the pass in which a kernel or a copy runs on the GPU; None on a CPU

    @property
    def limit(self) -> str:
        """The part that takes longest."""
        parts = {"reading": self.reading, "networks and scores": self.scoring, "metrics": self.metrics}
        return max(parts, key=lambda name: parts[name])


@dataclass(frozen=True)
class Switch:
    """One way of making a training step, or a forward, beside the usual one."""

    name: str
    milliseconds: float | None = None  # median of the rounds; CPU time on a CPU
    times_faster: float | None = None  # than the usual way, median of the ratios within the rounds
    difference: float | None = None  # largest relative difference of the loss, or of the logits
    first: float | None = None  # seconds on the clock that it takes the first time, compiling included
    error: str = ""  # why there is no measurement


@dataclass(frozen=True)
class Switches:
    """What each switch of speed is worth; the first of each list is the usual way."""

    network: str
    device: str
    precision: str  # of the usual step; forwards are in float32
    optimiser: str
    size: list[int]  # of an image in the batch, height and width in pixels
    batch_size: int
    rounds: int
    workers: int  # threads that prepare batches
    loading: float  # milliseconds on the clock to prepare a batch with these
    training: list[Switch]
    forward: list[Switch]

    @property
    def limit(self) -> str:
        """In words, whether a training on a GPU waits for its batches; empty on a CPU, whose cores do both."""
        step = self.training[0].milliseconds
        if self.device == "cpu" or step is None:
            return ""
        return "the step is the limit" if step >= self.loading else "the loader is the limit"


@dataclass(frozen=True)
class Part:
    """When and how a part was measured."""

    seconds: float
    provenance: Provenance
    error: str = ""  # why there is nothing, or not all of it


@dataclass(frozen=True)
class DeviceReport:
    """Everything that is known of a machine; parts that were not measured are empty."""

    device: str  # as its driver calls it, or the processor's model
    reduced: str = ""  # in which way this is a trial, which enters no table
    parts: dict[str, Part] = field(default_factory=dict)
    contracts: list[DeviceRow] = field(default_factory=list)
    metrics: list[MetricTime] = field(default_factory=list)
    costs: Costs | None = None
    pipeline: Pipeline | None = None
    switches: Switches | None = None
    schema: int = SCHEMA

    def with_part(self, name: str, newer: DeviceReport) -> DeviceReport:
        """With a part as a later report has it."""
        return dataclasses.replace(self, parts={**self.parts, name: newer.parts[name]}, **{name: getattr(newer, name)})

    def path(self, results: Path) -> Path:
        """``results/devices/<device>.json``, a trial's apart."""
        return Path(results) / FOLDER / f"{device_stem(self.device)}{'-trial' if self.reduced else ''}.json"

    def write(self, results: Path) -> Path:
        """Store the record.

        Raises:
            BenchmarkError: the file cannot be written.
        """
        path = self.path(results)
        write_atomic(path, dumps(self))
        return path


def read_report(path: Path) -> DeviceReport:
    """The record in a file.

    Raises:
        BenchmarkError: it is none.
    """
    try:
        return read_as(DeviceReport, path, SCHEMA)
    except (OSError, ValueError, TypeError) as error:
        raise BenchmarkError(
            f"{path} is no record of a device ({error}); move it away and measure again with "
            f"'python -m benchmark bench device --write {path.parent.parent}'."
        ) from None


def read_reports(results: Path) -> list[DeviceReport]:
    """Every record of a device in the results folder, trials left out, by file name.

    Raises:
        BenchmarkError: a file is no such record.
    """
    found = [read_report(path) for path in sorted((Path(results) / FOLDER).glob("*.json"))]
    return [report for report in found if not report.reduced]


def known_costs(results: Path) -> list[Costs]:
    """What rows cost on every machine, by ``bench costs`` or ``bench device``, whichever was later.

    Raises:
        BenchmarkError: a file is no such record.
    """
    found: dict[str, Costs] = {}
    for costs in [*read_costs(results), *(r.costs for r in read_reports(results) if r.costs and not r.costs.reduced)]:
        name = costs.path(results).name
        if name not in found or found[name].provenance.date < costs.provenance.date:
            found[name] = costs
    return [found[name] for name in sorted(found)]
