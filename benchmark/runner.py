"""The runner: one pass over the test images for all methods, then one record each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmark.arithmetic import arithmetic
from benchmark.data import Batch, Sample
from benchmark.errors import BenchmarkError, in_words
from benchmark.journal import Journal
from benchmark.metrics import (
    ComponentProtocol,
    OpenSetProtocol,
    PixelEvaluator,
    PixelProtocol,
    SegmentationEvaluator,
    protocol,
)
from benchmark.network import NetworkSpec
from benchmark.passes import journal_of, mark
from benchmark.plan import Step
from benchmark.training import native_batches
from benchmark.training.progress import Progress
from benchmark.workshop import Entry, Workshop

BATCH_PIXELS = 1 << 19
"""Pixels of a batch where --batch-size is not given: 8 images of 320x180, 1 of 1280x720."""
SAVE_EVERY = 30.0
"""Seconds between two states of a running evaluation."""


@dataclass
class Tally:
    """What the pass has gathered so far; all of it survives a kill."""

    pixels: dict[str, PixelEvaluator]  # method label -> its metrics
    segmentation: SegmentationEvaluator | None
    batch_size: int  # images per forward
    journal: Journal  # holds the state until the records are written
    done: int = 0  # images evaluated
    timed: int = 0  # images whose cost was measured
    seconds: dict[str, float] = field(default_factory=dict)  # "method label" or "network key" -> seconds
    anomalous: int = 0  # pixels
    valid: int = 0  # pixels that are not void
    ignored: int = 0  # pixels that are
    calibration: tuple[PixelProtocol, ...] = ()  # evaluated per fold, for thresholds of a second pass
    folds: dict[str, dict[str, PixelEvaluator]] = field(default_factory=dict)  # method label -> fold -> calibration
    marks: dict[str, str] = field(default_factory=dict)  # method label -> what tells its states from another setting's

    def update(self, label: str, image_id: str, scores: Tensor, labels: Tensor, prediction: Tensor | None) -> None:
        """Add an image of a method."""
        pixels = self.pixels[label]
        pixels.update(image_id, scores, labels, prediction)
        if self.calibration:
            folds, fold = self.folds.setdefault(label, {}), fold_of(image_id)
            if fold not in folds:
                folds[fold] = PixelEvaluator(self.calibration, classes=pixels.classes, method=label)
            folds[fold].update(image_id, scores, labels)

    def drop(self, label: str) -> None:
        """Forget a method that has failed: of its last images, it has some and not the others."""
        for part in (self.pixels, self.folds, self.marks):
            part.pop(label, None)

    def state(self) -> dict[str, Any]:
        """Plain arrays and numbers for the journal."""
        numbers = {k: getattr(self, k) for k in ("done", "timed", "seconds", "anomalous", "valid", "ignored")}
        parts: dict[str, Any] = {f"pixels/{label}": e.state() for label, e in self.pixels.items()}
        for label, folds in self.folds.items():
            parts |= {f"folds/{label}/{fold}": e.state() for fold, e in folds.items()}
        if self.segmentation is not None:
            parts["segmentation"] = self.segmentation.state()
        return {"numbers": numbers, "marks": self.marks, **parts}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        for key, value in state["numbers"].items():
            setattr(self, key, value)
        self.pixels = {label: PixelEvaluator.from_state(state[f"pixels/{label}"]) for label in self.pixels}
        for part in (key for key in state if key.startswith("folds/")):
            label, _, fold = part.removeprefix("folds/").rpartition("/")
            self.folds.setdefault(label, {})[fold] = PixelEvaluator.from_state(state[part])
        if self.segmentation is not None:
            self.segmentation = SegmentationEvaluator.from_state(state["segmentation"])


def evaluate(workshop: Workshop, steps: Sequence[Step]) -> Tally:
    """Score every test image with every method that has not failed, and keep the metrics.

    A method that raises, or whose scores have the wrong shape or hold a NaN, is reported with the image and dropped;
    the others go on. A kill loses at most the last half minute; a file that cannot be read loses nothing. Delete the
    tally's journal once the records are written.

    Args:
        workshop: that has trained and fitted everything.
        steps: one group of :func:`benchmark.passes.passes`.
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
    progress = Progress(f"evaluating {len(entries)} methods", tally.done, len(setup.test), setup.settings)
    saved, whole = time.monotonic(), True
    try:
        for batch in native_batches(images, setup.settings, batch_size, start=tally.done):
            whole = False
            _evaluate_batch(workshop, [e for e in entries if not e.error], batch, tally)
            whole = True
            progress.update(tally.done, "")
            if not tally.pixels:
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
    if not tally.pixels:
        return
    former, tally.journal = tally.journal, journal_of(workshop, tally.marks)
    tally.journal.write(tally.state())
    if former.path != tally.journal.path:
        former.delete()


