"""How long a plan will take on this device, row by row."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import torch

from benchmark.data import Dataset
from benchmark.derived import AbsentSplit
from benchmark.distributed import world
from benchmark.errors import BenchmarkError
from benchmark.io.words import duration
from benchmark.network import NetworkSpec, scaled_size
from benchmark.networks import buildable, network_of, pretrained_of
from benchmark.recipe import Recipe
from benchmark.records.device import known_costs
from benchmark.records.published import RESULTS
from benchmark.run.entry import Entry
from benchmark.run.history import History
from benchmark.run.plan import Step, to_fit, to_train
from benchmark.run.second_pass import has_second_pass
from benchmark.run.workshop import Workshop
from benchmark.training import estimate_seconds, fits_in_memory, forward_flops, measured_speed, steps_per_epoch

PIXEL_SECONDS = 2e-7
"""Seconds per pixel of a method's own arithmetic and its metrics: a middling value on one core."""
METRIC_SECONDS = 1e-7
"""Seconds per pixel of metrics alone, where the time of the arithmetic is known."""
TOO_LONG = 30 * 24 * 3600
"""Seconds that nobody waits for a CPU."""


def hopeless(device: torch.device, seconds: float) -> bool:
    """Whether something takes longer than anybody waits for a CPU."""
    return device.type == "cpu" and seconds > TOO_LONG


@dataclass(frozen=True)
class Hours:
    """Seconds that something takes, by what they are spent on."""

    networks: float = 0.0  # training the segmentation networks
    training: float = 0.0  # the method's own
    statistics: float = 0.0  # a pass over the training images
    evaluation: float = 0.0  # a pass over the test images
    images: float = 0.0  # reading or rendering all of them

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.networks + self.training + self.statistics + self.evaluation + self.images

    def __str__(self) -> str:
        parts = {
            "networks": self.networks,
            "own training": self.training,
            "statistics": self.statistics,
            "evaluation": self.evaluation,
            "images": self.images,
        }
        shown = [f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds >= 1]
        return f"about {duration(self.seconds)}" + (f" ({', '.join(shown)})" if len(shown) > 1 else "")


