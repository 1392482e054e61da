"""What a fit may leave in a method beside its state, and what not."""

import numpy as np
import pytest
import torch
from benchmark.methods.msp import MSP

from benchmark.errors import PluginError
from benchmark.run.entry import Entry, check_saved

NAN = float("nan")


def checked(fitted, loaded):
    """Hold a method with one value in an attribute against one with another."""
    methods = [MSP(), MSP()]
    for method, value in zip(methods, (fitted, loaded), strict=True):
        method.kept = value
    check_saved(methods[0], Entry(methods[1], None, {}, {}, {}, ""))


@pytest.mark.parametrize(
    "make",
    [
        lambda: NAN,
        lambda: np.array([1.0, NAN]),
        lambda: torch.tensor([NAN, 2.0]),
        lambda: torch.ones(3, dtype=torch.bfloat16),
        lambda: torch.ones(3, requires_grad=True),
        lambda: np.array(["road", "sky"]),
        lambda: {"road": [torch.arange(3), np.uint16(7)]},
        lambda: np.array([object(), None]),
    ],
)
def test_what_is_made_alike_every_time_is_no_fit(make):
    checked(make(), make())


@pytest.mark.parametrize(
    ("fitted", "loaded"),
    [
        (1.0, NAN),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, NAN])),
        (torch.ones(3, dtype=torch.bfloat16), torch.zeros(3, dtype=torch.bfloat16)),
        (np.ones(3), None),
        (np.ones(3), np.ones(4)),
        (0, np.zeros(2)),
        ({"road": np.ones(3)}, {}),
    ],
)
def test_what_differs_is_named(fitted, loaded):
    with pytest.raises(PluginError, match="fit\\(\\) leaves kept in attributes"):
        checked(fitted, loaded)
