"""How long an optimiser step of a training takes, and how much memory: real trainings, cut short."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch

from benchmark.cost_meter import CostMeter, clear, forget_peak, now, out_of_memory
from benchmark.errors import in_words
from benchmark.recipe import Recipe
from benchmark.records.costs import TrainingCost
from benchmark.run.setup import Setup
from benchmark.training import FitData, Report, Task, steps_per_epoch, train


@dataclass
class StepTimer:
    """Measures trainings and keeps what it found.

    Args:
        setup: datasets and device.
        images: training images from which the number of steps follows, where the recipe leaves it open.
        warm: steps that are not timed.
        steps: steps that are, at every scale of a recipe.
        folder: for resume states, which come and go.
        say: prints a line.
    """

    setup: Setup
    images: int
    warm: int
    steps: int
    folder: Path
    say: Callable[[str], None]
    costs: dict[str, TrainingCost] = field(default_factory=dict)  # by title

    def measure(self, task: Task, recipe: Recipe, title: str) -> None:
        """A few steps at every scale of a recipe, each of which a training draws equally often."""
        steps = steps_per_epoch(recipe, self.images) * recipe.epochs
        cost = TrainingCost(title, recipe.task, recipe.batch_size, steps, _sizes(recipe))
        try:
            measured = [self._steps(task, recipe, scale, title) for scale in recipe.scales or (0,)]
        except BaseException as error:
            self.costs[title] = dataclasses.replace(cost, error=reason(error, self.setup.machine.device, recipe))
            raise
        seconds, memory = zip(*measured, strict=True)
        self.costs[title] = dataclasses.replace(cost, seconds=fmean(seconds), memory_gib=max(memory))
        self.say(f"{title}: {1000 * fmean(seconds):.0f} ms a step, {max(memory):.1f} GiB")

    def _steps(self, task: Task, recipe: Recipe, scale: int, title: str) -> tuple[float, float]:
        """Seconds per step, and GiB. The learning rate, on which the time does not depend, is next to nothing."""
        few = dataclasses.replace(
            recipe, epochs=1, steps_per_epoch=self.warm + self.steps, scales=(scale,) if scale else (), lr=1e-9
        )
        machine, state = self.setup.machine, self.folder / "steps.state"
        after, ends = task.after_step, []

        def mark(step: int, lr: float) -> None:
            after(step, lr)
            ends.append(now(machine.device))

        task.after_step = mark
        try:
            with CostMeter(machine.device) as meter:
                ends.append(now(machine.device))
                train(task, few, self.setup.train, None, machine, state, title)
        finally:
            del task.after_step
            state.unlink(missing_ok=True)
        return (ends[-1] - ends[self.warm]) / self.steps, meter.memory_gib


@dataclass
class CutShort(FitData):
    """Training data with which every training is a few measured steps."""

    timer: StepTimer | None = None
    seconds: float = 0.0  # spent in trainings

    def train(self, task: Task, recipe: Recipe) -> Report:
        device = self.machine.device
        began = now(device)
        self.timer.measure(task, recipe, f"{self.title} {recipe.task}")
        clear(device)
        forget_peak(device)  # what follows has a peak of its own
        self.seconds += now(device) - began
        report = Report(0, 0, 0.0, 0.0, {}, (), 0)
        self.reports.append(report)
        return report


def reason(error: BaseException, device: torch.device, recipe: Recipe | None = None) -> str:
    """Why something could not be measured, in words."""
    if out_of_memory(error):
        there, hint = "", ""
        if device.type == "cuda":
            there = f" of {torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB"
        if recipe is not None and recipe.batch_size > 1:
            hint = f" (--recipe {recipe.task}.batch_size={recipe.batch_size // 2} takes about half of it)"
        return f"does not fit into the memory{there}{hint}"
    return in_words(error)


def _sizes(recipe: Recipe) -> str:
    if recipe.crop:
        return f"crop {recipe.crop[1]}x{recipe.crop[0]}"
    if not recipe.scales:
        return "native"
    bound = f", long at most {recipe.max_size}" if recipe.max_size else ""
    return f"short side {', '.join(map(str, recipe.scales))}{bound}"
