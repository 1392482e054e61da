"""Seeds, numbers of steps and the learning rate: closed forms of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmark.errors import BenchmarkError
from benchmark.recipe import Recipe


def run_seed(recipe: Recipe) -> int:
    """Seed of everything random in a run: the recipe's seed plus the index of the ensemble member."""
    return recipe.seed + recipe.member


@contextmanager
def seeded(recipe: Recipe, step: int = 0) -> Iterator[None]:
    """Draw random numbers that depend on the recipe's seed and a step only; the caller's generators are untouched.

    Build what will be trained inside ``with seeded(recipe):``, so that it starts from the same weights every time.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() and torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):
        seed_step(recipe, step)
        yield


def seed_step(recipe: Recipe, step: int) -> None:
    """Seed PyTorch's generators (dropout and the like) as a function of run and step, so that none is ever saved."""
    seed = (run_seed(recipe) * 1_000_003 + step) % 2**63
    # Without a GPU, torch.manual_seed keeps the seed and the whole call stack for when there will be one.
    (torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed)(seed)


def steps_per_epoch(recipe: Recipe, images: int) -> int:
    """Optimiser steps in an epoch; where the recipe leaves it open, one pass without an incomplete batch."""
    return recipe.steps_per_epoch or max(1, images // recipe.batch_size)


VALIDATIONS = 20
"""A run is validated after its last epoch and at most about this many times in all, evenly spaced."""


def validated_every(recipe: Recipe) -> int:
    """Epochs from one validation to the next."""
    return math.ceil(recipe.epochs / VALIDATIONS)


def validations(recipe: Recipe) -> int:
    """How often a run is validated: after every so many epochs, and after the last."""
    return math.ceil(recipe.epochs / validated_every(recipe))


def learning_rate_factor(recipe: Recipe, step: int, steps: int) -> float:
    """What the initial learning rate is multiplied by in a step.

    poly ``(1 - step / steps) ** 0.9``, cosine ``(1 + cos(pi step / steps)) / 2``, constant 1, linear_second_half
    ``min(1, 2 - 2 step / steps)``; each times ``min(1, (step + 1) / warmup_steps)``.

    Args:
        recipe: names the schedule.
        step: 0 .. steps - 1.
        steps: length of the whole run.
    Raises:
        BenchmarkError: no such schedule.
    """
    done = step / steps
    if recipe.schedule == "poly":
        factor = (1 - done) ** 0.9
    elif recipe.schedule == "cosine":
        factor = (1 + math.cos(math.pi * done)) / 2
    elif recipe.schedule == "constant":
        factor = 1.0
    elif recipe.schedule == "linear_second_half":
        factor = min(1.0, 2 - 2 * done)
    else:
        raise BenchmarkError(
            f"The {recipe.task} recipe's schedule '{recipe.schedule}' does not exist; "
            f"it is poly, cosine, constant or linear_second_half."
        )
    return factor * min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else factor
