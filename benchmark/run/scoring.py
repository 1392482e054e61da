"""Methods take turns on batches: how many images go through at a time, who gets the scores, or why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from benchmark.cost_meter import MemoryMeter, clear, out_of_memory
from benchmark.data import IGNORE, Batch, Sample
from benchmark.errors import BenchmarkError, ProcessChanged, in_words
from benchmark.machine import arithmetic
from benchmark.metrics import Confidences, View
from benchmark.network import NetworkSpec
from benchmark.pool import Pool
from benchmark.run.beside import Beside
from benchmark.run.entry import Entry

if TYPE_CHECKING:
    from benchmark.run.workshop import Workshop

BATCH_PIXELS = 1 << 19
"""Pixels of a batch where --batch-size is not given: 8 images of 320x180, 1 of 1280x720."""
GPU_PIXELS = 1 << 23
"""The same at most on a GPU whose memory suffices: 9 images of 1280x720."""
SHARED = ""
"""Name of the work beside a pass that belongs to no method."""

Item, Given = TypeVar("Item"), TypeVar("Given")


def images_per_batch(first: Sample) -> int:
    """How many images of the size of this one make a batch."""
    return max(1, BATCH_PIXELS // first.labels.numel())


class BatchSize:
    """How many images go through the networks at a time: as many as were asked for, and as the memory holds.

    Args:
        images: to begin with.
        most: up to how many it may grow, :meth:`warmed`; it does not where that is left out.
        pixels: of an image of which there may be so many; of a larger one there are fewer. 0 where the number was
            asked for, whatever the size.
    """

    def __init__(self, images: int, most: int = 0, pixels: int = 0) -> None:
        self.images = images
        self.most = max(images, most)
        self.pixels = pixels
        self.cold = True
        """Whether no batch of this size has gone through yet; the first one warms caches, and its time says nothing."""

    @classmethod
    def chosen(cls, first: Sample, asked: int, device: torch.device, before: int = 0) -> Self:
        """Of a pass over images. On a GPU, where nothing was asked for, the first batch is small, and by what it took
        the next ones are chosen. On a CPU large batches gain nothing.

        Args:
            first: an image.
            asked: --batch-size; 0 leaves it open.
            device: of the networks.
            before: to how many an earlier pass over the same images has come; 0 where this is the first.
        """
        if asked:
            return cls(before or asked)
        pixels = first.labels.numel()
        if before:
            return cls(before, pixels=pixels)
        return cls(images_per_batch(first), GPU_PIXELS // pixels if device.type == "cuda" else 0, pixels)

    def warmed(self, pool: Pool, entries: Sequence[Entry]) -> None:
        """A batch has gone through: half of the free memory of a GPU is for the next ones."""
        self.cold = False
        own = max((entry.memory_mib or 0.0 for entry in entries), default=0.0)
        each = (sum(pool.latest_mib.values()) + own) * 2**20 / self.images
        if self.most <= self.images or not each:
            return
        cached = torch.cuda.memory_reserved(pool.device) - torch.cuda.memory_allocated(pool.device)
        free = torch.cuda.mem_get_info(pool.device)[0] + cached
        grown = max(self.images, min(self.most, int(free / 2 / max(each, 1.0))))
        self.images, self.cold = grown, grown > self.images
        self.most = self.images

    def fitting(self, pixels: int) -> int:
        """How many images of so many pixels may go through."""
        return max(1, self.images * self.pixels // pixels) if pixels > self.pixels > 0 else self.images

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """A batch in parts of at most so many images as there may be when it is their turn."""
        done = 0
        while done < len(batch):
            part = batch.part(done, self.fitting(batch.labels[0].numel()))
            done += len(part)
            yield part

    def halve(self, images: int, pool: Pool, say: Callable[[str], None]) -> None:
        """So many images at a time did not fit: from now on half of them, said once, and room is made.

        To be called when the error is gone, which holds on to what was being computed.
        """
        half = -(-images // 2)
        if self.images > half:
            say(f"Out of memory with {images} images at a time; going on with {half}.")
            self.images = self.most = half
        pool.forget()
        clear(pool.device)


@dataclass(frozen=True)
class Halving(Generic[Item, Given]):
    """A batch for one after the other; who runs out of memory, and all who come after, get it in halves.

    Nobody sees an image twice: what is computed is kept only when all of it is there, and what came before stays.

    Args:
        workshop: with the networks; says when batches shrink.
        size: shrinks, and with it all batches that follow.
        begin: makes of a batch, or of a part of one, what everyone is given of it.
        turn: (item, what it is given) computes and returns a function that keeps it. Where the memory does not
            suffice, it is called once more with each half; the function it has returned is called once and never again.
        failed: (item, images, error), for whatever else is raised, and for a single image that does not fit.
    """

    workshop: Workshop
    size: BatchSize
    begin: Callable[[Batch], Given]
    turn: Callable[[Item, Given], Callable[[], None]]
    failed: Callable[[Item, tuple[str, ...], BaseException], None]

    def whole(self, items: Sequence[Item], batch: Batch) -> None:
        """Everyone's turn on a batch, which may be larger than what goes through at a time."""
        for part in self.size.parts(batch):
            self.part(items, part)

    def part(self, items: Sequence[Item], batch: Batch) -> bool:
        """Everyone's turn on so many images as go through at a time; whether the memory sufficed."""
        given = self.begin(batch)
        for position, item in enumerate(items):
            if not self._fits(item, given, batch):
                self.size.halve(len(batch), self.workshop.pool, self.workshop.say)
                self.whole(items[position:], batch)
                return False
        return True

    def _fits(self, item: Item, given: Given, batch: Batch) -> bool:
        try:
            keep = self.turn(item, given)
        except BaseException as error:  # whatever a plugin raises must not take the others down
            if len(batch) > 1 and out_of_memory(error):
                return False
            self.failed(item, batch.ids, error)
            return True
        try:
            keep()
        except BaseException as error:
            self.failed(item, batch.ids, error)
        return True


