"""Which methods go through the images together, and where the state of their unfinished pass is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.io.names import file_name
from benchmark.recipe import digest
from benchmark.run.journal import Journal
from benchmark.run.plan import Step, expected_identity
from benchmark.run.workshop import Workshop


def passes(workshop: Workshop, steps: Sequence[Step]) -> list[list[Step]]:
    """The steps in groups, each of which is one pass over the images.

    An unfinished pass is gone on with by exactly the methods whose state it kept, whatever else is pending now: one
    that had failed in it or was not asked for then has a pass with the others that begin. Nothing measured is lost.

    Args:
        workshop: that has trained and fitted everything.
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
    """Digest of everything that decides what a method measures: states of equal marks may go on as one another."""
    identity = dataclasses.asdict(expected_identity(workshop, step.entry))
    return digest([step.entry.label, identity, workshop.pool.precision])


def journal_of(workshop: Workshop, marks: Mapping[str, str]) -> Journal:
    """Where the pass of a set of methods keeps its state.

    Args:
        workshop: whose output folder holds it.
        marks: method label -> mark.
    """
    return Journal(_folder(workshop) / f"{file_name(workshop.setup.dataset)}-{digest(sorted(marks.values()))}.npz")


def _folder(workshop: Workshop) -> Path:
    return workshop.setup.options.out / "partial"


def _unfinished(workshop: Workshop) -> list[tuple[Journal, set[str]]]:
    """Every kept state with the marks of its methods, those with the most work in them first."""
    found = []
    for path in sorted(_folder(workshop).glob("*.npz")):
        journal = Journal(path)
        marks, numbers = journal.read("marks"), journal.read("numbers")
        if marks and numbers:
            work = len(marks["marks"]) * numbers["numbers"]["done"]
            found.append((work, journal, set(marks["marks"].values())))
    return [(journal, marks) for work, journal, marks in sorted(found, key=lambda each: -each[0])]
