"""FitData: what a method's ``fit`` is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.data import Batch, Dataset
from benchmark.machine import Machine
from benchmark.progress import Progress
from benchmark.recipe import Recipe, digest
from benchmark.training.loader import cached, native_batches
from benchmark.training.loop import Report, train
from benchmark.training.task import Task


@dataclass
class FitData:
    """Training data and the means to train on it.

    Attributes:
        train_set: training split.
        val_set: validation split, or None.
        machine: device, precision, workers.
        recipes: task -> recipe, the authors' values with the dataset's overrides applied.
        states: prefix of the resume states' paths.
        title: what is fitted, put before the task in progress bars and messages.
        reports: of the trainings that were finished, in order.
        root: the data root, for what a method reads beside the training images (:meth:`benchmark.method.Method.reads`).
    """

    train_set: Dataset
    val_set: Dataset | None
    machine: Machine
    recipes: Mapping[str, Recipe]
    states: Path
    title: str = ""
    reports: list[Report] = field(default_factory=list)
    root: Path = Path()

    def batches(self, batch_size: int = 8, limit: int | None = None, title: str = "") -> Iterator[Batch]:
        """The training images in order, native size, not augmented, on the device.

        Args:
            batch_size: at most; images of another size start a batch of their own.
            limit: only the first so many images.
            title: what they are for; with it there is a progress bar.
        """
        self.train_set = cached(self.train_set, self.machine)
        total = len(self.train_set) if limit is None else min(limit, len(self.train_set))
        done = 0
        with Progress(title, 0, total, self.machine) as progress:
            for batch in native_batches(self.train_set, self.machine, batch_size, limit):
                yield batch
                done += len(batch)
                progress.update(done)

    def train(self, task: Task, recipe: Recipe) -> Report:
        """Train a task; after a kill it goes on where it was, and a training that was finished is not repeated.

        Build the task inside ``with seeded(recipe):``, so that it starts from the same weights every time.
        """
        self.train_set = cached(self.train_set, self.machine)
        self.val_set = cached(self.val_set, self.machine) if self.val_set is not None else None
        title = f"{self.title} {recipe.task}".strip()
        report = train(task, recipe, self.train_set, self.val_set, self.machine, self._state(recipe), title)
        self.reports.append(report)
        return report

    def _state(self, recipe: Recipe) -> Path:
        # The position tells two trainings of one recipe apart.
        return self.states.with_name(f"{self.states.name}.{len(self.reports)}-{recipe.task}-{digest(recipe)}.state")
