"""One method, one batch: its scores and the seconds that it spent, or why it failed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmark.data import Batch, Sample
from benchmark.errors import BenchmarkError, in_words
from benchmark.machine import arithmetic
from benchmark.metrics import View
from benchmark.network import NetworkSpec
from benchmark.run.workshop import Entry, Workshop

BATCH_PIXELS = 1 << 19
"""Pixels of a batch where --batch-size is not given: 8 images of 320x180, 1 of 1280x720."""


def images_per_batch(first: Sample) -> int:
    """How many images of the size of this one make a batch."""
    return max(1, BATCH_PIXELS // first.labels.numel())


def network_cost(spec: NetworkSpec) -> str:
    """Name under which the seconds of a network are kept."""
    return f"network {spec.key} {spec.scales} {spec.max_size}"


def drop(workshop: Workshop, entry: Entry, batch: Batch, error: Exception) -> None:
    """Note that a method has failed: keep and print a sentence that names it and the images."""
    sentence = in_words(error)
    entry.error = sentence if entry.label in sentence else f"{entry.label}: {sentence}"
    if not any(image_id in entry.error for image_id in batch.ids):
        entry.error += f" (images {', '.join(batch.ids)})" if len(batch) > 1 else f" (image {batch.ids[0]})"
    workshop.say(entry.error)


def score(workshop: Workshop, entry: Entry, batch: Batch) -> tuple[Tensor, float]:
    """The scores of a method, float32 (B, H, W), and the seconds that it spent itself, beside its networks."""
    pool = workshop.pool
    for spec in entry.specs:
        pool.outputs(spec, batch)
    clock = next(iter(pool.clocks.values()))
    shared, start = pool.seconds(), clock.now()
    with torch.no_grad(), arithmetic(pool.device, pool.precision):
        scores = entry.method.score(batch, entry.networks)
    seconds = clock.now() - start - (pool.seconds() - shared)
    if not isinstance(scores, Tensor) or tuple(scores.shape) != tuple(batch.labels.shape):
        found = f"a tensor of shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        raise BenchmarkError(
            f"score() must return one value per pixel, {tuple(batch.labels.shape)}; it returned {found}."
        )
    halves = (torch.float16, torch.bfloat16)  # which numpy does not have, or slowly; what is longer is not cut here
    return (scores.float() if scores.dtype in halves else scores), seconds


def views(batch: Batch, scores: Tensor | None, predictions: Tensor | None) -> Iterator[View]:
    """What every image of a batch gives the evaluators; scores and predictions are (B, H, W)."""
    for index, image in enumerate(batch.ids):
        one = None if scores is None else scores[index]
        yield View(image, one, batch.labels[index], None if predictions is None else predictions[index])
