"""Void classifier: the log-probability of one class."""

import pytest
import torch
from method_toys import Given, score

from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS
from methods.void import Void

Z = 3 * torch.randn(2, 5, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("index", [0, 3, 4])
def test_is_the_log_probability_of_its_class(index):
    assert torch.allclose(score(Void(index), Z, stride=1), Z.softmax(1)[:, index].log(), atol=1e-5)
    other = Z.flip(1)
    mean = (Z.softmax(1) + other.softmax(1)) / 2
    assert torch.allclose(score(Void(index), Z, other, stride=1), mean[:, index].log(), atol=1e-5)


def test_tells_apart_what_float32_rounds_to_zero():
    z = torch.zeros(1, 4, 1, 9)
    z[:, 3] = torch.linspace(-400, -200, 9)
    assert (score(Void(), z, stride=1).diff() > 1).all()


def test_a_class_that_does_not_exist_is_an_error():
    with pytest.raises(BenchmarkError, match=r"no class 5 among 5; give index=0\.\.4"):
        Void(5).build({"base": Given(Z)})
    with pytest.raises(BenchmarkError, match="label id"):
        METHODS.create("void:index=-1")
