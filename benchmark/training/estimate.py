"""How long a training or a forward takes: a little of it is done, on images that begin small, and drawn out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from math import prod, sqrt

import numpy as np
import torch

from benchmark.cost_meter import now, out_of_memory
from benchmark.data import Batch, Sample
from benchmark.machine import Machine, arithmetic, products
from benchmark.network import Network, scaled_size
from benchmark.recipe import Recipe
from benchmark.training.augment import augment
from benchmark.training.schedule import run_seed, seeded, steps_per_epoch, validations
from benchmark.training.task import Task, scheduled

FEW, SMALL = 2, 64
"""Images that come first, and their short side in pixels. Of one image a pyramid's coarsest branch has no variance."""
LONGEST = 0.1
"""Seconds that work may take, as far as can be foreseen, for which a measurement goes on to more or larger images."""
PATIENCE = 0.5
"""Seconds of work on the first images from which on it is not done again, nor on others."""
LOADED = 8
"""Images that are prepared for a training."""

Prepare = Callable[[int, float], tuple[int, Callable[[], object]]]
"""(number of images, pixels of each) to the pixels that each really has, and the work on them."""


@dataclass(frozen=True)
class Cost:
    """Seconds of a piece of work on n images of p pixels each, ``once + n * (image + pixel * p)``."""

    once: float = 0.0
    image: float = 0.0
    pixel: float = 0.0

    def of(self, images: int, pixels: float) -> float:
        """Seconds for so many images of so many pixels each."""
        return self.once + images * (self.image + self.pixel * pixels)


@dataclass(frozen=True)
class TrainingCost:
    """What a training spends its time on.

    Attributes:
        step: an optimiser step.
        validation: a batch of validation images.
        loading: seconds in which a thread prepares an image: pasted objects and augmentation.
    """

    step: Cost
    validation: Cost
    loading: float

    def seconds(self, recipe: Recipe, size: tuple[int, int], images: int, validation: int, workers: int) -> float:
        """Seconds of a whole training.

        Args:
            recipe: number of steps, batch size, sizes.
            size: (H, W) of the native image.
            images: of the training split.
            validation: images of the validation split; 0 where there is none.
            workers: threads that prepare images beside the steps; 0 prepares them in between.
        """
        batch = recipe.batch_size
        step, loading = self.step.of(batch, training_size(recipe, size)), self.loading * batch
        step = max(step, loading / workers) if workers else step + loading
        validated = validations(recipe) * validation / batch * self.validation.of(batch, prod(size))
        return step * steps_per_epoch(recipe, images) * recipe.epochs + validated


def training_size(recipe: Recipe, size: tuple[int, int]) -> float:
    """Mean number of pixels of an image of (H, W) pixels after the recipe's augmentation."""
    if recipe.crop:
        return float(recipe.crop[0] * recipe.crop[1])
    sizes = [scaled_size(size, scale, recipe.max_size) for scale in recipe.scales] or [size]
    return sum(height * width for height, width in sizes) / len(sizes)


def training_cost(
    task: Task, recipe: Recipe, samples: Sequence[Sample], machine: Machine, validates: bool = True
) -> TrainingCost:
    """What a training costs on this machine, measured in about a second by steps of its own.

    Args:
        task: what would be learned; it takes the steps, at a learning rate of next to nothing.
        recipe: how.
        samples: some training images of native size, which take turns in the batches.
        machine: where.
        validates: whether there is a validation split.
    """
    recipe = replace(recipe, lr=1e-9)
    size, seed = tuple(samples[0].labels.shape), run_seed(recipe)
    task.machine, task.recipe = machine, recipe
    task.to(device=machine.device, memory_format=torch.channels_last)
    optimisers = scheduled(task, recipe)

    def loaded(slot: int, sample: Sample, scaled: Recipe) -> Batch:
        if task.pasting:
            sample = task.pasting(sample, seed, 0, slot)
        return augment([sample], scaled, seed, 0, slot, task.stride)

    def batch(images: int, pixels: float) -> Batch:
        scaled = replace(recipe, scales=(_side(size, pixels),), max_size=0, scale_range=(), crop=())
        each = [loaded(slot, sample, scaled) for slot, sample in enumerate(islice(cycle(samples), images))]
        made = (torch.cat([getattr(one, name) for one in each]) for name in ("images", "labels"))
        return Batch(tuple(map(str, range(images))), *made).to(machine.device)

    def step(images: int, pixels: float) -> tuple[int, Callable[[], object]]:
        made = batch(images, pixels)

        def work() -> None:
            task.step(made, optimisers)
            with torch.no_grad():
                task.after_step(0, recipe.lr)

        return prod(made.size), work

    def validation(images: int, pixels: float) -> tuple[int, Callable[[], object]]:
        made = batch(images, pixels)

        def work() -> None:
            with torch.no_grad(), task.autocast():
                task.validate([made])

        return prod(made.size), work

    with products(machine.device, machine.precision, repeatable=True), seeded(recipe):
        task.train()
        steps = cost(step, recipe.batch_size, size, training_size(recipe, size), machine.device)
        task.eval()
        some = validates and type(task).validate is not Task.validate
        checked = cost(validation, recipe.batch_size, size, prod(size), machine.device) if some else Cost()
        began = time.thread_time()
        for slot, sample in enumerate(islice(cycle(samples), LOADED)):
            loaded(slot, sample, recipe)
        loading = (time.thread_time() - began) / LOADED
    return TrainingCost(steps, checked, loading)


