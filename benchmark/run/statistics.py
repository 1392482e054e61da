"""The pass over the training images in which methods gather statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from benchmark.data import Batch
from benchmark.run.declaration import check_returned
from benchmark.run.entry import Entry
from benchmark.run.scoring import BatchSize

if TYPE_CHECKING:
    from benchmark.run.workshop import Workshop

IMAGES = 8
"""Training images that go through the networks at a time, where the memory holds them."""


def gather_statistics(workshop: Workshop, sharing: Sequence[list[Entry]]) -> None:
    """Show all training images to the methods that observe them.

    Whoever runs out of memory may have taken a part of the batch into account. So it begins again, as a new instance,
    in a further pass with smaller batches: no statistics hold an image twice, or half of one.

    Args:
        workshop: with the networks; says who fails.
        sharing: entries that share a fit, of which the first observes.
    """
    setup, size = workshop.setup, BatchSize(IMAGES)
    while sharing:
        images = f"normal images of {setup.normal.label}" if setup.normal else "training images"
        workshop.say(f"Statistics of the {images} for {', '.join(users[0].label for users in sharing)}")
        short = _pass(workshop, sharing, size)
        for users in short:
            workshop.guard(users, "build()", lambda e=users[0]: workshop.begin_again(e))
        sharing = [users for users in short if not users[0].error]
    workshop.pool.forget()


def _pass(workshop: Workshop, sharing: Sequence[list[Entry]], size: BatchSize) -> list[list[Entry]]:
    """One pass; those for which the memory did not suffice."""
    short: dict[str, list[Entry]] = {}
    with torch.no_grad():
        for batch in workshop.fit_data(sharing[0][0]).batches(size.images):
            given = Batch(batch.ids, batch.images.clone(), batch.labels.clone())
            copies = [(given.images, batch.images), (given.labels, batch.labels)]
            for users in (each for each in sharing if each[0].label not in short):
                first = users[0]
                if workshop.guard(users, "observe()", lambda e=first, b=given: _observe(e, b), copies, len(batch) > 1):
                    short[first.label] = users
                    size.halve(len(batch), workshop.pool, workshop.say)
            if all(each[0].error or each[0].label in short for each in sharing):
                break
    return list(short.values())


def _observe(entry: Entry, batch: Batch) -> None:
    check_returned(entry.method.observe(batch, entry.networks), "observe()")
