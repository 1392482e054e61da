"""What every row costs at full size on one machine: a committed record and the tables made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import dumps, read_as, write_atomic
from benchmark.io.words import quantity
from benchmark.records.provenance import Provenance, device_stem

SCHEMA = 1


@dataclass(frozen=True)
class TrainingCost:
    """An optimiser step of a recipe."""

    title: str  # what is trained
    task: str  # of the recipe
    batch_size: int  # images in a step
    steps: int  # of the whole recipe
    sizes: str  # the images, in words
    seconds: float | None = None  # per step, loading and augmentation included; the mean over the recipe's scales
    memory_gib: float | None = None  # largest, at any scale
    error: str = ""  # why there is no measurement

    @property
    def hours(self) -> float | None:
        """Of the whole training, validation excluded."""
        return None if self.seconds is None else self.seconds * self.steps / 3600


@dataclass(frozen=True)
class MethodCost:
    """A method on one image, and its fit."""

    label: str
    title: str
    trainings: list[str] = field(default_factory=list)  # titles of all that it needs, an ensemble's members repeated
    network_ms: float | None = None  # per test image: its networks' forwards at all test scales
    method_ms: float | None = None  # per test image: score() beyond these
    statistics_ms: float | None = None  # per training image, its networks' forwards included; None without statistics
    fit_seconds: float = 0.0  # of the fit, beyond its trainings and the statistics
    memory_gib: float | None = None  # largest in the evaluation and, where there are, in statistics and fit
    error: str = ""  # why something is missing


@dataclass(frozen=True)
class Costs:
    """Everything that one ``bench costs`` measured."""

    dataset: str  # whose sizes, classes and recipes
    title: str
    network: str  # the shared one
    size: list[int]  # of an image, height and width in pixels
    train_images: int
    test_images: int
    batch_size: int  # images per evaluated batch
    reduced: str  # in which way this is not the whole measurement; empty if it is
    trainings: list[TrainingCost]
    methods: list[MethodCost]
    provenance: Provenance
    schema: int = SCHEMA

    @property
    def machine(self) -> str:
        """Device, precision and versions, in words."""
        made = self.provenance
        threads = "" if made.accelerated else f", {quantity(made.threads, 'thread')}"
        return f"{made.hardware} ({made.precision}{threads}, torch {made.versions.get('torch', 'unknown')})"

    def hours(self, method: MethodCost) -> dict[str, float | None]:
        """Hours of a row by what they are spent on; None where a part was not measured, or this is reduced."""
        if self.reduced:
            return dict.fromkeys(("training", "fit", "evaluation", "row"))
        by_title = {t.title: t.hours for t in self.trainings}
        trainings = [by_title.get(title) for title in method.trainings]
        training = None if None in trainings else sum(trainings)
        statistics = (method.statistics_ms or 0.0) * self.train_images / 1000
        evaluation = None
        if method.network_ms is not None and method.method_ms is not None:
            evaluation = (method.network_ms + method.method_ms) * self.test_images / 3.6e6
        parts = {"training": training, "fit": (statistics + method.fit_seconds) / 3600, "evaluation": evaluation}
        return {**parts, "row": None if None in parts.values() else sum(parts.values())}

    def together(self, labels: Collection[str]) -> float | None:
        """Hours of several rows from nothing, where trainings that rows share are done once.

        Args:
            labels: of the rows.
        Returns:
            None where a row, or a part of one, was not measured.
        """
        rows = [method for method in self.methods if method.label in labels]
        trainings: Counter[str] = Counter()
        for method in rows:
            trainings |= Counter(method.trainings)
        by_title = {t.title: t.hours for t in self.trainings}
        hours = [by_title.get(title) for title in trainings.elements()]
        for each in map(self.hours, rows):
            hours += [each["fit"], each["evaluation"]]
        return None if None in hours or len(rows) < len(labels) else sum(hours)

    def path(self, results: Path) -> Path:
        """``results/costs/<device>.json``."""
        return Path(results) / "costs" / f"{device_stem(self.provenance.hardware)}.json"

    def write(self, results: Path) -> Path:
        """Store the record for the tables.

        Raises:
            BenchmarkError: it is reduced, or the file cannot be written.
        """
        refuse_reduced(self.reduced)
        path = self.path(results)
        write_atomic(path, dumps(self))
        return path


def refuse_reduced(reduced: str) -> None:
    """A reduced measurement is not stored.

    Raises:
        BenchmarkError: it is reduced.
    """
    if reduced:
        raise BenchmarkError(f"A reduced measurement ({reduced}) enters no table; leave out these options or --write.")


def read_costs(results: Path) -> list[Costs]:
    """Every record of costs in the results folder, by file name.

    Raises:
        BenchmarkError: a file is no such record.
    """
    found = []
    for path in sorted((Path(results) / "costs").glob("*.json")):
        try:
            found.append(read_as(Costs, path, SCHEMA))
        except (OSError, ValueError, TypeError) as error:
            raise BenchmarkError(
                f"{path} is no record of costs ({error}); measure it again with "
                f"'python -m benchmark bench costs --write {results}'."
            ) from None
    return found
