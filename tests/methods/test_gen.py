"""Generalised entropy against its formula in float64, with all digits where one class is sure."""

import pytest
import torch
from benchmark.methods.gen import GEN
from method_toys import score

from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS

Z = 3 * torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("top", [0, 1, 2, 5, 9])
def test_is_the_sum_over_the_largest_probabilities(gamma, top):
    p = Z.double().softmax(1).sort(dim=1, descending=True).values[:, : top or None]
    expected = (p**gamma * (1 - p) ** gamma).sum(1)
    torch.testing.assert_close(score(GEN(gamma, top), Z, stride=1).double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("classes", "gamma", "largest"), [(13, 0.1, 9.978673), (19, 0.1, 14.07765), (13, 0.5, 12**0.5)]
)
def test_lies_between_0_for_one_class_and_its_value_for_all_alike(classes, gamma, largest):
    assert score(GEN(gamma), torch.zeros(1, classes, 1, 1)).unique().item() == pytest.approx(largest, rel=1e-6)
    sure = torch.zeros(1, classes, 1, 1)
    sure[:, 3] = 3000
    assert score(GEN(gamma), sure).max() < 1e-6
    other = score(GEN(gamma), torch.randn(1, classes, 9, 9, generator=torch.Generator().manual_seed(1)))
    assert (other > 0).all() and (other < largest).all()


def test_classes_are_alike():
    assert torch.allclose(score(GEN(), Z), score(GEN(), Z[:, [3, 0, 4, 1, 2]]), rtol=1e-5)


def test_sure_pixels_are_no_ties():
    """Leads of 12 to 120: from 18 on, float32 rounds the largest probability to 1, and 1 - p to 0."""
    lead = torch.linspace(12, 120, 4096).view(1, 1, 64, 64)
    z = torch.cat([0 * lead, lead, 0 * lead], dim=1)
    values = score(GEN(), z, stride=1)[0]
    p = z.double().softmax(1)
    complement = torch.stack([p[:, 1] + p[:, 2], p[:, 0] + p[:, 2], p[:, 0] + p[:, 1]], dim=1)
    torch.testing.assert_close(values.double()[None], (p * complement).pow(0.1).sum(1), rtol=1e-4, atol=0)
    assert (values.flatten().diff() < 0).all()


def test_several_scales_average_probabilities():
    p = (Z.double().softmax(1) + Z.flip(1).double().softmax(1)) / 2
    found = score(GEN(), Z, Z.flip(1), stride=1).double()
    torch.testing.assert_close(found, (p * (1 - p)).pow(0.1).sum(1), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("call", "words"), [("gen:gamma=0", "gamma must be positive"), ("gen:top=-1", "or 0 for all")])
def test_options_that_make_no_sense_are_refused(call, words):
    with pytest.raises(BenchmarkError, match=words):
        METHODS.create(call)
