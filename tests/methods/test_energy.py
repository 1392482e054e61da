"""Free energy of raw logits; of normalised ones it is constant."""

import math

import pytest
import scipy.special
import torch
from benchmark.methods.energy import Energy
from benchmark.methods.max_logit import MaxLogit
from method_toys import score

from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS

Z = 3 * torch.randn(2, 5, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_is_scipys_logsumexp(temperature):
    expected = -temperature * scipy.special.logsumexp(Z.double().numpy() / temperature, axis=1)
    assert score(Energy(temperature), Z, stride=1).double().numpy() == pytest.approx(expected, abs=1e-4)


def test_lies_between_the_maximum_logit_and_log_c_below_it():
    energy, max_logit = score(Energy(), Z), score(MaxLogit(), Z)
    assert (energy <= max_logit).all() and (energy >= max_logit - math.log(5) - 1e-5).all()


def test_on_log_softmax_it_is_constant():
    values = score(Energy(), Z.log_softmax(1), stride=1)
    assert values.abs().max() < 1e-5


def test_several_scales_average_logits():
    other = Z.flip(1)
    values = score(Energy(), Z, other, stride=1)
    assert torch.allclose(values, -torch.logsumexp((Z + other) / 2, dim=1), atol=1e-5)


def test_a_temperature_that_is_none_is_refused():
    with pytest.raises(BenchmarkError, match="temperature must be positive"):
        METHODS.create("energy:temperature=0")
    assert METHODS.create("energy:temperature=2").label == "energy:temperature=2"
