"""What a run will do: which records are current, what must be trained, fitted and evaluated, and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError, PluginError, in_words
from benchmark.metrics import protocol
from benchmark.network import NetworkSpec
from benchmark.recipe import LIGHT_SEGMENTATION, Recipe
from benchmark.records.audit import contradictions
from benchmark.records.identity import Identity
from benchmark.records.record import (
    NetworkPart,
    Record,
    network_label,
    network_records,
    read,
    record_path,
)
from benchmark.registry import METHODS
from benchmark.run.entry import Entry
from benchmark.run.setup import Setup
from benchmark.run.workshop import Workshop


@dataclass
class Step:
    """One method of the plan."""

    entry: Entry
    path: Path
    network: str  # label of the shared network
    record: Record | None = None  # the one on disk, current or stale
    reasons: list[str] = field(default_factory=list)  # why it is not current

    @property
    def current(self) -> bool:
        """Whether the record on disk already answers."""
        return self.record is not None and not self.reasons


def network_name(setup: Setup) -> str:
    """The shared network as paths and tables call it.

    What ``--classes`` makes of the user's own is part of the label. Of two files of one name, the second has a digest
    of its content in the label, so that its records do not replace those of the first. A file that was changed where
    it lies keeps its label.
    """
    own = setup.own
    if own is None:
        return _network_label(setup, {})
    name = own.name
    plain, weights = ({"weights": text} if name else {} for text in (name, f"{name}-{own.sha256[:8]}"))
    code = {"code": own.code[:8]} if own.code else {}
    others = _others(setup, _network_label(setup, plain))
    if not others:
        return _network_label(setup, plain)
    more = code if any(other.code_sha256 != own.code for other in others) else {}
    more = more | (weights if any(other.weights_sha256 != own.sha256 for other in others) else plain)
    label = _network_label(setup, more)
    return _network_label(setup, weights | code) if _others(setup, label) else label


def _network_label(setup: Setup, more: Mapping[str, str]) -> str:
    base, own = setup.base, setup.own
    options: dict[str, Any] = {**dict(base.options), **more}
    if not (own and own.weights):
        options |= setup.changes(Recipe(), LIGHT_SEGMENTATION)
    if classes := _classes(setup):
        options["classes"] = classes
    if setup.options.label_size != "image":
        options["label_size"] = setup.options.label_size
    if setup.options.preset != "common":
        return network_label(base.arch, options | {"preset": setup.options.preset}, (), 0)
    return network_label(base.arch, options, base.scales, base.max_size, () if own else setup.policy(setup.test).scales)


def _classes(setup: Setup) -> str:
    """What ``--classes`` says of a network, if that is not what the dataset would say: "NAME", "NAME-and-1"."""
    home = setup.test.card.trained_on or setup.test.label
    name = home if setup.base.dataset == setup.test.label else setup.base.dataset
    more = int(setup.options.classes.partition("+")[2] or 0)
    if not setup.options.classes or (name == home and not more):
        return ""
    return f"{name}-and-{more}" if more else name


def _others(setup: Setup, label: str) -> list[NetworkPart]:
    """The networks of records under a label that are of other files than these, wherever these lay.

    A record of what lay in the same place is of these files before they were changed.
    """
    own = setup.own
    assert own is not None
    return [
        found
        for found in network_records(setup.options.out, label)
        if not (found.place and found.place == own.place)
        and (found.code_sha256 != own.code or (own.weights is not None and found.weights_sha256 != own.sha256))
    ]


def make_steps(workshop: Workshop, calls: Sequence[str]) -> tuple[list[Step], dict[str, str]]:
    """Resolve the methods and compare each with its record.

    Those of "all" that ask for features which the shared network does not have are left out, and named; others that do
    are named, too.

    Returns:
        The steps, and why a plugin that is broken has none: what was asked for -> a sentence.
    Raises:
        BenchmarkError: a method or an option does not exist, so that the user may have meant another.
    """
    setup = workshop.setup
    steps: dict[str, Step] = {}
    broken: dict[str, str] = {}
    network = network_name(setup)
    without: list[str] = []
    failing: list[str] = []
    for call in calls:
        try:
            entry = _entry(workshop, call)
        except PluginError as error:
            broken[call] = str(error)
            continue
        if entry.label in steps:
            steps[entry.label].entry.unasked &= call in setup.options.unasked
            continue  # the same method, spelt in another way
        entry.unasked = call in setup.options.unasked
        if not workshop.outline.offers(entry.needs):
            if call in setup.options.unasked:
                without.append(call)
                continue
            failing.append(entry.label)
        path = record_path(
            setup.options.out,
            setup.dataset,
            network,
            entry.label,
            setup.options.repetition,
            setup.options.limit or None,
        )
        step = steps[entry.label] = Step(entry, path, network)
        if path.exists():
            try:
                step.record = read(path)
                step.reasons = step.record.stale(expected_identity(workshop, entry))
                before, now = step.record.provenance.precision, setup.options.precision
                if before != now:
                    step.reasons.append(f"the arithmetic changed from {before} to {now}")
                if setup.options.exact_pooled and step.record.sampled:
                    step.reasons.append("its pooled values are those of a sample")
                wrong = [] if step.reasons else contradictions(step.record, path.parent, intervals=False)
                step.reasons += [f"its record was changed or lost a file ({'; '.join(wrong)})"] if wrong else []
            except BenchmarkError as error:
                step.reasons = [str(error)]
        if step.current and (setup.options.force or setup.options.retrain):
            step.reasons = ["--force" if setup.options.force else "--retrain"]
    for labels, what in ((without, "left out of all"), (failing, "which fail")):
        if labels:
            workshop.say(
                f"{setup.base.arch} lacks features or options that these methods ask for, {what}: {', '.join(labels)}."
            )
    return list(steps.values()), broken


def check_recipes(setup: Setup, steps: Sequence[Step]) -> None:
    """Refuse a recipe of the command line that nobody would read.

    Raises:
        BenchmarkError: no method of the steps trains that task.
    """
    tasks = {setup.base.recipe.task, *(task for step in steps for task in step.entry.recipes)}
    for task in setup.options.recipe:
        if task not in tasks:
            raise BenchmarkError(
                f"--recipe {task}: none of the methods named trains that; they train {', '.join(sorted(tasks))}."
            )


def _entry(workshop: Workshop, call: str) -> Entry:
    try:
        setup = workshop.setup
        # A dataset chooses options for networks that are trained on it here.
        return workshop.entry(METHODS.create(call, {} if setup.own else setup.policy(setup.train).method_options))
    except BenchmarkError:
        raise
    except BaseException as error:  # whatever a plugin raises
        raise PluginError(f"The method '{call}' cannot be set up: {in_words(error)}") from error


def expected_identity(workshop: Workshop, entry: Entry) -> Identity:
    """What a record made now would be made of; digests of what is not on this machine are None."""
    setup, base = workshop.setup, entry.base
    return Identity(
        fingerprint=setup.test.fingerprint(),
        limit=setup.options.limit or None,
        network=setup.identify(base),
        code=setup.own.code if setup.own else "",
        label_size=setup.options.label_size,
        options=dict(base.options),
        scales=base.scales,
        max_size=base.max_size,
        weights=workshop.digest(base),
        others={role: (s.key, workshop.digest(s)) for role, s in other_networks(base, entry).items()},
        config=dict(entry.config),
        version=entry.method.version,
        fit=(entry.fit_key, workshop.store.digest(entry.fit_key)) if entry.fit_key else None,
        protocols={name: protocol(name).version for name in setup.protocols},
        source=entry.source,
        validation=validation_fingerprint(setup),
    )


def validation_fingerprint(setup: Setup) -> str | None:
    """That of the images that a wanted protocol takes its threshold from, empty where they are missing; None where none
    does."""
    if not any(protocol(name).validates for name in setup.protocols):
        return None
    try:
        return setup.validation.fingerprint() if setup.validation is not None else ""
    except BenchmarkError:
        return ""


def other_networks(base: NetworkSpec, entry: Entry) -> dict[str, NetworkSpec]:
    """The networks of a method that are not the shared one, by role."""
    return {role: n.network for role, n in entry.needs.items() if n.network.checkpoint != base.checkpoint}


def to_train(workshop: Workshop, steps: Sequence[Step]) -> list[NetworkSpec]:
    """Networks that will be trained for the steps."""
    return workshop.to_train([step.entry for step in steps])


def to_fit(workshop: Workshop, steps: Sequence[Step]) -> list[Entry]:
    """Methods that will be fitted for the steps, one of those that share a fit."""
    fitted = {entry.fit_key: entry for entry in reversed(workshop.to_fit([step.entry for step in steps]))}
    return list(fitted.values())[::-1]