def _new_tally(workshop: Workshop, entries: Sequence[Entry], batch_size: int, marks: dict[str, str]) -> Tally:
    setup = workshop.setup
    wanted = [protocol(name) for name in setup.protocols]
    chosen = [p for p in wanted if isinstance(p, PixelProtocol)]
    if any(isinstance(p, ComponentProtocol) for p in wanted) and protocol("pooled") not in chosen:
        chosen.append(protocol("pooled"))  # its best F1 is their threshold
    pixels = {e.label: PixelEvaluator(chosen, classes=setup.test.classes, method=e.label) for e in entries}
    segmentation = SegmentationEvaluator(setup.test.classes) if setup.test.class_labels else None
    calibration = tuple(p.calibration for p in wanted if isinstance(p, OpenSetProtocol)) if segmentation else ()
    journal = journal_of(workshop, marks)
    return Tally(pixels, segmentation, batch_size, journal, calibration=calibration, marks=marks)


def fold_of(image_id: str) -> str:
    """The part of a dataset (in StreetHazards the town) that an image belongs to: "t5" of "t5/12"."""
    return image_id.rpartition("/")[0].partition("/")[0]


def images_per_batch(first: Sample) -> int:
    """How many images of the size of this one make a batch."""
    return max(1, BATCH_PIXELS // first.labels.numel())


def _evaluate_batch(workshop: Workshop, entries: Sequence[Entry], batch: Batch, tally: Tally) -> None:
    pool, setup = workshop.pool, workshop.setup
    before = {spec: clock.seconds for spec, clock in pool.clocks.items()}
    timed = tally.done > 0 or tally.timed > 0  # the first batch warms caches and is not timed
    for entry in entries:
        try:
            scores, seconds = score(workshop, entry, batch)
            prediction = None
            if tally.segmentation is not None:
                prediction = pool.outputs(setup.base, batch).prediction(len(setup.test.classes))
            for index, image_id in enumerate(batch.ids):
                predicted = None if prediction is None else prediction[index]
                tally.update(entry.label, image_id, scores[index], batch.labels[index], predicted)
        except Exception as error:  # whatever a plugin raises must not take the others down
            drop(workshop, entry, batch, error)
            tally.drop(entry.label)
            continue
        if timed:
            tally.seconds[entry.label] = tally.seconds.get(entry.label, 0.0) + seconds
    if tally.segmentation is not None:
        prediction = pool.outputs(setup.base, batch).prediction(len(setup.test.classes))
        for index in range(len(batch)):
            tally.segmentation.update(prediction[index], batch.labels[index])
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


def network_cost(spec: NetworkSpec) -> str:
    """Under which name the seconds of a network are kept."""
    return f"network {spec.key} {spec.scales} {spec.max_size}"


def drop(workshop: Workshop, entry: Entry, batch: Batch, error: Exception) -> None:
    """A method has failed: keep and print the sentence, which names it and the images."""
    sentence = in_words(error)
    entry.error = sentence if entry.label in sentence else f"{entry.label}: {sentence}"
    if not any(image_id in entry.error for image_id in batch.ids):
        entry.error += f" (images {', '.join(batch.ids)})" if len(batch) > 1 else f" (image {batch.ids[0]})"
    workshop.say(entry.error)


def score(workshop: Workshop, entry: Entry, batch: Batch) -> tuple[Tensor, float]:
    """The scores of a method and the seconds that it spent itself, its networks' forwards excluded."""
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
    return scores.float(), seconds
