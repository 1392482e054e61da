"""One pass over the test images for all methods, which keeps their metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from torch import Tensor

from benchmark.data import ANOMALY, IGNORE, Batch, Dataset, image_digest
from benchmark.distributed import everywhere, rank, shared, world
from benchmark.errors import BenchmarkError, interrupted
from benchmark.io.words import quantity
from benchmark.metrics import Confidences, FirstPass, SegmentationEvaluator, hints, network_evaluators
from benchmark.network import are_probabilities
from benchmark.progress import Progress
from benchmark.run.beside import Beside
from benchmark.run.entry import Entry
from benchmark.run.plan import Step
from benchmark.run.resume import journal_of, mark, take_up
from benchmark.run.scoring import BatchSize, Counting, Halving, Sent, Spoiled, network_cost, nothing, score, views
from benchmark.run.shares import Turns, shared_pass
from benchmark.run.tally import Tally
from benchmark.run.workshop import Workshop
from benchmark.training import native_batches

SAVE_EVERY = 60.0
"""Seconds between two states of a running evaluation."""
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

    A method that changes a function or a setting of the process is found out when its turn is over, and meanwhile
    others may have been measured with it, in threads: then all go on from the last state, without that method. Several
    processes end with a sentence instead.

    Args:
        workshop: with everything trained and fitted.
        steps: one group of :func:`benchmark.run.resume.passes`.
    """
    while True:
        try:
            return _evaluate(workshop, steps)
        except Spoiled as error:
            if world() > 1:
                raise
            workshop.say(f"{str(error).partition(';')[0]}; the others are measured again from the last state on.")


def _evaluate(workshop: Workshop, steps: Sequence[Step]) -> Tally:
    """As :func:`evaluate`, until what was measured can no longer be trusted.

    Raises:
        Spoiled: that is the case.
    """
    setup = workshop.setup
    entries = [s.entry for s in steps if not s.entry.error]
    images = workshop.test_images()
    size = everywhere(lambda: BatchSize.chosen(images[0], setup.options.batch_size, setup.machine.device))
    most = size.most
    tally = _new_tally(workshop, [s for s in steps if not s.entry.error], size.images)
    tally = _taken_up(workshop, tally, images)
    progress = Progress(f"evaluating {quantity(len(entries), 'method')}", tally.done, len(setup.test), setup.machine)
    due, whole = time.monotonic() + SAVE_EVERY, True
    beside: Beside[tuple[str, ...]] = Beside(setup.machine.workers)

    def evaluated(part: Tally, stop: int, turns: Turns) -> None:
        own = Pass(workshop, entries, size, part, beside)
        for batch in native_batches(images, setup.machine, most, stop, tally.done, turns):
            own.take(batch)
            progress.update(min(stop, tally.done + (part.done - tally.done) * world()))
        own.settle()

    own = Pass(workshop, entries, size, tally, beside)
    try:
        if world() > 1:
            whole = False  # rank 0 keeps what all have together, when they meet
            kept = lambda: keep(workshop, tally)  # noqa: E731
            shared_pass(workshop, entries, tally, len(images), most, evaluated, kept, SAVE_EVERY)
        for batch in native_batches(images, setup.machine, size.most, start=tally.done) if world() == 1 else ():
            whole = False
            own.take(batch)
            whole = True
            progress.update(tally.done)
            if not tally.methods:
                break
            if time.monotonic() > due:
                own.settle()
                began = time.monotonic()
                keep(workshop, tally)
                written = time.monotonic()
                due = written + SAVE_EVERY * max(1.0, (written - began) / SAVED_IN)
        own.settle()
    except Spoiled:
        if world() == 1:
            _keep_again(workshop, tally, steps)
        raise
    except BaseException as error:
        # Interrupted within a batch, some methods have its images and others have not: the last saved state counts.
        if whole:
            own.settle()
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


def _keep_again(workshop: Workshop, tally: Tally, steps: Sequence[Step]) -> None:
    """Write the last state anew, without those who have failed since, so that the others go on from there."""
    left = _new_tally(workshop, [step for step in steps if not step.entry.error], tally.batch_size)
    if tally.kept and left.methods and (state := tally.journal.read()) is not None:
        left.restore(state)
        left.journal = tally.journal
        keep(workshop, left)