@dataclass(frozen=True)
class Forecast:
    """What a plan still lacks, and how long that takes.

    What the same work took before on this machine counts (:class:`~benchmark.run.history.History`). Where nothing is
    known, operations are counted without computing anything; the speed of every kind of network is measured on this
    device in a fraction of a second, and so is the reading of an image. A method's own training is then assumed to
    train a network as large as the shared one while the shared one runs beside it. Not included: what a fit does after
    its training (less than a hundredth of it for TRADI).

    Args:
        workshop: datasets, device, and what is stored.
        steps: what is not current.
        evaluates: whether the test images are scored.
        measured: what was counted and measured for another plan of the same options, to be used again.
    """

    workshop: Workshop
    steps: Sequence[Step]
    evaluates: bool = True
    measured: dict[Hashable, float] = field(default_factory=dict)  # operations, and operations per second

    @cached_property
    def networks(self) -> dict[NetworkSpec, float]:
        """The networks that are not in the store, with the seconds of their training."""
        return {spec: self._network(spec) for spec in to_train(self.workshop, self.steps)}

    def _network(self, spec: NetworkSpec) -> float:
        """Seconds of a network's training."""
        setup, recipe = self.workshop.setup, spec.recipe
        step = self._history.network_step(spec)
        if step is not None:
            return step * steps_per_epoch(recipe, len(setup.train)) * recipe.epochs
        speed = self._speed(spec, setup.machine.precision)
        flops, train, val = self._flops(spec), len(setup.train), len(setup.val)
        return estimate_seconds(flops, self._size, recipe, train, speed, validation=val) / world()

    @cached_property
    def fits(self) -> dict[str, tuple[Entry, float]]:
        """The methods that are not fitted, by the key of the fit, with the seconds of their own training."""
        return {entry.fit_key: (entry, self._own(entry)) for entry in to_fit(self.workshop, self.steps)}

    def _own(self, entry: Entry) -> float:
        """Seconds of the trainings of a method's own, each of a network like the shared one."""
        setup, base = self.workshop.setup, self.workshop.setup.base
        train, val = setup.fit_splits
        step = self._history.fit_step(entry.label, list(entry.recipes.values()), base) if entry.recipes else None

        def seconds(recipe: Recipe) -> float:
            if step is not None:
                return step * steps_per_epoch(recipe, len(train)) * recipe.epochs
            own, speed = self._flops(base), self._speed(base, setup.machine.precision)
            return estimate_seconds(own, self._size, recipe, len(train), speed, own, len(val) if val else 0) / world()

        return sum(map(seconds, entry.recipes.values()))

    @cached_property
    def _history(self) -> History:
        setup = self.workshop.setup
        machine = setup.machine
        return History(setup.options.out, machine.device, machine.precision, setup.options.precision, machine.compiled)

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
        return hopeless(self.workshop.setup.machine.device, seconds)

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
        trained = {spec: seconds for spec, seconds in self.networks.items() if spec in checkpoints}
        evaluation = images = 0.0
        if trained or keys:
            images += self._read(trained, [self.fits[key][0] for key in keys])
        if self.evaluates and entries:
            passes = (2 if has_second_pass(setup) else 1) / world()
            evaluation = self._shared(entries, len(setup.test)) + sum(map(self._scoring, entries))
            evaluation, images = passes * evaluation, images + passes * self._reading(setup.test) * len(setup.test)
        statistics = 0.0
        if observing:
            train = setup.fit_splits[0]
            pixels = len(observing) * len(train) * prod(self._size)
            statistics = self._shared(observing, len(train)) + PIXEL_SECONDS * pixels
        return Hours(
            networks=sum(trained.values()),
            training=sum(self.fits[key][1] for key in keys),
            statistics=statistics,
            evaluation=evaluation,
            images=images,
        )

    def _scoring(self, entry: Entry) -> float:
        """Seconds of a method's own work on the test images, its metrics included."""
        setup = self.workshop.setup
        images = len(setup.test)
        pixels = images * prod(self._size)
        known = self._history.method_image(entry.label, setup.base.arch, setup.dataset)
        if known is not None:
            return images * known + METRIC_SECONDS * pixels
        return entry.method.forwards * self._pass(entry.base, images) + PIXEL_SECONDS * pixels

    def _read(self, networks: Iterable[NetworkSpec], fits: Iterable[Entry]) -> float:
        """Seconds in which the images of trainings, statistics and validations are read.

        Those of splits that fit in memory are read once for all.
        """
        setup = self.workshop.setup
        recipes = [spec.recipe for spec in networks]
        splits = {id(split): split for split in (setup.train, setup.val) if recipes and split is not None}
        for entry in fits:
            recipes += entry.recipes.values()
            splits |= {id(split): split for split in setup.fit_splits if split is not None}
        seconds = 0.0
        for split in splits.values():
            times = 1
            with suppress(Exception):
                if not fits_in_memory(split):
                    times = sum(recipe.epochs for recipe in recipes) or 1
            seconds += times * len(split) * self._reading(split)
        return seconds

    def _reading(self, split: Dataset) -> float:
        """Seconds of reading or rendering one image of a split, where threads do not do it beside the networks."""

        def measure() -> float:
            took = []
            with suppress(Exception):  # an image that cannot be read stops its pass when it comes to it, not the plan
                for index in range(min(3, len(split))):
                    began = time.perf_counter()
                    split[index]
                    took.append(time.perf_counter() - began)
            return min(took, default=0.0) / max(1, self.workshop.setup.machine.workers)

        return self._once(("reading", split.label, split.split), measure)

    def _shared(self, entries: Iterable[Entry], images: int) -> float:
        return sum(self._pass(spec, images) for spec in {spec for entry in entries for spec in entry.specs})

    def _pass(self, spec: NetworkSpec, images: int) -> float:
        """Seconds of a network's forwards of so many images at its test scales."""
        known = self._history.network_image(spec, self.workshop.setup.dataset)
        if known is not None:
            return images * known
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
        if key not in self.measured:
            self.measured[key] = make()
        return self.measured[key]
