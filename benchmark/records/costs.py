"""What every row costs at full size on one machine: a committed record and the tables made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import build, dumps, write_atomic
from benchmark.records.provenance import Provenance

SCHEMA = 1
NOTHING = "–"


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
        device = made.device if made.device not in ("", "cpu") else made.cpu
        threads = "" if made.device not in ("", "cpu") else f", {made.threads} thread{'s' * (made.threads > 1)}"
        return f"{device} ({made.precision}{threads}, torch {made.versions.get('torch', 'unknown')})"

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

    def path(self, results: Path) -> Path:
        """``results/costs/<device>.json``."""
        name = self.provenance.device if self.provenance.device not in ("", "cpu") else self.provenance.cpu
        return Path(results) / "costs" / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-') or 'cpu'}.json"

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
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict) or data.get("schema") != SCHEMA:
                raise ValueError(f"its schema is not {SCHEMA}")
            found.append(build(Costs, data))
        except (OSError, ValueError, TypeError) as error:
            raise BenchmarkError(
                f"{path} is no record of costs ({error}); measure it again with "
                f"'python -m benchmark bench costs --write {results}'."
            ) from None
    return found


TRAINING_HEADS = ("Training step", "batch", "image sizes", "ms/step", "images/s", "GiB", "steps", "hours")
METHOD_HEADS = ("Method", "net + own ms/image", "GiB", "training h", "fit h", "evaluation h", "row h")


def training_rows(costs: Costs) -> list[list[str]]:
    """The trainings as text under `TRAINING_HEADS`."""
    rows = []
    for one in costs.trainings:
        rate = None if not one.seconds else one.batch_size / one.seconds
        numbers = [
            _number(None if one.seconds is None else 1000 * one.seconds, 0),
            _number(rate, 1),
            _number(one.memory_gib, 1),
            str(one.steps),
            _number(None if costs.reduced else one.hours, 1),
        ]
        name = f"{one.title}: {one.error}" if one.error else one.title
        rows.append([name, str(one.batch_size), one.sizes, *numbers])
    return rows


def method_rows(costs: Costs) -> list[list[str]]:
    """The methods as text under `METHOD_HEADS`."""
    rows = []
    for one in costs.methods:
        hours = costs.hours(one)
        name = f"{one.title}: {one.error}" if one.error else one.title
        times = f"{_number(one.network_ms, 1)} + {_number(one.method_ms, 1)}"
        rows.append([name, times, _number(one.memory_gib, 1), *(_number(value, 2) for value in hours.values())])
    return rows


def sentence(costs: Costs) -> str:
    """What was measured where, and what the hours are made of."""
    height, width = costs.size
    text = (
        f"{costs.title} at {width}x{height}, {costs.network}, random weights, synthetic images, on {costs.machine}; "
        f"evaluation in batches of {costs.batch_size}."
    )
    if costs.reduced:
        return f"{text} Reduced ({costs.reduced}), so that no hours follow."
    return (
        f"{text} Hours: the recipe's steps, {costs.train_images} training images for statistics and "
        f"{costs.test_images} test images; a network that rows share counts in each of them. Validation, metrics and "
        f"resume states are not in them."
    )


def markdown(records: Sequence[Costs]) -> str:
    """The tables of all machines."""
    parts = []
    for costs in records:
        parts += [
            sentence(costs),
            _pipes(TRAINING_HEADS, training_rows(costs), words=(0, 2)),
            _pipes(METHOD_HEADS, method_rows(costs), words=(0,)),
        ]
    return "\n\n".join(parts)


def terminal(costs: Costs) -> str:
    """The same for a terminal."""
    from tabulate import tabulate

    def table(heads: Sequence[str], rows: list[list[str]], words: Sequence[int]) -> str:
        align = ["left" if i in words else "right" for i in range(len(heads))]
        return tabulate(rows, heads, colalign=align, disable_numparse=True)

    trainings = table(TRAINING_HEADS, training_rows(costs), (0, 2)) + "\n\n" if costs.trainings else ""
    return f"{trainings}{table(METHOD_HEADS, method_rows(costs), (0,))}\n\n{sentence(costs)}"


def _pipes(heads: Sequence[str], rows: list[list[str]], words: Sequence[int]) -> str:
    ruler = [":--" if i in words else "--:" for i in range(len(heads))]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in [heads, ruler, *rows])


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
