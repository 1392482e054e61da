"""What a run will do: which records are current, what must be trained, fitted and evaluated, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.config import Setup
from benchmark.errors import BenchmarkError
from benchmark.identity import Identity
from benchmark.metrics import protocol
from benchmark.network import NetworkSpec
from benchmark.record import Record, network_label, read, record_path
from benchmark.registry import METHODS
from benchmark.workshop import Entry, Workshop


@dataclass
class Step:
    """One method of the plan."""

    entry: Entry
    path: Path
    record: Record | None = None  # the one on disk, current or stale
    reasons: list[str] = field(default_factory=list)  # why it is not current

    @property
    def current(self) -> bool:
        """Whether the record on disk already answers."""
        return self.record is not None and not self.reasons


def split_calls(text: str, preset: str = "common") -> list[str]:
    """``"a,b:k=1"`` to its method calls; "all" is every registered method that can be imported.

    The preset "paper" adds to "all" the variants that the papers' own evaluations amount to.
    """
    calls: list[str] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        if part != "all":
            calls.append(part)
            continue
        broken = METHODS.unavailable()
        names = [name for name in METHODS.names() if name not in broken]
        calls += names
        if preset == "paper":
            calls += [variant for name in names for variant in METHODS.get(name).paper_variants]
    if not calls:
        raise BenchmarkError("--methods names no method; `python -m benchmark list methods` shows them.")
    return list(dict.fromkeys(calls))


def network_name(setup: Setup) -> str:
    """The shared network as paths and tables call it."""
    base = setup.base
    if setup.options.preset != "common":
        return network_label(base.arch, {**dict(base.options), "preset": setup.options.preset}, (), 0)
    return network_label(base.arch, dict(base.options), base.scales, base.max_size, setup.test.scales)


def make_steps(workshop: Workshop, calls: Sequence[str]) -> list[Step]:
    """Resolve the methods and compare each with its record."""
    setup = workshop.setup
    steps: dict[str, Step] = {}
    for call in calls:
        entry = _entry(workshop, call)
        if entry.label in steps:
            continue  # the same method, spelt in another way
        path = record_path(
            setup.options.out,
            setup.dataset,
            network_name(setup),
            entry.label,
            setup.options.repetition,
            setup.options.limit or None,
        )
        step = steps[entry.label] = Step(entry, path)
        if path.exists():
            try:
                step.record = read(path)
                step.reasons = step.record.stale(expected_identity(workshop, entry))
                before, now = step.record.provenance.precision, setup.options.precision
                if before != now:
                    step.reasons.append(f"the arithmetic changed from {before} to {now}")
            except BenchmarkError as error:
                step.reasons = [str(error)]
        if step.current and (setup.options.force or setup.options.retrain):
            step.reasons = ["--force" if setup.options.force else "--retrain"]
    return list(steps.values())


def _entry(workshop: Workshop, call: str) -> Entry:
    try:
        return workshop.entry(METHODS.create(call))
    except BenchmarkError:
        raise
    except Exception as error:  # whatever a plugin raises
        raise BenchmarkError(f"The method '{call}' cannot be set up: {type(error).__name__}: {error}") from error


def expected_identity(workshop: Workshop, entry: Entry) -> Identity:
    """What a record made now would be made of; digests of what is not on this machine are None."""
    setup, base = workshop.setup, entry.base
    return Identity(
        fingerprint=setup.test.fingerprint(),
        limit=setup.options.limit or None,
        network=base.key,
        options=dict(base.options),
        scales=base.scales,
        max_size=base.max_size,
        weights=weights_digest(workshop, base),
        others={role: (s.key, weights_digest(workshop, s)) for role, s in other_networks(base, entry).items()},
        config=dict(entry.method.config),
        version=entry.method.version,
        fit=(entry.fit_key, workshop.store.digest(entry.fit_key)) if entry.fit_key else None,
        protocols={name: protocol(name).version for name in setup.protocols},
    )


def weights_digest(workshop: Workshop, spec: NetworkSpec) -> str | None:
    """SHA-256 of a network's weights, None where they are not on this machine."""
    return workshop.store.digest(spec.key)


def other_networks(base: NetworkSpec, entry: Entry) -> dict[str, NetworkSpec]:
    """The networks of a method that are not the shared one, by role."""
    return {role: n.network for role, n in entry.needs.items() if n.network.checkpoint != base.checkpoint}


def to_train(workshop: Workshop, steps: Sequence[Step]) -> list[NetworkSpec]:
    """Networks that the steps need and that are not in the store."""
    specs = dict.fromkeys(spec.checkpoint for step in steps for spec in step.entry.specs)
    return [spec for spec in specs if not workshop.store.has(spec.key)]


def to_fit(workshop: Workshop, steps: Sequence[Step]) -> list[Entry]:
    """Methods whose fit is not in the store, one of those that share it."""
    missing: dict[str, Entry] = {}
    for entry in (step.entry for step in steps):
        if entry.fit_key and not workshop.store.has(entry.fit_key):
            missing.setdefault(entry.fit_key, entry)
    return list(missing.values())