def nothing() -> None:
    """Keeps nothing."""


def network_cost(spec: NetworkSpec) -> str:
    """Name under which the seconds of a network are kept."""
    return f"network {spec.key} {spec.scales} {spec.max_size}"


def drop(workshop: Workshop, entry: Entry | None, images: Sequence[str], error: BaseException) -> None:
    """A method has failed: keep and print the sentence, which names it and the images of the batch.

    None stands for the images themselves, or the shared network, without which there is nothing to measure.

    Raises:
        BaseException: the error, where it is no method's.
    """
    if entry is None:
        raise error
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
    batch: Batch, scores: Tensor | None, predictions: Tensor | None, confidences: Sequence[Confidences] | None = None
) -> Iterator[View]:
    """What every image of a batch gives the evaluators; scores and predictions are (B, H, W)."""
    for index, image in enumerate(batch.ids):
        scored, predicted = (None if each is None else each[index] for each in (scores, predictions))
        yield View(image, scored, batch.labels[index], predicted, confidences and confidences[index])


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


class Sent:
    """A batch: its tensors, and what the shared network says of it, on their way to the CPU, each sent once.

    Of the network's it is a copy: a method whose turn comes later has the maps themselves in hand.
    """

    def __init__(self, workshop: Workshop, batch: Batch) -> None:
        self.workshop, self.batch = workshop, batch

    @cached_property
    def images(self) -> Callable[[], Tensor]:
        return to_cpu(self.batch.images)

    @cached_property
    def labels(self) -> Callable[[], Tensor]:
        return to_cpu(self.batch.labels)

    @cached_property
    def predictions(self) -> Callable[[], Tensor]:
        setup = self.workshop.setup
        outputs = self.workshop.pool.outputs(setup.base, self.batch.blind)
        # A class is a label, which is a byte; eight of them a pixel would have to travel otherwise.
        return to_cpu(outputs.prediction(len(setup.test.classes)).to(torch.uint8))

    @cached_property
    def confidences(self) -> Callable[[], list[Confidences]]:
        outputs = self.workshop.pool.outputs(self.workshop.setup.base, self.batch.blind)
        images = zip(outputs.log_probabilities(), self.batch.labels, strict=True)
        sent = [Confidences.of(*each).map(to_cpu) for each in images]
        return lambda: [each.map(lambda arrived: arrived()) for each in sent]


class Spoiled(BenchmarkError):
    """What was counted last cannot be trusted: a plugin changed the process while others were measured beside it."""


class Counting:
    """What methods return on its way to the evaluators, beside the forwards; who fails there is left out.

    Args:
        workshop: says who fails.
        entries: the methods.
        size: of the batches.
        beside: does the work.
        dropped: is told the label of a method that has failed.
    """

    def __init__(
        self,
        workshop: Workshop,
        entries: Sequence[Entry],
        size: BatchSize,
        beside: Beside[tuple[str, ...]],
        dropped: Callable[[str], None],
    ) -> None:
        self.workshop, self.entries, self.size, self.beside, self._dropped = workshop, entries, size, beside, dropped
        self._spoilt = ""  # label of who changed the process beside others

    def before(self) -> None:
        """To be called before every turn of a method.

        Whoever changes a function of everybody's does it on the first batch, and nobody's metrics use it beside.
        """
        if self.size.cold:
            self.settle()

    def scored(
        self, entry: Entry, sent: Sent, scores: Tensor, update: Callable[[View], None], predicted: bool
    ) -> Callable[[], None]:
        """What gives an evaluator the scores of a batch once they are on the CPU.

        Args:
            entry: whose they are.
            sent: the batch.
            scores: (B, H, W), on the device.
            update: of the evaluator.
            predicted: whether it is to see the network's prediction, too.
        """
        if self.beside.threads and scores.device.type == "cpu":
            scores = scores.clone()  # the method may write into its own the next time
        batch, arriving, labels = sent.batch, to_cpu(scores), sent.labels
        predictions = sent.predictions if predicted else None

        def work() -> None:
            given = Batch(batch.ids, batch.images, labels())
            for view in views(given, arriving(), predictions and predictions()):
                update(view)

        def keep() -> None:
            if former := self.beside.submit(entry.label, work, batch.ids):
                error, images = former
                self.failed(entry, images, error)

        return keep

    def shared(self, sent: Sent, work: Callable[[], None]) -> Callable[[], None]:
        """What has something done with a batch that belongs to no method, and raises what the former one raised."""

        def keep() -> None:
            if former := self.beside.submit(SHARED, work, sent.batch.ids):
                raise former[0]

        return keep

    def settle(self) -> None:
        """Wait until everything is counted; whose scores could not be, is dropped."""
        for name, error, images in self.beside.settle():
            if name == SHARED:
                raise error
            self.failed(next(e for e in self.entries if e.label == name), images, error)

    def failed(self, entry: Entry | None, images: tuple[str, ...], error: BaseException) -> None:
        """Leave a method out; None stands for what belongs to nobody, and so to all."""
        if entry is None:
            raise error
        drop(self.workshop, entry, images, error)
        self._dropped(entry.label)
        if isinstance(error, ProcessChanged) and self.beside.threads and not self.size.cold:
            self._spoilt = entry.label

    def check(self) -> None:
        """Whether all that was counted can be trusted.

        Raises:
            Spoiled: it cannot.
        """
        if self._spoilt:
            raise Spoiled(
                f"{self._spoilt} did that while others were measured beside it, so that what was measured last "
                f"cannot be trusted; the same command with --workers 0 measures it again."
            )