class Pass:
    """The batches of a pass, one after the other: all methods on each, and at last the images themselves.

    Args:
        workshop: with the networks.
        entries: the methods.
        size: of the batches.
        tally: gets everything that is counted.
        beside: counts it.
    """

    def __init__(
        self,
        workshop: Workshop,
        entries: Sequence[Entry],
        size: BatchSize,
        tally: Tally,
        beside: Beside[tuple[str, ...]],
    ) -> None:
        self.workshop, self.entries, self.size, self.tally = workshop, entries, size, tally
        self._seconds: dict[str, float] = {}  # of every method, by its label, on the latest batch
        self._counting = Counting(workshop, entries, size, beside, tally.drop)
        self._halving = Halving(workshop, size, lambda batch: Sent(workshop, batch), self._turn, self._counting.failed)

    def take(self, batch: Batch) -> None:
        """All methods on a batch."""
        pool, size, tally = self.workshop.pool, self.size, self.tally
        for part in size.parts(batch):
            timed = not size.cold and (pool.device.type == "cpu" or tally.timed < TIMED)
            pool.time(timed or size.cold)
            before = {spec: clock.seconds for spec, clock in pool.clocks.items()}
            self._seconds = {}
            left = [entry for entry in self.entries if not entry.error]
            if self._halving.part([*left, None], part):
                if timed:
                    for spec, clock in pool.clocks.items():
                        self._seconds[network_cost(spec)] = clock.seconds - before.get(spec, 0.0)
                    for name, each in self._seconds.items():
                        tally.seconds[name] = tally.seconds.get(name, 0.0) + each
                    tally.timed += len(part)
                size.warmed(pool, left)
            tally.batch_size = size.images
            if not tally.methods:
                return
            self._counting.check()

    def settle(self) -> None:
        """Wait until everything is counted; whose scores could not be, is dropped."""
        self._counting.settle()

    def _turn(self, entry: Entry | None, sent: Sent) -> Callable[[], None]:
        """One method on a batch; None stands for the images themselves."""
        self._counting.before()
        if entry is None:
            return self._count_images(sent)
        return nothing if entry.error else self._score(entry, sent)

    def _score(self, entry: Entry, sent: Sent) -> Callable[[], None]:
        tally = self.tally
        scores, self._seconds[entry.label] = score(self.workshop, entry, sent.batch)
        evaluator, predicted = tally.methods[entry.label], tally.segmentation is not None
        return self._counting.scored(entry, sent, scores, evaluator.update, predicted)

    def _count_images(self, sent: Sent) -> Callable[[], None]:
        """What is counted of the images themselves, and of the shared network."""
        batch, tally, base = sent.batch, self.tally, self.workshop.setup.base
        images, labels = sent.images, sent.labels
        predictions = sent.predictions if tally.segmentation is not None else None
        confidences = sent.confidences if tally.network else None
        if not tally.done and any(base in entry.specs for entry in self.entries if not entry.error):
            logits = self.workshop.pool.outputs(base, batch.blind).logits()
            for hint in hints(probabilities=are_probabilities(logits)):
                self.workshop.say(f"Hint: {hint}")

        def count() -> None:
            given = Batch(batch.ids, images(), labels())
            _count(tally, given, predictions and predictions(), confidences and confidences())

        submit = self._counting.shared(sent, count)

        def keep() -> None:
            submit()
            tally.done += len(batch)

        return keep


def _count(tally: Tally, batch: Batch, predictions: Tensor | None, confidences: Sequence[Confidences] | None) -> None:
    """What is counted of the images themselves, and of the network."""
    if tally.segmentation is not None:
        for view in views(batch, None, predictions):
            tally.segmentation.update(view)
    for view in views(batch, None, predictions, confidences):
        for each in tally.network.values():
            each.update(view)
    for each in zip(batch.ids, batch.images, batch.labels, strict=True):
        tally.see(image_digest(*each))
    tally.anomalous += int((batch.labels == ANOMALY).sum())
    ignored = int((batch.labels == IGNORE).sum())
    tally.valid += batch.labels.numel() - ignored
    tally.ignored += ignored