def forward_cost(network: Network, images: int, size: tuple[int, int], device: torch.device, precision: str) -> Cost:
    """What a network's forward costs, measured in less than a second.

    Args:
        network: with any values.
        images: of a batch.
        size: (H, W) of the images.
        device: where.
        precision: of :data:`benchmark.machine.PRECISIONS`.
    """
    network.to(device=device, memory_format=network.memory_format).eval()

    def prepare(count: int, pixels: float) -> tuple[int, Callable[[], object]]:
        height, width = scaled_size(size, _side(size, pixels), stride=network.stride)
        given = torch.zeros(count, 3, height, width, dtype=torch.uint8, device=device)

        def work() -> None:
            with torch.no_grad(), arithmetic(device, precision):
                network.segment(given)

        return height * width, work

    return cost(prepare, images, size, prod(size), device)


def cost(prepare: Prepare, images: int, size: tuple[int, int], pixels: float, device: torch.device) -> Cost:
    """What a piece of work costs, by what it takes on few and small images, on more, and on larger ones.

    The images grow up to those that are meant as long as that is quick. The three parts of the cost, none below 0, are
    those of least squares.

    Args:
        prepare: makes the work.
        images: that are meant.
        size: (H, W) of the native image, whose shape all have.
        pixels: of an image that is meant.
        device: where the work is done.
    """
    from scipy.optimize import nnls  # of scikit-learn's own dependencies; slow to import

    small, few = min(pixels, SMALL**2 * max(size) / min(size)), min(FEW, images)
    larger, more = min(4 * small, pixels), min(2 * few, images)
    rows: list[tuple[int, int]] = []
    took: list[float] = []

    def measure(count: int, area: float) -> bool:
        """Whether twice as much is quick, too."""
        try:
            seen, work = prepare(count, area)
            took.append(seconds(work, device))
        except Exception as error:
            if took and out_of_memory(error):
                return False  # whoever needs that much will say so, or halve what is taken at once
            raise
        rows.append((count if larger > small else 0, count * seen))  # of one size nothing tells the parts apart
        return 2 * took[-1] <= LONGEST

    measure(few, small)
    if took[0] > PATIENCE:
        return Cost(pixel=took[0] / rows[0][1])
    quick = measure(more, small)
    if larger > small:
        quick = measure(few, larger)
    while quick and larger < pixels:
        larger = min(2 * larger, pixels)
        quick = measure(few, larger)
    while quick and more < images:
        more = min(2 * more, images)
        quick = measure(more, larger)
    scale = np.maximum(1, [1, *np.max(rows, axis=0)])
    parts, _ = nnls(np.array([(1, *row) for row in rows]) / scale, np.array(took))
    once, image, pixel = map(float, parts / scale)
    return Cost(once, image, pixel)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the quickest of some tries, of which the first is slower; of long work there is no other.

    On a CPU none count in which this process computed nothing: other work on the machine had them.
    """
    took: list[float] = []
    while not took or (sum(took) < PATIENCE and len(took) < 2) or (sum(took) < LONGEST and len(took) < 5):
        began, computed = now(device), time.process_time()
        work()
        whole, own = now(device) - began, time.process_time() - computed
        took.append(min(whole, own) if device.type == "cpu" else whole)
    return min(took)


def _side(size: tuple[int, int], pixels: float) -> int:
    """Short side of an image of so many pixels and the shape of (H, W)."""
    return max(1, round(min(size) * sqrt(pixels / prod(size))))
