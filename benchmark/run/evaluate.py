"""One pass over the test images for all methods, which keeps their metrics."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import torch

from benchmark.data import ANOMALY, IGNORE, Batch, Dataset, image_digest
from benchmark.distributed import everywhere, rank, shared, world
from benchmark.errors import BenchmarkError, interrupted
from benchmark.metrics import FirstPass, SegmentationEvaluator, hints
from benchmark.network import are_probabilities
from benchmark.progress import Progress
from benchmark.run.beside import Beside
from benchmark.run.entry import Entry
from benchmark.run.plan import Step
from benchmark.run.resume import journal_of, mark, take_up
from benchmark.run.scoring import drop, images_per_batch, network_cost, score, views
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


def evaluate(workshop: Workshop, steps: Sequence[Step]) -> Tally:
    """Score every test image with every method that has not failed, and keep the metrics.

    A method that raises, or whose scores have the wrong shape or hold a NaN, is reported with the image and dropped;
    the others go on. A kill loses at most the last minute, or fifty times as long as the state takes to write; a
    file that cannot be read loses nothing. The last state is not written: :func:`keep` it before what takes long, and
    where the records cannot be written. Delete the tally's journal once they are.

    Several processes share the batches (:mod:`benchmark.run.shares`); then rank 0's tally is that of all images.

    Args:
        workshop: with everything trained and fitted.
        steps: one group of :func:`benchmark.run.resume.passes`.
    """
    setup = workshop.setup
    entries = [s.entry for s in steps if not s.entry.error]
    images = workshop.test_images()
    batch_size = setup.options.batch_size or everywhere(lambda: images_per_batch(images[0]))
    tally = _new_tally(workshop, [s for s in steps if not s.entry.error], batch_size)
    tally = _taken_up(workshop, tally, images)
    words = f"evaluating {len(entries)} method{'s' * (len(entries) > 1)}"
    progress = Progress(words, tally.done, len(setup.test), setup.machine)
    due, whole = time.monotonic() + SAVE_EVERY, True
    beside: Beside[tuple[str, ...]] = Beside(metric_threads(setup.machine.device))

    def evaluated(part: Tally, stop: int, turns: Turns) -> None:
        for batch in native_batches(images, setup.machine, batch_size, stop, tally.done, turns):
            _evaluate_batch(workshop, [e for e in entries if not e.error], batch, part, beside)
            progress.update(min(stop, tally.done + (part.done - tally.done) * world()), "")
        _settle(workshop, entries, part, beside)

    try:
        if world() > 1:
            whole = False  # rank 0 keeps what all have together, when they meet
            shared_pass(workshop, entries, tally, len(images), evaluated, lambda: keep(workshop, tally), SAVE_EVERY)
        for batch in native_batches(images, setup.machine, batch_size, start=tally.done):
            whole = False
            _evaluate_batch(workshop, [e for e in entries if not e.error], batch, tally, beside)
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
        marks=marks,
        records={step.entry.label: step.path.relative_to(setup.options.out).as_posix() for step in steps},
        fingerprint=setup.test.fingerprint(),
    )


def metric_threads(device: torch.device) -> int:
    """Threads for the metrics: up to 8 beside an accelerator, on the CPU the cores that the networks leave."""
    cores = os.cpu_count() or 1
    return min(8, cores if device.type != "cpu" else max(0, cores - torch.get_num_threads()))


def _evaluate_batch(
    workshop: Workshop, entries: Sequence[Entry], batch: Batch, tally: Tally, beside: Beside[tuple[str, ...]]
) -> None:
    pool, setup = workshop.pool, workshop.setup
    before = {spec: clock.seconds for spec, clock in pool.clocks.items()}
    timed = tally.done > 0 or tally.timed > 0  # the first batch warms caches and is not timed
    for entry in entries:
        failure: tuple[BaseException, tuple[str, ...]] | None
        try:
            scores, seconds = score(workshop, entry, batch)
            predictions = None
            if tally.segmentation is not None:
                predictions = pool.outputs(setup.base, batch.blind).prediction(len(setup.test.classes))
            if beside.threads:
                scores = scores.clone()  # the method may write into its own the next time
            evaluator = tally.methods[entry.label]
            failure = beside.submit(
                entry.label, lambda e=evaluator, b=batch, s=scores, p=predictions: _update(e, b, s, p), batch.ids
            )
        except BaseException as error:  # whatever a plugin raises must not take the others down
            failure = error, batch.ids
        if failure:
            _drop(workshop, entry, tally, *failure)
        elif timed:
            tally.seconds[entry.label] = tally.seconds.get(entry.label, 0.0) + seconds
    predictions = None
    if tally.segmentation is not None:
        predictions = pool.outputs(setup.base, batch.blind).prediction(len(setup.test.classes))
    if failure := beside.submit(SHARED, lambda b=batch, p=predictions: _count(tally, b, p), batch.ids):
        raise failure[0]
    if not tally.done and any(setup.base in entry.specs for entry in entries):
        for hint in hints(probabilities=are_probabilities(pool.outputs(setup.base, batch.blind).logits())):
            workshop.say(f"Hint: {hint}")
    if timed:
        for spec, clock in pool.clocks.items():
            name = network_cost(spec)
            tally.seconds[name] = tally.seconds.get(name, 0.0) + clock.seconds - before.get(spec, 0.0)
        tally.timed += len(batch)
    tally.done += len(batch)


def _update(evaluator: FirstPass, batch: Batch, scores: torch.Tensor, predictions: torch.Tensor | None) -> None:
    """Give an evaluator the images of a batch."""
    for view in views(batch, scores, predictions):
        evaluator.update(view)


def _count(tally: Tally, batch: Batch, predictions: torch.Tensor | None) -> None:
    """What is counted of the images themselves, and of the segmentation."""
    batch = batch.to(torch.device("cpu"))
    if tally.segmentation is not None:
        for view in views(batch, None, predictions):
            tally.segmentation.update(view)
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
