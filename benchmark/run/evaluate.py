"""One pass over the test images for all methods, which keeps their metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property

from torch import Tensor

from benchmark.cost_meter import clear, out_of_memory
from benchmark.data import ANOMALY, IGNORE, Batch, Dataset, image_digest
from benchmark.distributed import everywhere, rank, shared, world
from benchmark.errors import BenchmarkError, interrupted
from benchmark.metrics import FirstPass, SegmentationEvaluator, hints, network_evaluators
from benchmark.network import are_probabilities
from benchmark.progress import Progress
from benchmark.run.beside import Beside
from benchmark.run.entry import Entry
from benchmark.run.plan import Step
from benchmark.run.resume import journal_of, mark, take_up
from benchmark.run.scoring import BatchSize, drop, network_cost, score, to_cpu, views
from benchmark.run.shares import Turns, shared_pass
from benchmark.run.tally import Tally
from benchmark.run.workshop import Workshop
from benchmark.training import native_batches

SAVE_EVERY = 60.0
"""Seconds between two states of a running evaluation."""
SHARED = ""
"""Name of the work beside the pass that belongs to no method."""
SAVED_IN = 1.2
"""Seconds that writing one may take; one that takes longer is written less often by as much."""
TIMED = 100
"""Images of which a GPU is timed, since reading a clock waits for it; on a CPU it costs nothing, and all are."""


def evaluate(workshop: Workshop, steps: Sequence[Step]) -> Tally:
    """Score every test image with every method that has not failed, and keep the metrics.

    A method that raises, or whose scores have the wrong shape or hold a NaN, is reported with the image and dropped;
    the others go on. A batch that does not fit into the memory is halved, and so are all that follow.

    A kill loses at most the last minute, or fifty times as long as the state takes to write; a file that cannot be read
    loses nothing. The last state is not written: :func:`keep` it before what takes long, and where the records cannot
    be written. Delete the tally's journal once they are.

    Several processes share the batches (:mod:`benchmark.run.shares`); then rank 0's tally is that of all images.

    Args:
        workshop: with everything trained and fitted.
        steps: one group of :func:`benchmark.run.resume.passes`.
    """
    setup = workshop.setup
    entries = [s.entry for s in steps if not s.entry.error]
    images = workshop.test_images()
    size = everywhere(lambda: BatchSize(images[0], setup.options.batch_size, setup.machine.device))
    most = size.most
    tally = _new_tally(workshop, [s for s in steps if not s.entry.error], size.images)
    tally = _taken_up(workshop, tally, images)
    words = f"evaluating {len(entries)} method{'s' * (len(entries) > 1)}"
    progress = Progress(words, tally.done, len(setup.test), setup.machine)
    due, whole = time.monotonic() + SAVE_EVERY, True
    beside: Beside[tuple[str, ...]] = Beside(setup.machine.workers)

    def evaluated(part: Tally, stop: int, turns: Turns) -> None:
        for batch in native_batches(images, setup.machine, most, stop, tally.done, turns):
            _evaluate_batch(workshop, entries, batch, size, part, beside)
            progress.update(min(stop, tally.done + (part.done - tally.done) * world()), "")
        _settle(workshop, entries, part, beside)

    try:
        if world() > 1:
            whole = False  # rank 0 keeps what all have together, when they meet
            kept = lambda: keep(workshop, tally)  # noqa: E731
            shared_pass(workshop, entries, tally, len(images), most, evaluated, kept, SAVE_EVERY)
        for batch in native_batches(images, setup.machine, size.most, start=tally.done) if world() == 1 else ():
            whole = False
            _evaluate_batch(workshop, entries, batch, size, tally, beside)
            whole = True
            progress.update(tally.done, "")
            if not tally.methods:
                break
            if time.monotonic() > due:
                _settle(workshop, entries, tally, beside)
                began = time.monotonic()
                keep(workshop, tally)
                written = time.monotonic()
                due = written + SAVE_EVERY * max(1.0, (written - began) / SAVED_IN)
        _settle(workshop, entries, tally, beside)
    except BaseException as error:
        # Interrupted within a batch, some methods have its images and others have not: the last saved state counts.
        if whole:
            _settle(workshop, entries, tally, beside)
            keep(workshop, tally)
        if isinstance(error, KeyboardInterrupt):
            raise interrupted(tally.kept, len(images), "images") from None
        raise
    finally:
        beside.close()
        progress.close()
        workshop.pool.forget()
        workshop.pool.time(True)
    return _finished(workshop, entries, tally)


def _taken_up(workshop: Workshop, begun: Tally, images: Dataset) -> Tally:
    """What rank 0 finds of an unfinished pass; the other processes only learn how far it has come."""
    found = begun

    def take() -> int:
        nonlocal found
        found = take_up(workshop, begun, images)
        return found.done

    done = shared(take)
    if rank() > 0:
        found.done = done
    return found


def _finished(workshop: Workshop, entries: Sequence[Entry], tally: Tally) -> Tally:
    """The tally without the methods in which all images together show a fault."""

    def faults() -> dict[str, str]:
        _complete(workshop, tally)
        found = {}
        for entry in (e for e in entries if not e.error):
            try:
                tally.methods[entry.label].check()
            except BenchmarkError as error:  # so that no batch is named
                found[entry.label] = str(error).removeprefix(f"{entry.label}: ")
        return found

    found = shared(faults)
    for entry in (e for e in entries if e.label in found):
        entry.error = found[entry.label]
        tally.drop(entry.label)
        workshop.say(f"{entry.label}: {entry.error}")
    return tally


def _complete(workshop: Workshop, tally: Tally) -> None:
    """Hold what was counted against the images, whatever led to it.

    Raises:
        BenchmarkError: a method has not seen every image once.
    """
    images = len(workshop.setup.test)
    counts = {tally.done, *(each.images for each in tally.methods.values())}
    if tally.methods and counts != {images}:
        tally.journal.delete()
        raise BenchmarkError(f"{min(counts)} of {images} images were evaluated; give the command again.")


def keep(workshop: Workshop, tally: Tally) -> None:
    """Write the state of the methods that have not failed; the others start again in a pass of their own."""
    if not tally.methods:
        return
    former, tally.journal = tally.journal, journal_of(workshop, tally.marks)
    tally.journal.write(tally.state())
    tally.kept = tally.done
    if former.path != tally.journal.path:
        former.delete()


def _new_tally(workshop: Workshop, steps: Sequence[Step], batch_size: int) -> Tally:
    setup = workshop.setup
    classes = setup.test.classes if setup.test.card.class_labels else ()
    marks = {step.entry.label: mark(workshop, step) for step in steps}
    return Tally(
        methods={label: FirstPass(setup.protocols, classes, label, setup.options.exact_pooled) for label in marks},
        segmentation=SegmentationEvaluator(classes) if classes else None,
        batch_size=batch_size,
        journal=journal_of(workshop, marks),
        network=network_evaluators(setup.protocols, classes, setup.base.arch),
        marks=marks,
        records={step.entry.label: step.path.relative_to(setup.options.out).as_posix() for step in steps},
        fingerprint=setup.test.fingerprint(),
    )


def _evaluate_batch(
    workshop: Workshop,
    entries: Sequence[Entry],
    batch: Batch,
    size: BatchSize,
    tally: Tally,
    beside: Beside[tuple[str, ...]],
) -> None:
    """All methods on a batch, or on a part of it after the other where it is larger than the memory holds."""
    pool, end = workshop.pool, tally.done + len(batch)
    while tally.done < end:
        part = batch.part(len(batch) - (end - tally.done), size.images)
        timed = not size.cold and (pool.device.type == "cpu" or tally.timed < TIMED)
        pool.time(timed or size.cold)
        before = {spec: clock.seconds for spec, clock in pool.clocks.items()}
        seconds: dict[str, float] = {}
        left = [entry for entry in entries if not entry.error]
        if _go_through(workshop, left, part, size, tally, beside, seconds):
            if timed:
                for spec, clock in pool.clocks.items():
                    seconds[network_cost(spec)] = clock.seconds - before.get(spec, 0.0)
                for name, each in seconds.items():
                    tally.seconds[name] = tally.seconds.get(name, 0.0) + each
                tally.timed += len(part)
            size.warmed(pool, left)
        tally.batch_size = size.images
        if not tally.methods:
            return


def _go_through(
    workshop: Workshop,
    entries: Sequence[Entry],
    batch: Batch,
    size: BatchSize,
    tally: Tally,
    beside: Beside[tuple[str, ...]],
    seconds: dict[str, float],
) -> bool:
    """Entry by entry, and at last the images themselves; whether the memory sufficed.

    Where it does not, those whose turn had not come get the halves of the batch.

    Args:
        workshop: with the networks.
        entries: that have not failed.
        batch: on the device.
        size: is halved with the batch.
        tally: gets everything that is counted.
        beside: counts it.
        seconds: gets those of every method, by its label.
    """
    sent = _Sent(workshop, batch)
    for position, entry in enumerate([*entries, None]):
        if size.cold:  # whoever changes a function of everybody's does it now, and then nobody's metrics use it beside
            _settle(workshop, entries, tally, beside)
        try:
            if entry is None:
                _count_images(workshop, entries, sent, tally, beside)
            elif failure := _score_one(workshop, entry, sent, tally, beside, seconds):
                _drop(workshop, entry, tally, *failure)
            continue
        except BaseException as error:  # whatever a plugin raises must not take the others down
            if not (len(batch) > 1 and out_of_memory(error)):
                if entry is None:
                    raise
                _drop(workshop, entry, tally, error, batch.ids)
                continue
        # Out of the handler, since the error holds on to what was being computed.
        half = size.halve(len(batch))
        workshop.say(f"Out of memory with {len(batch)} images at a time; going on with {half}.")
        workshop.pool.forget()
        clear(workshop.pool.device)
        for first in (0, half):
            left = [each for each in entries[position:] if not each.error]
            _go_through(workshop, left, batch.part(first, half), size, tally, beside, {})
        return False
    return True


class _Sent:
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
        return to_cpu(outputs.prediction(len(setup.test.classes)).clone())

    @cached_property
    def log_probabilities(self) -> Callable[[], Tensor]:
        outputs = self.workshop.pool.outputs(self.workshop.setup.base, self.batch.blind)
        return to_cpu(outputs.log_probabilities().clone())


def _score_one(
    workshop: Workshop,
    entry: Entry,
    sent: _Sent,
    tally: Tally,
    beside: Beside[tuple[str, ...]],
    seconds: dict[str, float],
) -> tuple[BaseException, tuple[str, ...]] | None:
    """One method on a batch; what its former batch raised when it was measured, with the ids of its images."""
    batch = sent.batch
    scores, spent = score(workshop, entry, batch)
    predictions = sent.predictions if tally.segmentation is not None else None
    if beside.threads and scores.device.type == "cpu":
        scores = scores.clone()  # the method may write into its own the next time
    evaluator, arriving, labels = tally.methods[entry.label], to_cpu(scores), sent.labels

    def update() -> None:
        given = Batch(batch.ids, batch.images, labels())
        for view in views(given, arriving(), predictions and predictions()):
            evaluator.update(view)

    failure = beside.submit(entry.label, update, batch.ids)
    seconds[entry.label] = spent
    return failure


def _count_images(
    workshop: Workshop, entries: Sequence[Entry], sent: _Sent, tally: Tally, beside: Beside[tuple[str, ...]]
) -> None:
    """What is counted of the images themselves, and of the shared network."""
    batch, pool, base = sent.batch, workshop.pool, workshop.setup.base
    images, labels = sent.images, sent.labels
    predictions = sent.predictions if tally.segmentation is not None else None
    log_p = sent.log_probabilities if tally.network else None
    if not tally.done and any(base in entry.specs for entry in entries):
        for hint in hints(probabilities=are_probabilities(pool.outputs(base, batch.blind).logits())):
            workshop.say(f"Hint: {hint}")
    # Last, since what was given away must not be given once more where the memory does not suffice.
    failure = beside.submit(
        SHARED,
        lambda: _count(tally, Batch(batch.ids, images(), labels()), predictions and predictions(), log_p and log_p()),
        batch.ids,
    )
    if failure:
        raise failure[0]
    tally.done += len(batch)


def _count(tally: Tally, batch: Batch, predictions: Tensor | None, log_p: Tensor | None) -> None:
    """What is counted of the images themselves, and of the network."""
    if tally.segmentation is not None:
        for view in views(batch, None, predictions):
            tally.segmentation.update(view)
    for view in views(batch, None, predictions, log_p):
        for each in tally.network.values():
            each.update(view)
    for each in zip(batch.ids, batch.images, batch.labels, strict=True):
        tally.see(image_digest(*each))
    tally.anomalous += int((batch.labels == ANOMALY).sum())
    ignored = int((batch.labels == IGNORE).sum())
    tally.valid += batch.labels.numel() - ignored
    tally.ignored += ignored


def _settle(workshop: Workshop, entries: Sequence[Entry], tally: Tally, beside: Beside[tuple[str, ...]]) -> None:
    """Wait until everything is counted; whose scores could not be, is dropped."""
    for name, error, images in beside.settle():
        if name == SHARED:
            raise error
        _drop(workshop, next(e for e in entries if e.label == name), tally, error, images)


def _drop(workshop: Workshop, entry: Entry, tally: Tally, error: BaseException, images: tuple[str, ...]) -> None:
    drop(workshop, entry, images, error)
    tally.drop(entry.label)
