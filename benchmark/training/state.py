"""The resume state: one file from which a killed training goes on to the same result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from benchmark.data import Dataset
from benchmark.io.atomic import replacing
from benchmark.recipe import Recipe, digest
from benchmark.training.task import Task

_FORMAT = 1
KERNELS = ("foreach", "fused", "capturable")
"""Fields of an optimiser's parameter groups that say how it computes, not what."""


@dataclass
class Journal:
    """How far a training has come, in plain values.

    Attributes:
        step: optimiser steps done.
        seconds: spent in all sessions.
        resumed: sessions that went on from a state.
        loss: smoothed training loss.
        sums: sums of the reported losses over the steps of the current epoch.
        validation: latest validation values.
        history: one entry per finished epoch.
        compiled: whether a compiled network took part in any step.
    """

    step: int = 0
    seconds: float = 0.0
    resumed: int = 0
    loss: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    compiled: bool = False


def identity(
    task: Task,
    recipe: Recipe,
    train_set: Dataset,
    val_set: Dataset | None,
    precision: str = "fp32",
    compiled: bool = False,
) -> str:
    """Digest of what a state belongs to: recipe, data, arithmetic and the shapes of what is trained."""
    shapes = {name: tuple(value.shape) for name, value in task.state_dict().items() if torch.is_tensor(value)}
    data = [split.fingerprint() if split is not None else "" for split in (train_set, val_set)]
    more = [precision] * (precision != "fp32") + ["compiled"] * compiled
    return digest([_FORMAT, type(task).__qualname__, recipe.as_dict(), data, shapes, *more], 20)


def save_state(path: Path, mark: str, task: Task, optimisers: list[torch.optim.Optimizer], journal: Journal) -> None:
    """Write the state; the file is either the old one or the new one, whenever the process dies.

    Raises:
        BenchmarkError: the disk is full or the folder cannot be written; the old state stays as it was.
    """
    state = {
        "identity": mark,
        "journal": asdict(journal),
        "task": task.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
    }
    state["seal"] = _seal(state)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        output = _Output(file)
        try:
            torch.save(state, output)
        except RuntimeError as error:
            raise output.error or error from error


class _Output:
    """A file for ``torch.save``, which answers an error of writing with one of its own that names no reason."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def clear_states(stem: Path) -> None:
    """Delete every resume state whose name is that of `stem`, a point, and more: what was trained is stored now.

    What a kill left of writing one is deleted, too; its name begins with another point.
    """
    for path in stem.parent.glob("*"):
        if path.name.lstrip(".").startswith(f"{stem.name}.") and ".state" in path.suffixes:
            path.unlink(missing_ok=True)


def load_state(
    path: Path, mark: str, task: Task, optimisers: list[torch.optim.Optimizer], steps: int
) -> tuple[Journal, str]:
    """Put a state back where there is a fitting one.

    Args:
        path: of the state.
        mark: what it must belong to.
        task: takes the weights.
        optimisers: take their moments.
        steps: of the whole training.
    Returns:
        the journal (a fresh one where nothing was loaded), and why an existing file was not used, else "".
    """
    if not path.exists():
        return Journal(), ""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found, journal = state["identity"], Journal(**state["journal"])
        sealed = state.pop("seal", None)  # a state from before there were seals goes on without one
        if sealed is not None and sealed != _seal(state):
            return Journal(), f"the resume state {path} is damaged"
        if not (type(journal.step) is int and 0 <= journal.step <= steps):
            return Journal(), f"the resume state {path} is of step {journal.step} of {steps}"
        if len(state["optimisers"]) != len(optimisers):
            return Journal(), f"the resume state {path} is of other optimisers"
    except Exception as error:  # a damaged archive fails in many ways
        return Journal(), f"the resume state {path} cannot be read ({type(error).__name__})"
    if found != mark:
        return Journal(), f"the resume state {path} is of another recipe, network or data"
    task.load_state_dict(state["task"])
    for optimiser, values in zip(optimisers, state["optimisers"], strict=True):
        _take(optimiser, values)
    return journal, ""


def _take(optimiser: torch.optim.Optimizer, values: Mapping[str, Any]) -> None:
    """Put an optimiser's state back, but not by which kernels it was computed: that is of the machine, and a state may
    go on elsewhere."""
    groups = [
        {**saved, **{name: own[name] for name in KERNELS if name in own}}
        for saved, own in zip(values["param_groups"], optimiser.param_groups, strict=True)
    ]
    optimiser.load_state_dict({**values, "param_groups": groups})


def _seal(state: dict[str, Any]) -> str:
    """Digest of all that a state holds: PyTorch reads an archive without a look at its checksums."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.update(f"{value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, Mapping):
            for key, part in value.items():
                found.update(f"{key!r}:".encode())
                add(part)
        elif isinstance(value, (list, tuple)):
            found.update(f"{len(value)}".encode())
            for part in value:
                add(part)
        else:
            found.update(repr(value).encode())

    add(state)
    return found.hexdigest()
