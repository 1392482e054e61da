"""One method, one batch: its scores and the seconds that it spent, or why it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.cost_meter import MemoryMeter
from benchmark.data import IGNORE, Batch, Sample
from benchmark.errors import BenchmarkError, in_words
from benchmark.machine import arithmetic
from benchmark.metrics import View
from benchmark.network import NetworkSpec
from benchmark.pool import Pool
from benchmark.run.entry import Entry
from benchmark.run.workshop import Workshop

BATCH_PIXELS = 1 << 19
"""Pixels of a batch where --batch-size is not given: 8 images of 320x180, 1 of 1280x720."""
GPU_PIXELS = 1 << 23
"""The same at most on a GPU whose memory suffices: 9 images of 1280x720."""


def images_per_batch(first: Sample) -> int:
    """How many images of the size of this one make a batch."""
    return max(1, BATCH_PIXELS // first.labels.numel())


class BatchSize:
    """How many images go through the networks at a time: as many as were asked for, and as the memory holds.

    On a GPU, where nothing was asked for, the first batch is small, and by what it took the next ones are chosen. On a
    CPU large batches gain nothing. Whatever does not fit after all halves them.

    Args:
        first: an image.
        asked: --batch-size; 0 leaves it open.
        device: of the networks.
    """

    def __init__(self, first: Sample, asked: int, device: torch.device) -> None:
        self.images = asked or images_per_batch(first)
        self.most = self.images
        """Images up to which it may grow."""
        if device.type == "cuda" and not asked:
            self.most = max(self.images, GPU_PIXELS // first.labels.numel())
        self.cold = True
        """Whether no batch of this size has gone through yet; the first one warms caches, and its time says nothing."""

    def warmed(self, pool: Pool, entries: Sequence[Entry]) -> None:
        """A batch has gone through: half of the free memory of a GPU is for the next ones."""
        self.cold = False
        if self.most <= self.images:
            return
        own = max((entry.memory_mib or 0.0 for entry in entries), default=0.0)
        each = (sum(pool.latest_mib.values()) + own) * 2**20 / self.images
        cached = torch.cuda.memory_reserved(pool.device) - torch.cuda.memory_allocated(pool.device)
        free = torch.cuda.mem_get_info(pool.device)[0] + cached
        grown = max(self.images, min(self.most, int(free / 2 / max(each, 1.0))))
        self.images, self.cold = grown, grown > self.images
        self.most = self.images

    def halve(self, images: int) -> int:
        """A batch of so many did not fit; how many the next ones have."""
        self.images = self.most = -(-images // 2)
        return self.images


def network_cost(spec: NetworkSpec) -> str:
    """Name under which the seconds of a network are kept."""
    return f"network {spec.key} {spec.scales} {spec.max_size}"


def drop(workshop: Workshop, entry: Entry, images: Sequence[str], error: BaseException) -> None:
    """A method has failed: keep and print the sentence, which names it and the images of the batch."""
    entry.error = in_words(error).removeprefix(f"{entry.label}: ")
    if not any(image_id in entry.error for image_id in images):
        entry.error += f" (image{'s' * (len(images) > 1)} {', '.join(images)})"
    workshop.say(f"{entry.label}: {entry.error}")


def score(workshop: Workshop, entry: Entry, batch: Batch) -> tuple[Tensor, float]:
    """The scores of a method and the seconds that it spent itself, its networks' forwards excluded.

    Raises:
        BenchmarkError: it changed what other methods are measured on, or returned no score for every pixel; what it
            raises itself passes through.
    """
    pool, given = workshop.pool, batch.blind
    for spec in entry.specs:
        pool.outputs(spec, given)
    clock = pool.clock(entry.specs[0])
    # All labels of the blind batch are one value in memory.
    label = given.labels[:1, :1, :1]
    copies = [(given.images, batch.images), (label, torch.full_like(label, IGNORE))]
    # Of the first batch all is looked at, of a later one a part.
    batches = pool.forwards[entry.specs[0]]
    # The border is the innermost: what a plugin leaves behind is put back before anything else of torch is called.
    with (
        torch.no_grad(),
        arithmetic(pool.device, pool.precision),
        MemoryMeter(pool.device) as memory,
        pool.border("score()", lambda: [entry.networks], copies, batches - 1 if batches > 1 else None),
    ):
        shared, start = pool.seconds(), clock.now()
        scores = entry.method.score(given, entry.networks)
        seconds = clock.now() - start - (pool.seconds() - shared)
    if memory.mib is not None:
        entry.memory_mib = max(entry.memory_mib or 0.0, memory.mib)
    return checked_scores(scores, tuple(batch.labels.shape)), seconds


def checked_scores(scores: Any, shape: tuple[int, ...]) -> Tensor:
    """What score() returned, as it is: what of it float32 cannot keep apart, the evaluators judge by the labels."""
    if not isinstance(scores, Tensor) or tuple(scores.shape) != shape:
        found = f"a tensor of shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise BenchmarkError(f"score() must return one value per pixel, {shape}; it returned {found}.")
    if scores.layout != torch.strided or scores.is_complex() or scores.is_quantized:
        kind = "sparse" if scores.layout != torch.strided else str(scores.dtype).removeprefix("torch.")
        raise BenchmarkError(f"score() must return real numbers, float32; it returned a {kind} tensor.")
    if scores.dtype == torch.float64 and (scores.float().isinf() & ~scores.isinf()).any():
        raise BenchmarkError("score() returned float64 values beyond the range of float32 (3.4e38); rescale them.")
    halves = (torch.float16, torch.bfloat16)  # which numpy does not have, or slowly; what is longer is not cut here
    return scores.float() if scores.dtype in halves else scores


def views(
    batch: Batch, scores: Tensor | None, predictions: Tensor | None, log_probabilities: Tensor | None = None
) -> Iterator[View]:
    """What every image of a batch gives the evaluators; scores and predictions are (B, H, W), probabilities
    (B, C, H, W)."""
    for index, image in enumerate(batch.ids):
        given = (None if t is None else t[index] for t in (scores, batch.labels, predictions, log_probabilities))
        yield View(image, *given)


def to_cpu(tensor: Tensor | None) -> Callable[[], Tensor | None]:
    """Send a tensor on its way to the CPU, into pinned memory; nobody waits before the call, and then for it alone.

    Whatever is written into the tensor later is not in the copy. One that is on the CPU already is taken as it is.
    """
    if tensor is None or tensor.device.type != "cuda":
        return lambda: tensor
    copy = torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event(blocking=True)  # a thread that waits sleeps
    arrived.record(torch.cuda.current_stream(tensor.device))

    def wait() -> Tensor:
        arrived.synchronize()
        return copy

    return wait
