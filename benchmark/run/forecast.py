"""How long a plan will take on this device, row by row; good to about a factor of two."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import torch

from benchmark.derived import AbsentSplit
from benchmark.errors import BenchmarkError
from benchmark.network import NetworkSpec, scaled_size
from benchmark.networks import buildable, network_of, pretrained_of
from benchmark.progress import duration
from benchmark.recipe import Recipe
from benchmark.records.device import known_costs
from benchmark.records.published import RESULTS
from benchmark.run.entry import Entry
from benchmark.run.plan import Step, to_fit, to_train
from benchmark.run.workshop import Workshop
from benchmark.training import estimate_seconds, forward_flops, measured_speed

PIXEL_SECONDS = 1e-7
"""Seconds per pixel of a method's own arithmetic and its metrics: a middling value on one core."""
TOO_LONG = 30 * 24 * 3600
"""Seconds that nobody waits for a CPU."""


@dataclass(frozen=True)
class Hours:
    """Seconds that something takes, by what they are spent on."""

    networks: float = 0.0  # training the segmentation networks
    training: float = 0.0  # the method's own
    statistics: float = 0.0  # a pass over the training images
    evaluation: float = 0.0  # a pass over the test images

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.networks + self.training + self.statistics + self.evaluation

    def __str__(self) -> str:
        parts = {
            "networks": self.networks,
            "own training": self.training,
            "statistics": self.statistics,
            "evaluation": self.evaluation,
        }
        shown = [f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds >= 1]
        return f"about {duration(self.seconds)}" + (f" ({', '.join(shown)})" if len(shown) > 1 else "")


