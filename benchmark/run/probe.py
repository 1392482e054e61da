"""What trainings and forwards cost on this machine, by doing a little of each before the plan is printed."""

from __future__ import annotations

import dataclasses
import io
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from benchmark.cost_meter import clear
from benchmark.data import Dataset, Sample
from benchmark.derived import Derived
from benchmark.distributed import alone
from benchmark.isolation.settings import settings_kept
from benchmark.machine import products
from benchmark.network import Network, NetworkSpec, scaled_size
from benchmark.networks import build_network, network_of
from benchmark.recipe import Recipe
from benchmark.run.entry import Entry, made_anew
from benchmark.run.setup import Setup
from benchmark.run.workshop import Workshop
from benchmark.training import (
    Cost,
    FitData,
    Report,
    Segmentation,
    Task,
    TrainingCost,
    forward_cost,
    seeded,
    training_cost,
)
from benchmark.training.augment import resize
from benchmark.training.estimate import SMALL

IMAGES = 2
"""Training images that are read."""
PATIENCE = 15
"""Seconds of computing from which on the trainings of further methods are not tried."""

Found = TypeVar("Found")


class Untrained(Workshop):
    """A workshop whose networks have random weights."""

    def load_network(self, spec: NetworkSpec) -> Network:
        with seeded(spec.recipe):
            return build_network(spec.arch, spec.classes, dict(spec.options), initial=False)


class Probe:
    """Measures networks and the trainings of methods, each in about a second, on networks with random weights.

    What a plugin does meanwhile is done to objects of its own, and nothing is written. What fails here fails again when
    its turn comes, and says why there; here it is only not known how long it takes.

    Args:
        setup: datasets, shared network and machine.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        machine = dataclasses.replace(setup.machine, progress=False, events=None, compiled=False)
        self._workshop = Untrained(dataclasses.replace(setup, machine=machine), say=lambda line: None)
        self._samples: dict[int, list[Sample]] = {}  # by the identity of a split
        self._spent = 0.0  # seconds of computing, for methods

    def forward(self, spec: NetworkSpec, images: int, size: tuple[int, int]) -> Cost | None:
        """Of a forward of so many images of (H, W) pixels; None where it cannot be measured."""

        def measure() -> Cost:
            with seeded(spec.recipe):
                network = network_of(spec, initial=False)
            return forward_cost(network, images, size, self.setup.machine.device, self.setup.options.precision)

        return self._attempt(measure)

    def network(self, spec: NetworkSpec) -> TrainingCost | None:
        """Of the training of a network; None where it cannot be measured."""
        setup = self.setup

        def measure() -> TrainingCost:
            with seeded(spec.recipe):
                task = Segmentation(network_of(spec, initial=False), [str(index) for index in range(spec.classes)])
            machine = self._workshop.setup.machine
            return training_cost(task, spec.recipe, self._some(setup.train), machine, setup.val is not None)

        return self._attempt(measure)

    def fit(self, entry: Entry) -> list[tuple[Recipe, TrainingCost]] | None:
        """Of every training that a method's fit makes; None where one cannot be measured, there is none, or trials of
        other methods took long."""
        train, val = self.setup.fit_splits
        if self._spent > PATIENCE:
            return None

        def measure() -> list[tuple[Recipe, TrainingCost]] | None:
            own, samples = dataclasses.replace(entry, method=made_anew(entry.method)), self._some(train)
            data = _Trial(
                _Small(train, samples),
                None if val is None else _Small(val, samples),
                self._workshop.setup.machine,
                entry.recipes,
                self._workshop.store.path(entry.fit_key),
                entry.label,
                root=self.setup.options.root,
                samples=samples,
            )
            self._workshop.connect(own)
            with products(self._workshop.pool.device, self._workshop.pool.precision):
                if own.method.observes:
                    with torch.no_grad():
                        for batch in data.batches():
                            own.method.observe(batch, own.networks)
                own.method.fit(data, own.networks)
            return data.trained or None

        began = time.process_time()
        found = self._attempt(measure)
        self._spent += time.process_time() - began
        return found

    def _some(self, split: Dataset) -> list[Sample]:
        if id(split) not in self._samples:
            self._samples[id(split)] = [split[index] for index in range(min(IMAGES, len(split)))]
        return self._samples[id(split)]

    def _attempt(self, measure: Callable[[], Found]) -> Found | None:
        silent = io.StringIO()  # what there is to say is said when it counts
        try:
            with alone(), settings_kept("a plan", importing=True), redirect_stdout(silent), redirect_stderr(silent):
                warnings.simplefilter("ignore")
                return measure()
        except KeyboardInterrupt:
            raise
        except BaseException:  # whatever a plugin raises
            return None
        finally:
            self._workshop.pool.forget()
            if self.setup.machine.device.type == "cuda":
                clear(self.setup.machine.device)


class _Small(Derived):
    """A few images of a split, as small as measurements begin: so much as a fit must have seen to go on."""

    def __init__(self, base: Dataset, samples: Sequence[Sample]) -> None:
        super().__init__(base)
        self._samples = [_shrunk(sample) for sample in samples]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]


def _shrunk(sample: Sample) -> Sample:
    size = tuple(sample.labels.shape)
    image, labels = sample.image.permute(1, 2, 0).contiguous().numpy(), sample.labels.numpy()
    if min(size) > SMALL:
        image, labels = resize(image, labels, scaled_size(size, SMALL))
    return Sample(sample.id, torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(labels))


@dataclass
class _Trial(FitData):
    """Training data with which every training is measured instead of made."""

    samples: Sequence[Sample] = ()  # of native size
    trained: list[tuple[Recipe, TrainingCost]] = field(default_factory=list)
    _known: dict[Any, TrainingCost] = field(default_factory=dict)

    def train(self, task: Task, recipe: Recipe) -> Report:
        like = type(task), dataclasses.replace(recipe, seed=0, member=0)
        if like not in self._known:
            self._known[like] = training_cost(task, recipe, self.samples, self.machine, self.val_set is not None)
        self.trained.append((recipe, self._known[like]))
        self.reports.append(Report(0, 0, 0.0, 0.0, {}, (), 0))
        return self.reports[-1]
