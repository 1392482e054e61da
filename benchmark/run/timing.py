"""What the pieces of a plan take on this machine: by what they took before, else by a trial of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import torch

from benchmark.data import Dataset, Sample
from benchmark.distributed import world
from benchmark.network import NetworkSpec, scaled_size
from benchmark.recipe import Recipe
from benchmark.records.provenance import BUSY, machine_load
from benchmark.run.entry import Entry
from benchmark.run.history import History, Past, costly
from benchmark.run.probe import Probe
from benchmark.run.scoring import images_per_batch
from benchmark.run.setup import Setup
from benchmark.training import TrainingCost, steps_per_epoch, training_size

PIXEL_SECONDS = 2e-7
"""Seconds per pixel of a method's own arithmetic and its metrics: a middling value on one core."""
METRIC_SECONDS = 1e-7
"""Seconds per pixel of metrics alone, where the time of the arithmetic is known."""
BEFORE, TRIED, GUESSED = "as before", "by a trial", "a guess"
"""Where a time comes from: the same work in this run folder, a little of it, or what the shared network would take."""
HOPELESS = 30 * 24 * 3600
"""Seconds that nobody waits for a CPU."""
_found: dict[Hashable, Any] = {}
"""What was tried in this process, which may print several plans."""


def beside(device: torch.device) -> str:
    """What a user of a busy CPU should know of a plan's times; else empty."""
    load = _other_work(device)
    words = f"This machine is busy ({load:.1f} processes a core); the times below are those of a quiet one."
    return words if load else ""


def _other_work(device: torch.device) -> float:
    """Processes a core of a busy CPU; 0 of a quiet one, and beside a GPU."""
    load = machine_load() or 0.0
    return load if device.type == "cpu" and load > BUSY else 0.0


@dataclass(frozen=True)
class Time:
    """Seconds that something takes, and where they come from: :data:`BEFORE`, :data:`TRIED` or :data:`GUESSED`."""

    seconds: float
    source: str