@dataclass(frozen=True)
class Forecast:
    """What a plan still lacks, and how long that takes.

    Operations are counted without computing anything; the speed of every kind of network is measured on this device in
    a fraction of a second. A method's own training is assumed to train a network as large as the shared one while the
    shared one runs beside it. Not included: decoding images, and what a fit does after its training (less than a
    hundredth of it for TRADI).

    Args:
        workshop: datasets, device, and what is stored.
        steps: what is not current.
        evaluates: whether the test images are scored.
    """

    workshop: Workshop
    steps: Sequence[Step]
    evaluates: bool = True
    _known: dict[Hashable, float] = field(default_factory=dict)  # operations, and operations per second

    @cached_property
    def networks(self) -> dict[NetworkSpec, float]:
        """The networks that are not in the store, with the seconds of their training."""
        setup = self.workshop.setup
        return {
            spec: estimate_seconds(
                self._flops(spec), self._size, spec.recipe, len(setup.train), self._speed(spec, setup.machine.precision)
            )
            for spec in to_train(self.workshop, self.steps)
        }

    @cached_property
    def fits(self) -> dict[str, tuple[Entry, float]]:
        """The methods that are not fitted, by the key of the fit, with the seconds of their own training."""
        return {entry.fit_key: (entry, self._own(entry)) for entry in to_fit(self.workshop, self.steps)}

    def _own(self, entry: Entry) -> float:
        """Seconds of the trainings of a method's own, each of a network like the shared one."""
        setup, base = self.workshop.setup, self.workshop.setup.base

        def seconds(recipe: Recipe) -> float:
            own, speed = self._flops(base), self._speed(base, setup.machine.precision)
            return estimate_seconds(own, self._size, recipe, len(setup.train), speed, frozen_flops=own)

        return sum(map(seconds, entry.recipes.values()))

    def row(self, entry: Entry) -> Hours:
        """What a row of the table takes alone."""
        return self._hours([entry])

    @property
    def whole(self) -> Hours:
        """What all rows take together, where shared networks are trained and run once."""
        return self._hours([step.entry for step in self.steps])

    @property
    def known(self) -> bool:
        """Whether durations are known.

        A network that is given with its weights is not built before it runs, and images that are not here have no size.
        """
        own = self.workshop.setup.own
        return not (own and own.weights) and not isinstance(self.workshop.setup.train, AbsentSplit)

    def words(self, hours: Hours) -> str:
        """As printed: a duration, unless a CPU would take more than a month."""
        return "too long for a CPU" if self._hopeless(hours.seconds) else str(hours)

    def summary(self) -> str:
        """What all rows take together, or which machine they need instead of a CPU."""
        whole, device = self.whole, self.workshop.setup.machine.device
        if not self._hopeless(whole.seconds):
            return f"All together {self.words(whole)} on {device}."
        setup, labels = self.workshop.setup, {step.entry.label for step in self.steps}
        text = "A CPU is out of the question for all of this together"
        for costs in known_costs(RESULTS):
            if (costs.dataset, costs.network) == (setup.dataset, setup.base.arch):
                known = labels & {method.label for method in costs.methods}
                hours = costs.together(known)
                if known and hours is not None:
                    number = "they" if known == labels else f"{len(known)} of the {len(labels)} methods"
                    return (
                        f"{text}; on {costs.machine} {number} take about {hours:.0f} h from nothing, by "
                        f"`bench costs`; run it where there is a GPU."
                    )
        return f"{text}; run it where there is a GPU, on which `bench costs` says how long it takes."

    def _hopeless(self, seconds: float) -> bool:
        return self.workshop.setup.machine.device.type == "cpu" and seconds > TOO_LONG

    def _about(self, seconds: float) -> str:
        return "too long for a CPU" if self._hopeless(seconds) else f"about {duration(seconds)}"

    def trainings(self) -> list[str]:
        """A line for every pretrained encoder, every network that is trained and every method that is fitted."""
        lines = self._origins()
        for spec in to_train(self.workshop, self.steps):
            options = "".join(f":{key}={value}" for key, value in spec.options)
            member = f" member {spec.recipe.member}" if spec.recipe.member else ""
            lines.append(f"train {spec.arch}{options}{member} on {spec.dataset}{self._network_words(spec)}")
        for entry in to_fit(self.workshop, self.steps):
            lines.append(f"fit {entry.label}, {self._fit_words(entry)}")
        return lines

    def _origins(self) -> list[str]:
        """A line for every network whose encoder is pretrained: where its weights come from."""
        own, base = self.workshop.setup.own, self.workshop.setup.base
        lines = []
        for spec in dict.fromkeys(spec.checkpoint for step in self.steps for spec in step.entry.specs):
            if own and spec.arch == base.arch:
                continue  # nothing of the user's code is run before it is needed
            try:
                found = pretrained_of(spec.arch, dict(spec.options))
            except BenchmarkError as error:
                lines.append(f"{spec.arch} cannot be had: {error}")
                continue
            if found:
                lines.append(f"{spec.arch} {'is' if spec.frozen else 'begins with'} {found.encoder} of {found}")
        return list(dict.fromkeys(lines))

    def _network_words(self, spec: NetworkSpec) -> str:
        if self.known:
            return f", {self._about(self.networks[spec])}"
        own = self.workshop.setup.own
        if own is None:
            return ", for which the training images are not here"
        return ", which was not imported" if own.imported else ", which --weights rules out"

    def _fit_words(self, entry: Entry) -> str:
        setup = self.workshop.setup
        if isinstance(setup.fit_splits[0], AbsentSplit):
            return "for which the training images are not here"
        if not entry.recipes:
            normal = f"{len(setup.normal)} normal images of {setup.normal.label}" if setup.normal else ""
            return f"one pass over the {normal or 'training images'}"
        return (
            self._about(self.fits[entry.fit_key][1])
            if self.known
            else "of a duration not known for a network of your own"
        )

    def _hours(self, entries: Sequence[Entry]) -> Hours:
        setup = self.workshop.setup
        checkpoints = {spec.checkpoint for entry in entries for spec in entry.specs}
        keys = {entry.fit_key for entry in entries} & set(self.fits)
        observing = [entry for entry in entries if entry.fit_key in keys and entry.method.observes]
        evaluation = 0.0
        if self.evaluates:
            own = sum(entry.method.forwards * self._pass(entry.base, len(setup.test)) for entry in entries)
            pixels = len(entries) * len(setup.test) * prod(self._size)
            evaluation = self._shared(entries, len(setup.test)) + own + PIXEL_SECONDS * pixels
        return Hours(
            networks=sum(seconds for spec, seconds in self.networks.items() if spec in checkpoints),
            training=sum(self.fits[key][1] for key in keys),
            statistics=self._shared(observing, len(setup.fit_splits[0])) if observing else 0.0,
            evaluation=evaluation,
        )

    def _shared(self, entries: Iterable[Entry], images: int) -> float:
        return sum(self._pass(spec, images) for spec in {spec for entry in entries for spec in entry.specs})

    def _pass(self, spec: NetworkSpec, images: int) -> float:
        """Seconds of a network's forwards of so many images at its test scales."""
        sizes = [scaled_size(self._size, scale, spec.max_size) for scale in spec.scales] or [self._size]
        flops = self._flops(spec) * sum(map(prod, sizes)) / prod(self._size)
        return images * flops / self._speed(spec, self.workshop.setup.options.precision, trains=False)

    @cached_property
    def _size(self) -> tuple[int, int]:
        return tuple(self.workshop.setup.train[0].labels.shape)

    def _flops(self, spec: NetworkSpec) -> float:
        """Operations of a forward of one image of native size; 0 of a network whose training will say what is wrong."""

        def count() -> float:
            if not buildable(spec):
                return 0.0
            with torch.device("meta"):
                network = network_of(spec, initial=False)
                seen = network.prepare(torch.empty(1, 3, *self._size)).padded
            return forward_flops(network, seen, network.stride)

        return self._once((spec.arch, spec.options), count)

    def _speed(self, spec: NetworkSpec, precision: str, trains: bool = True) -> float:
        """Operations per second of such a network, in training or in a forward alone."""

        def measure() -> float:
            if not self._flops(spec):
                return 1.0
            with torch.random.fork_rng([]):
                network = network_of(spec, initial=False)
            return measured_speed(network, self.workshop.setup.machine.device, precision, trains)

        return self._once((spec.arch, spec.options, precision, trains), measure)

    def _once(self, key: Hashable, make: Callable[[], float]) -> float:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]
