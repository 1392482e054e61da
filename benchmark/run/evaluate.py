"""The runner: one pass over the test images for all methods, then one record each."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmark.data import Batch
from benchmark.metrics import FirstPass, SegmentationEvaluator
from benchmark.progress import Progress
from benchmark.run.plan import Step
from benchmark.run.resume import journal_of, mark
from benchmark.run.scoring import drop, images_per_batch, network_cost, score, views
from benchmark.run.tally import Tally
from benchmark.run.workshop import Entry, Workshop
from benchmark.training import native_batches

SAVE_EVERY = 30.0
"""Seconds between two states of a running evaluation."""


def evaluate(workshop: Workshop, steps: Sequence[Step]) -> Tally:
    """Score every test image with every method that has not failed, and keep the metrics.

    A method that raises, or whose scores have the wrong shape or hold a NaN, is reported with the image and dropped;
    the others go on. A kill loses at most the last half minute; a file that cannot be read loses nothing. Delete the
    tally's journal once the records are written.

    Args:
        workshop: that has trained and fitted everything.
        steps: one group of :func:`benchmark.run.resume.passes`.
    """
    setup = workshop.setup
    entries = [s.entry for s in steps if not s.entry.error]
    images = workshop.test_images()
    batch_size = setup.options.batch_size or images_per_batch(images[0])
    marks = {s.entry.label: mark(workshop, s) for s in steps if not s.entry.error}
    tally = _new_tally(workshop, entries, batch_size, marks)
    state = tally.journal.read()
    if state is not None:
        tally.restore(state)
        workshop.say(f"Evaluation goes on after {tally.done} of {len(setup.test)} images.")
    progress = Progress(
        f"evaluating {len(entries)} method{'s' * (len(entries) > 1)}", tally.done, len(setup.test), setup.machine
    )
    saved, whole = time.monotonic(), True
    try:
        for batch in native_batches(images, setup.machine, batch_size, start=tally.done):
            whole = False
            _evaluate_batch(workshop, [e for e in entries if not e.error], batch, tally)
            whole = True
            progress.update(tally.done, "")
            if not tally.methods:
                break
            if time.monotonic() - saved > SAVE_EVERY:
                _keep(workshop, tally)
                saved = time.monotonic()
    except BaseException:
        # Interrupted within a batch, some methods have its images and others have not: the last saved state counts.
        if whole:
            _keep(workshop, tally)
        raise
    finally:
        progress.close()
        workshop.pool.forget()
    _keep(workshop, tally)
    return tally


def _keep(workshop: Workshop, tally: Tally) -> None:
    """Write the state of the methods that have not failed; those start anew in a pass of their own."""
    if not tally.methods:
        return
    former, tally.journal = tally.journal, journal_of(workshop, tally.marks)
    tally.journal.write(tally.state())
    if former.path != tally.journal.path:
        former.delete()


def _new_tally(workshop: Workshop, entries: Sequence[Entry], batch_size: int, marks: dict[str, str]) -> Tally:
    setup = workshop.setup
    classes = setup.test.classes if setup.test.card.class_labels else ()
    methods = {e.label: FirstPass(setup.protocols, classes, e.label) for e in entries}
    segmentation = SegmentationEvaluator(classes) if classes else None
    return Tally(methods, segmentation, batch_size, journal_of(workshop, marks), marks=marks)


def _evaluate_batch(workshop: Workshop, entries: Sequence[Entry], batch: Batch, tally: Tally) -> None:
    pool, setup = workshop.pool, workshop.setup
    before = {spec: clock.seconds for spec, clock in pool.clocks.items()}
    timed = tally.done > 0 or tally.timed > 0  # the first batch warms caches and is not timed
    for entry in entries:
        try:
            scores, seconds = score(workshop, entry, batch)
            predictions = None
            if tally.segmentation is not None:
                predictions = pool.outputs(setup.base, batch).prediction(len(setup.test.classes))
            for view in views(batch, scores, predictions):
                tally.methods[entry.label].update(view)
        except Exception as error:  # whatever a plugin raises must not take the others down
            drop(workshop, entry, batch, error)
            tally.drop(entry.label)
            continue
        if timed:
            tally.seconds[entry.label] = tally.seconds.get(entry.label, 0.0) + seconds
    if tally.segmentation is not None:
        for view in views(batch, None, pool.outputs(setup.base, batch).prediction(len(setup.test.classes))):
            tally.segmentation.update(view)
    if timed:
        for spec, clock in pool.clocks.items():
            name = network_cost(spec)
            tally.seconds[name] = tally.seconds.get(name, 0.0) + clock.seconds - before.get(spec, 0.0)
        tally.timed += len(batch)
    tally.done += len(batch)
    tally.anomalous += int((batch.labels == 254).sum())
    ignored = int((batch.labels == 255).sum())
    tally.valid += batch.labels.numel() - ignored
    tally.ignored += ignored
