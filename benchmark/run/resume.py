"""Which methods go through the images together, and where the state of their unfinished pass is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.data import Dataset, chained_digest, image_digest
from benchmark.errors import BenchmarkError
from benchmark.io import atomic
from benchmark.machine import Machine
from benchmark.progress import counted
from benchmark.recipe import digest
from benchmark.run.journal import FOLDER, Journal, kept_states
from benchmark.run.plan import Step, expected_identity
from benchmark.run.tally import Tally
from benchmark.run.workshop import Workshop


def passes(workshop: Workshop, steps: Sequence[Step]) -> list[list[Step]]:
    """The steps in groups, each of which is one pass over the images.

    An unfinished pass is continued by exactly the methods whose state it kept, whatever else is pending now. A method
    that failed in it, or was not asked for at the time, starts in a pass together with the other new ones. Nothing
    measured is lost.

    Args:
        workshop: with everything trained and fitted.
        steps: methods to evaluate.
    """
    left = {mark(workshop, step): step for step in steps}
    wanted = set(left)
    groups = []
    for journal, marks in _unfinished(workshop):
        if marks <= left.keys():
            groups.append([left.pop(each) for each in list(left) if each in marks])
        elif marks <= wanted:
            journal.delete()  # superseded: another state of these methods has come further
    return groups + [list(left.values())] * bool(left)


def mark(workshop: Workshop, step: Step) -> str:
    """Digest of everything that decides what is measured of a method, apart from the images.

    States of equal marks may go on as one another where the images seen so far are the same; one that could not be
    read and was mended since is not among them.
    """
    identity = dataclasses.asdict(expected_identity(workshop, step.entry)) | {"fingerprint": ""}
    if identity["validation"] is None:  # a state of before there were such protocols goes on
        del identity["validation"]
    return digest([step.entry.label, workshop.setup.dataset, identity, workshop.pool.precision])


def journal_of(workshop: Workshop, marks: Mapping[str, str]) -> Journal:
    """Where the pass of a set of methods keeps its state.

    Args:
        workshop: whose output folder holds it.
        marks: method label -> mark.
    """
    name = digest([workshop.setup.dataset, sorted(marks.values())], 20)
    return Journal(workshop.setup.options.out / FOLDER / f"{name}.npz")


def take_up(workshop: Workshop, begun: Tally, images: Dataset) -> Tally:
    """The tally with what its journal kept, where that is whole and of the same images; says what comes of it.

    Args:
        workshop: says it.
        begun: a tally that has seen no image.
        images: in the order in which they are evaluated.
    """
    state = begun.journal.read()
    if state is None and not begun.journal.path.exists():
        return begun
    kept = dataclasses.replace(begun)
    try:
        if state is None:
            raise BenchmarkError(f"{begun.journal.path} is damaged or of another version.")
        kept.restore(state)
        if kept.done > len(images):
            raise BenchmarkError(f"{begun.journal.path} is of {kept.done} images and there are {len(images)}.")
        if kept.fingerprint != begun.fingerprint and not _same_images(kept, images, workshop.setup.machine):
            raise BenchmarkError("The images that were evaluated have changed since.")
    except BenchmarkError as error:
        workshop.say(f"{str(error).rstrip('.')}; all images are measured again.")
        begun.journal.delete()
        return begun
    kept.fingerprint = begun.fingerprint
    workshop.say(f"Evaluation goes on after {kept.done} of {len(images)} images.")
    return kept


def check_unchanged(workshop: Workshop, tally: Tally) -> None:
    """Hold the images against those with which the evaluation began.

    Raises:
        BenchmarkError: they were changed meanwhile, so that nobody can say what was measured.
    """
    if workshop.setup.test.fingerprint() != tally.fingerprint:
        raise BenchmarkError(
            f"The images of {workshop.setup.dataset} were changed while they were evaluated; give the command again."
        )


def sweep(workshop: Workshop) -> None:
    """Delete what killed runs left and no run can use: unfinished files, states of what was completed since.

    A state that cannot be read is reported.
    """
    out = workshop.setup.options.out
    for folder in (FOLDER, "weights", "records"):
        atomic.sweep(out / folder)
    workshop.store.sweep()
    for path, kept in kept_states(out):
        if kept is None:
            workshop.say(f"{path} is damaged or of another version; what it was kept for is measured again.")
        if kept is None or _measured_since(out, path, kept["records"]):
            Journal(path).delete()


def _measured_since(out: Path, path: Path, records: Mapping[str, str]) -> bool:
    """Whether every method of a state has a record that is newer."""
    kept = path.stat().st_mtime
    found = [out / place for place in records.values()]
    return all(record.is_file() and record.stat().st_mtime > kept for record in found)


def _same_images(kept: Tally, images: Dataset, machine: Machine) -> bool:
    """Whether the images that a state has seen are the first ones now, pixel by pixel."""
    seen = ""
    for index in counted(range(kept.done), kept.done, "comparing the images seen before", machine):
        sample = images[index]
        seen = chained_digest(seen, image_digest(sample.id, sample.image, sample.labels))
    return seen == kept.seen


def _unfinished(workshop: Workshop) -> list[tuple[Journal, set[str]]]:
    """Every kept state with the marks of its methods, those with the most work in them first."""
    found = []
    for path, kept in kept_states(workshop.setup.options.out):
        if kept is not None:
            work = len(kept["marks"]) * kept["numbers"]["done"]
            found.append((work, Journal(path), set(kept["marks"].values())))
    return [(journal, marks) for work, journal, marks in sorted(found, key=lambda each: -each[0])]
