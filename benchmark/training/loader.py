"""From datasets to batches: decoded once where memory allows, prepared ahead by threads where there are any.

Threads, not processes: decoding and resizing release the interpreter lock, nothing is copied or pickled, shared memory
is not needed, and nothing is left behind by a kill.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from benchmark.data import Batch, Dataset, Sample, collate
from benchmark.derived import Derived
from benchmark.distributed import rank, world
from benchmark.io.memory import free_memory
from benchmark.machine import Machine
from benchmark.progress import counted
from benchmark.recipe import Recipe
from benchmark.training.augment import augment, shuffled
from benchmark.training.pasting import Pasting
from benchmark.training.schedule import run_seed
from benchmark.training.sharing import assembled

CACHE_BYTES = 2 << 30
"""A split that decodes to at most this much is kept in memory, and read before anything else."""
SHARE = 4
"""A larger one is kept, each image once it was read, up to this part of the free memory: there may be three of them."""

Item, Result = TypeVar("Item"), TypeVar("Result")


class Cached(Derived):
    """A dataset whose samples are decoded once and kept, image memory in (H, W, 3) order as resizing wants it.

    Args:
        base: the dataset.
        machine: threads, and whether progress is shown.
        first: read all of it now, so that a damaged file is found before a training has begun.
    """

    def __init__(self, base: Dataset, machine: Machine, first: bool = True) -> None:
        super().__init__(base)
        self._samples: dict[int, Sample] = {}
        if first:
            samples = ahead(self.__getitem__, range(len(base)), machine.workers)
            for _ in counted(samples, len(base), f"preparing {len(base)} {base.split} images", machine):
                pass

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> Sample:
        place = range(len(self))[index]
        if place not in self._samples:
            self._samples[place] = _channels_last(self.base[place])
        return self._samples[place]


def cached(dataset: Dataset, machine: Machine, budget: int | None = None) -> Dataset:
    """The dataset kept in memory if it fits into `budget` bytes, :func:`room` unless stated, else itself."""
    if isinstance(dataset, Cached) or not len(dataset):
        return dataset
    size = _decoded(dataset)
    fits = size <= (room() if budget is None else budget)
    return Cached(dataset, machine, first=size <= CACHE_BYTES) if fits else dataset


def fits_in_memory(dataset: Dataset) -> bool:
    """Whether a dataset is kept in memory once it is decoded."""
    return _decoded(dataset) <= room()


def room() -> int:
    """Bytes that a decoded split may take, where several processes of this machine keep one each."""
    return max(CACHE_BYTES, (free_memory() or 0) // SHARE // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _decoded(dataset: Dataset) -> int:
    """Bytes of all samples, judged by the first."""
    first = dataset[0]
    return (first.image.numel() + first.labels.numel()) * len(dataset)


def training_batches(
    dataset: Dataset,
    recipe: Recipe,
    machine: Machine,
    start: int,
    stop: int,
    stride: int = 8,
    pasting: Pasting | None = None,
) -> Iterator[Batch]:
    """The augmented batches of the steps `start` to `stop`, on the device, with what `pasting` pastes into them.

    A batch depends on the recipe's seed, the step and the data only, so that a run can start anywhere. Images come in
    an endless stream of permutations: each is seen equally often however many steps an epoch has.

    Several processes prepare a share each, where it can be of one size, and all have the whole batch.
    """
    seed = run_seed(recipe)
    shares = world() if recipe.batch_size % world() == 0 else 1
    share = recipe.batch_size // shares
    first_slot = rank() * share if shares > 1 else 0

    def build(step: int) -> Batch:
        first = step * recipe.batch_size + first_slot
        samples = [dataset[shuffled(len(dataset), seed, index)] for index in range(first, first + share)]
        if pasting:
            samples = [pasting(sample, seed, step, slot) for slot, sample in enumerate(samples, first_slot)]
        return _pinned(augment(samples, recipe, seed, step, first_slot, stride), machine)

    batches = ahead(build, range(start, stop), machine.workers)
    if shares > 1:
        yield from assembled(batches, machine.device, recipe.task)
    for batch in batches:
        yield batch.to(machine.device)


def native_batches(
    dataset: Dataset,
    machine: Machine,
    batch_size: int = 8,
    limit: int | None = None,
    start: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """The dataset in its order, native size, not augmented, on the device.

    Args:
        dataset: a split.
        machine: device and workers.
        batch_size: at most; images of another size start a batch of their own.
        limit: only the first so many images.
        start: index of the first image.
        share: (rank, processes): only this process's of the batches, of which the processes take one each in turn.
    """
    turn, processes = share
    count = len(dataset) if limit is None else min(limit, len(dataset))

    def build(first: int) -> list[Batch]:
        batches = collate([dataset[index] for index in range(first, min(first + batch_size, count))])
        return [_pinned(batch, machine) for batch in batches]

    firsts = range(start + turn * batch_size, count, processes * batch_size)
    for batches in ahead(build, firsts, machine.workers):
        for batch in batches:
            yield batch.to(machine.device)


def ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """``map`` in order, with `workers` threads computing ahead of the consumer."""
    if not workers:
        yield from map(function, items)
        return
    # One PyTorch thread each: the parallelism is over batches.
    pool = ThreadPoolExecutor(workers, "loader", initializer=torch.set_num_threads, initargs=(1,))
    pending: deque = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pinned(batch: Batch, machine: Machine) -> Batch:
    if machine.device.type != "cuda":
        return batch
    return Batch(batch.ids, batch.images.pin_memory(), batch.labels.pin_memory())


def _channels_last(sample: Sample) -> Sample:
    return Sample(sample.id, sample.image[None].contiguous(memory_format=torch.channels_last)[0], sample.labels)