@dataclass(frozen=True)
class Timing:
    """Seconds of every training, forward and image that a plan may hold.

    What the same work took before on this machine counts (:class:`~benchmark.run.history.History`); if it stood beside
    other work then, only where a trial takes no less. What is not known so is tried (:class:`~benchmark.run.probe.
    Probe`). Where a method's training cannot be tried, it is taken to be one of the shared network by its recipe.

    Args:
        setup: datasets, shared network and machine.
    """

    setup: Setup

    def network(self, spec: NetworkSpec) -> Time:
        """Of the training of a network; nothing of one whose training will say what is wrong with it."""
        return self._training(
            self._history.network_step(spec),
            [spec.recipe],
            (self.setup.train, self.setup.val),
            lambda: Time(self._as_network(spec, spec.recipe, self.setup.train, self.setup.val), TRIED),
        )

    def fit(self, entry: Entry) -> Time:
        """Of all trainings that a method makes when it is fitted."""
        recipes = list(entry.recipes.values())
        if not recipes:
            return Time(0.0, GUESSED)
        base, splits = self.setup.base, self.setup.fit_splits
        past = self._history.fit_step(entry.label, recipes, base)
        return self._training(past, recipes, splits, lambda: self._tried(entry, splits))

    def _training(
        self,
        past: Past | None,
        recipes: Iterable[Recipe],
        splits: tuple[Dataset, Dataset | None],
        trial: Callable[[], Time],
    ) -> Time:
        if past is None:
            return trial()
        steps = sum(steps_per_epoch(recipe, len(splits[0])) * recipe.epochs for recipe in recipes)
        before = Time(past.seconds * steps, BEFORE)
        if past.quiet:
            return before
        tried = trial()
        return tried if tried.source == TRIED and tried.seconds < before.seconds else before

    def _tried(self, entry: Entry, splits: tuple[Dataset, Dataset | None]) -> Time:
        """By a few steps of the method's own; they are not tried where forwards alone would be hopeless."""
        base, recipes = self.setup.base, entry.recipes.values()
        pixels = sum(
            steps_per_epoch(recipe, len(splits[0]))
            * recipe.epochs
            * recipe.batch_size
            * training_size(recipe, self.size)
            for recipe in recipes
        )
        if not self.hopeless(self.forwards(base.native(), 1) * pixels / prod(self.size)):
            key = ("fit", _kind(base), entry.method.label, *(_like(recipe) for recipe in recipes))
            if found := self._once(key, lambda: self._probe.fit(entry)):
                return Time(sum(self._whole(cost, recipe, *splits) for recipe, cost in found), TRIED)
        return Time(sum(self._as_network(base, recipe, *splits) for recipe in recipes), GUESSED)

    def _as_network(self, spec: NetworkSpec, recipe: Recipe, train: Dataset, val: Dataset | None) -> float:
        """Seconds of the training of a network by a recipe."""
        key = ("network", _kind(spec), _like(spec.recipe))
        cost = self._once(key, lambda: self._probe.network(spec))
        return self._whole(cost, recipe, train, val) if cost else 0.0

    def _whole(self, cost: TrainingCost, recipe: Recipe, train: Dataset, val: Dataset | None) -> float:
        workers = self.setup.machine.workers
        return cost.seconds(recipe, self.size, len(train), len(val) if val else 0, workers) / world()

    def forwards(self, spec: NetworkSpec, images: int) -> float:
        """Of a network's forwards of so many images at its test scales."""
        known = self._history.network_image(spec, self.setup.dataset)
        if known is not None:
            return images * known
        batch = self.setup.options.batch_size or images_per_batch(self._first)
        key = ("forward", _kind(spec), self.setup.options.precision, batch)
        cost = self._once(key, lambda: self._probe.forward(spec, batch, self.size))
        if not cost:
            return 0.0
        sizes = [scaled_size(self.size, scale, spec.max_size) for scale in spec.scales] or [self.size]
        return images / batch * sum(cost.of(batch, prod(size)) for size in sizes)

    def scoring(self, entry: Entry) -> float:
        """Of a method's own work on the test images, its metrics included."""
        images = len(self.setup.test)
        pixels = images * prod(self.size)
        known = self._history.method_image(entry.label, self.setup.base.arch, self.setup.dataset)
        if known is not None:
            return images * known + METRIC_SECONDS * pixels
        return entry.method.forwards * self.forwards(entry.base, images) + PIXEL_SECONDS * pixels

    def scored_before(self, entry: Entry) -> bool:
        """Whether it is known from records what the method takes on a test image."""
        return self._history.method_image(entry.label, self.setup.base.arch, self.setup.dataset) is not None

    def observing(self, images: int) -> float:
        """Of a method's statistics of so many images."""
        return PIXEL_SECONDS * images * prod(self.size)

    def reading(self, split: Dataset) -> float:
        """Of reading or rendering one image of a split, where threads do not do it beside the networks.

        On a busy CPU that is what it computes: the wait for its turn is no time of a quiet machine.
        """

        def measure() -> float:
            clock = time.thread_time if _other_work(self.setup.machine.device) else time.perf_counter
            took = []
            with suppress(Exception):  # an image that cannot be read stops its pass when it comes to it, not the plan
                for index in range(min(3, len(split))):
                    began = clock()
                    split[index]
                    took.append(clock() - began)
            return min(took, default=0.0) / max(1, self.setup.machine.workers)

        return self._once(("reading", split.label, split.split), measure)

    def hopeless(self, seconds: float) -> bool:
        """Whether something takes longer than anybody waits for a CPU."""
        return self.setup.machine.device.type == "cpu" and seconds > HOPELESS

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of a training image."""
        height, width = self._first.labels.shape
        return height, width

    @cached_property
    def _first(self) -> Sample:
        return self.setup.train[0]

    @cached_property
    def _history(self) -> History:
        machine, options = self.setup.machine, self.setup.options
        return History(options.out, machine.device, machine.precision, options.precision, machine.compiled)

    @cached_property
    def _probe(self) -> Probe:
        return Probe(self.setup)

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        setup = self.setup
        where = (setup.options.root, setup.fit_splits[0].label, setup.machine)
        if (where, key) not in _found:
            _found[where, key] = make()
        return _found[where, key]


def _kind(spec: NetworkSpec) -> NetworkSpec:
    """A network without what decides no time."""
    return replace(spec.native(), recipe=Recipe())


def _like(recipe: Recipe) -> Hashable:
    """What of a recipe decides the time of a step."""
    return str(sorted(costly(recipe).items()))
