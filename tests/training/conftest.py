"""Settings and a short recipe."""

import pytest
import torch

from benchmark.machine import Machine
from benchmark.recipe import Recipe


@pytest.fixture
def machine():
    return Machine(torch.device("cpu"), progress=False)


@pytest.fixture
def recipe():
    return Recipe(epochs=3, steps_per_epoch=5, batch_size=3, lr=0.05, seed=7, colour=0.2)
