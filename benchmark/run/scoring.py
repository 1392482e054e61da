"""One method, one batch: its scores and the seconds that it spent, or why it failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.cost_meter import MemoryMeter
from benchmark.data import IGNORE, Batch, Sample
from benchmark.errors import BenchmarkError, in_words
from benchmark.machine import arithmetic
from benchmark.metrics import View
from benchmark.network import NetworkSpec
from benchmark.run.entry import Entry
from benchmark.run.workshop import Workshop

BATCH_PIXELS = 1 << 19
"""Pixels of a batch where --batch-size is not given: 8 images of 320x180, 1 of 1280x720."""


def images_per_batch(first: Sample) -> int:
    """How many images of the size of this one make a batch."""
    return max(1, BATCH_PIXELS // first.labels.numel())


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
    with pool.border("score()", lambda: [entry.networks], copies, batches - 1 if batches > 1 else None):
        shared, start = pool.seconds(), clock.now()
        with torch.no_grad(), arithmetic(pool.device, pool.precision), MemoryMeter(pool.device) as memory:
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
