"""The one training loop.

A run is a pure function of task, recipe and data: the batch, the learning rate and the random numbers of a step depend
on the seed and the step only. So it may be killed and started again at any point, and ends with the same weights: bit
for bit on the CPU with the same number of threads, on CUDA up to the few kernels without a deterministic form. Several
processes (``sharing.py``) end with the same weights up to rounding, and go on from each other's states.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from benchmark.cost_meter import clear, out_of_memory
from benchmark.data import Dataset
from benchmark.distributed import everywhere, gathered, rank, shared, world
from benchmark.errors import BenchmarkError, interrupted
from benchmark.machine import Machine, products
from benchmark.progress import Progress, say
from benchmark.recipe import Recipe
from benchmark.training.compiled import Compiled
from benchmark.training.events import Events
from benchmark.training.loader import cached, native_batches, training_batches
from benchmark.training.schedule import learning_rate_factor, seed_step, seeded, steps_per_epoch, validated_every
from benchmark.training.sharing import Sharing
from benchmark.training.state import Journal, identity, load_state, save_state
from benchmark.training.task import Task, scheduled

_SMOOTHING = 0.98


@dataclass(frozen=True)
class Report:
    """How a training went.

    Attributes:
        steps: optimiser steps.
        epochs: epochs.
        seconds: over all sessions.
        loss: training loss at the end, smoothed over about 50 steps.
        validation: final values on the validation split, the headline first.
        history: per epoch its number, learning rate, mean training losses, and validation values where it has any.
        resumed: how often it went on from a resume state.
        compiled: whether a compiled network took part.
    """

    steps: int
    epochs: int
    seconds: float
    loss: float
    validation: dict[str, float]
    history: tuple[dict[str, Any], ...]
    resumed: int
    compiled: bool = False


def train(
    task: Task,
    recipe: Recipe,
    train_set: Dataset,
    val_set: Dataset | None,
    machine: Machine,
    state: Path,
    title: str,
) -> Report:
    """Train a task, going on from its resume state where there is one.

    Build the task inside ``with seeded(recipe):``; delete `state` once the final weights are stored.

    Args:
        task: what is learned; its parameters and buffers hold the result, on ``machine.device``, in eval mode.
        recipe: how.
        train_set: training split; kept in memory where it fits.
        val_set: validation split, or None.
        machine: where.
        state: file of the resume state.
        title: what is trained, for the progress bar and messages.
    Raises:
        BenchmarkError: the loss is not a number any more; no images; a recipe that contradicts itself; a step does not
            fit into the memory.
    """
    return _Run(task, recipe, train_set, val_set, machine, Path(state), title).run()


class _Run:
    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        train_set: Dataset,
        val_set: Dataset | None,
        machine: Machine,
        state: Path,
        title: str,
    ) -> None:
        if not len(train_set):
            raise BenchmarkError(f"{title}: the training split of {train_set.name} has no images.")
        self.task, self.recipe, self.machine, self.path, self.title = task, recipe, machine, state, title
        self.per_epoch = steps_per_epoch(recipe, len(train_set))
        self.steps = self.per_epoch * recipe.epochs
        self.every = validated_every(recipe)
        self.validated = recipe.batch_size  # images at a time
        task.machine, task.recipe = machine, recipe
        task.to(device=machine.device, memory_format=torch.channels_last)
        self.optimisers = scheduled(task, recipe)
        self.compiled = Compiled(task, machine.compiled, title)
        self.mark = identity(task, recipe, train_set, val_set, machine.precision, bool(self.compiled))
        self.journal, refused = self._begin()
        if refused:
            say(f"{title}: {refused}; training starts anew.", machine, always=True)
        self.sharing = Sharing(task, recipe.batch_size)
        if world() > 1 and not self.sharing.shares:
            sentence = f"batches of {recipe.batch_size} cannot be shared by {world()} processes, each computes all"
            say(f"{title}: {sentence}.", machine, always=True)
        self.train_set, self.val_set = train_set, val_set
        self.kept = self.journal.step  # steps in the state that was saved last
        self.pending: list[dict[str, Tensor]] = []
        self.session = time.perf_counter() - self.journal.seconds
        self.saved, self.pause = time.perf_counter(), machine.save_every

    def _begin(self) -> tuple[Journal, str]:
        """Put the state back; all processes begin with what rank 0 has, also where there is no state."""

        def load() -> tuple[Journal, str, dict[str, Any], list[dict[str, Any]]]:
            found = load_state(self.path, self.mark, self.task, self.optimisers, self.steps)
            if world() == 1:
                return *found, {}, []
            state, *moments = ({**each.state_dict()} for each in (self.task, *self.optimisers))
            state, moments = tree_map(lambda leaf: leaf.cpu() if torch.is_tensor(leaf) else leaf, (state, moments))
            return *found, state, moments

        journal, refused, state, moments = shared(load)
        if rank() > 0:
            self.task.load_state_dict(state)
            for optimiser, values in zip(self.optimisers, moments, strict=True):
                optimiser.load_state_dict(values)
        return journal, refused

    def run(self) -> Report:
        journal = self.journal
        if journal.step < self.steps:
            journal.resumed += journal.step > 0
            train_set = everywhere(lambda: cached(self.train_set, self.machine))
            if (val_set := self.val_set) is not None:
                self.val_set = everywhere(lambda: cached(val_set, self.machine))
            folder = self.machine.events if rank() == 0 else None
            self.events = everywhere(lambda: Events(folder, self.path, journal.step // self.per_epoch))
            exact = products(self.machine.device, self.machine.precision, repeatable=True)
            progress = Progress(self.title, journal.step, self.steps, self.machine)
            try:
                with exact, seeded(self.recipe), progress:
                    self._steps(train_set, progress)
            except KeyboardInterrupt:
                raise interrupted(self.kept, self.steps, f"steps of {self.title}") from None
            except Exception as error:
                if not out_of_memory(error):
                    raise
                raise BenchmarkError(self._too_large()) from error
            finally:
                self.events.close()
            self._check_together()
        self.task.eval()
        return Report(
            steps=self.steps,
            epochs=self.recipe.epochs,
            seconds=journal.seconds,
            loss=journal.loss,
            validation=dict(journal.validation),
            history=tuple(journal.history),
            resumed=journal.resumed,
            compiled=journal.compiled,
        )

    def _steps(self, train_set: Dataset, progress: Progress) -> None:
        journal, recipe, task = self.journal, self.recipe, self.task
        # Reading a loss waits for a GPU, so there it is read in groups.
        group = 1 if self.machine.device.type == "cpu" else 16
        task.train()
        batches = training_batches(train_set, recipe, self.machine, journal.step, self.steps, task.stride, task.pasting)
        for step, batch in enumerate(batches, journal.step):
            factor = learning_rate_factor(recipe, step, self.steps)
            for optimiser in self.optimisers:
                for parameters in optimiser.param_groups:
                    parameters["lr"] = parameters["initial_lr"] * factor
            seed_step(recipe, step)
            with self.sharing(), self.compiled():
                self.pending.append(dict(task.step(batch, self.optimisers)))
            journal.compiled |= self.compiled.ran
            with torch.no_grad():
                task.after_step(step, recipe.lr * factor)
            journal.step = step + 1
            last = journal.step % self.per_epoch == 0
            due = journal.step == self.steps or time.perf_counter() - self.saved > self.pause
            if last or due or len(self.pending) == group:
                self._read_losses()
            if last:
                self._end_epoch(recipe.lr * factor)
                due = due or time.perf_counter() - self.saved > self.pause
            if due:
                self._save()
            if not self.pending:
                progress.update(journal.step, self._describe())

    def _too_large(self) -> str:
        """Why a step that does not fit is not made of smaller ones, and what fits."""
        recipe = self.recipe
        if recipe.batch_size == 1:
            return f"{self.title}: training on one image does not fit into the memory, not even with a batch of one."
        return (
            f"{self.title}: a step on {recipe.batch_size} images does not fit into the memory; on fewer at a time it "
            f"would learn something else, which the record says if you give --recipe "
            f"{recipe.task}.batch_size={recipe.batch_size // 2}, and by torchrun several GPUs share a step."
        )

    def _check_together(self) -> None:
        """Whether all processes have learned the same.

        Raises:
            BenchmarkError: the task has a state that depends on a process's share of the images.
        """
        if world() == 1:
            return
        state = [value for value in self.task.state_dict().values() if torch.is_tensor(value) and value.numel()]
        sums = [float(value.double().sum()) for value in state]
        sizes = [float(value.double().abs().sum()) for value in state]
        for mine, *others in zip(*gathered(sums), strict=True):
            size = sizes.pop(0)
            if any(abs(other - mine) > 1e-3 * max(size, 1e-12) for other in others):
                raise BenchmarkError(
                    f"{self.title}: the processes have learned different things, so that its task cannot be shared; "
                    f"train it by one process, `python -m benchmark train`, and run with several then."
                )

    def _read_losses(self) -> None:
        """Bring the losses of the latest steps to the CPU and into the journal."""
        journal = self.journal
        names = list(self.pending[0])
        values = torch.stack([torch.stack([p[n].float() for n in names]) for p in self.pending]).tolist()
        first = journal.step - len(self.pending)
        for step, row in enumerate(values, first):
            if not all(map(math.isfinite, row)):
                raise BenchmarkError(
                    f"{self.title}: the loss became {row[0]} in step {step + 1} of {self.steps}; lower 'lr' or set "
                    f"'warmup_steps' in its {self.recipe.task} recipe, or train with --train-precision fp32."
                )
            for name, value in zip(names, row, strict=True):
                journal.sums[name] = journal.sums.get(name, 0.0) + value
            # A plain mean while it is short, so that the first losses do not linger.
            weight = max(1 / (step + 1), 1 - _SMOOTHING)
            journal.loss += weight * (row[0] - journal.loss)
        self.pending.clear()

    def _end_epoch(self, lr: float) -> None:
        journal = self.journal
        epoch = journal.step // self.per_epoch
        entry = {"epoch": epoch, "lr": lr, **{n: s / self.per_epoch for n, s in journal.sums.items()}}
        journal.sums.clear()
        if self.val_set is not None and (epoch == self.recipe.epochs or epoch % self.every == 0):
            self.task.eval()
            with torch.no_grad(), self.task.autocast():
                journal.validation = {k: float(v) for k, v in self._validated(self.val_set).items()}
            self.task.train()
            entry["validation"] = dict(journal.validation)
        journal.history.append(entry)
        self.events.epoch(entry)

    def _validated(self, images: Dataset) -> dict[str, float]:
        """What validation measures; in smaller batches, from the first image on, where the memory does not suffice."""
        while True:
            try:
                return self.task.validate(native_batches(images, self.machine, self.validated))
            except Exception as error:
                if self.validated == 1 or not out_of_memory(error):
                    raise
            # Only here is the error gone, which held on to what was being computed.
            clear(self.machine.device)
            half = -(-self.validated // 2)
            sentence = f"validating {self.validated} images at a time takes too much memory; going on with {half}"
            say(f"{self.title}: {sentence}.", self.machine, always=True)
            self.validated = half

    def _save(self) -> None:
        began = time.perf_counter()
        self.journal.seconds = began - self.session
        if rank() == 0:
            save_state(self.path, self.mark, self.task, self.optimisers, self.journal)
        self.kept = self.journal.step
        self.saved = time.perf_counter()
        # Large states on slow disks are written less often: at most 2 % of the time goes into saving.
        self.pause = max(self.machine.save_every, 50 * (self.saved - began))

    def _describe(self) -> str:
        journal = self.journal
        epoch = min(journal.step // self.per_epoch + 1, self.recipe.epochs)
        text = f"epoch {epoch}/{self.recipe.epochs}, loss {journal.loss:.4g}"
        for name, value in list(journal.validation.items())[:1]:
            text += f", val {name} {value:.4g}"
        return text
