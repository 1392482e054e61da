"""MSP: the order of 1 - max p, without its ties, and the released double softmax."""

import math

import pytest
import torch
from benchmark.methods.msp import MSP
from hypothesis import given, settings
from hypothesis import strategies as st
from method_toys import Given, score


def random_logits(classes=5, spread=3.0, seed=0):
    return spread * torch.randn(2, classes, 5, 7, generator=torch.Generator().manual_seed(seed))


def test_is_the_logarithm_of_the_largest_probability_of_upsampled_logits():
    z = random_logits()
    full = torch.nn.functional.interpolate(z.double(), (40, 56), mode="bilinear", align_corners=False)
    expected = -full.softmax(1).amax(1).log()
    assert torch.allclose(score(MSP(), z).double(), expected, rtol=1e-4, atol=1e-6)


def test_tells_apart_what_float32_rounds_to_one():
    z = torch.zeros(1, 3, 5, 7)
    z[:, 0] = torch.linspace(18, 60, 35).view(5, 7)
    given = Given(z)
    assert (given(None).log_probabilities().exp().amax(1) == 1).all()
    scores = score(MSP(), z)
    assert torch.allclose(scores[0, ::8, ::8].diff().sign(), torch.tensor(-1.0)) and (scores > 0).all()


def test_several_scales_average_probabilities():
    a, b = random_logits(seed=1), random_logits(seed=2)
    expected = -((a.softmax(1) + b.softmax(1)) / 2).amax(1).log()
    values = score(MSP(), a, b, stride=1)
    assert torch.allclose(values, expected, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(2, 20), st.floats(0, 200), st.integers(0, 99))
def test_range_of_the_double_softmax(classes, spread, seed):
    confidence = 1 - score(MSP(double_softmax=True), random_logits(classes, spread, seed))
    assert (confidence >= 1 / classes - 1e-6).all()
    assert (confidence <= math.e / (math.e + classes - 1) + 1e-6).all()


def test_ends_of_the_double_softmax():
    z = torch.zeros(1, 4, 5, 7)
    assert score(MSP(double_softmax=True), z) == pytest.approx(torch.full((1, 40, 56), 3 / 4))
    z[:, 2] = 1000
    assert score(MSP(double_softmax=True), z) == pytest.approx(torch.full((1, 40, 56), 1 - math.e / (math.e + 3)))


def test_double_softmax_is_another_order():
    # Equal maxima; the rest is even in one pixel and in one class in the other.
    p = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5 - 1e-6, 1e-6]]).T.reshape(1, 3, 1, 2)
    once, twice = (score(MSP(double_softmax=d), p.log(), stride=1).flatten() for d in (False, True))
    assert once[0] == pytest.approx(once[1].item(), abs=1e-5)
    assert twice[0] < twice[1] - 1e-3


def test_label_spells_the_option():
    from benchmark.registry import METHODS

    method = METHODS.create("msp:double_softmax=true")
    assert method.double_softmax and method.label == "msp:double_softmax=true"
    assert METHODS.create("msp:double_softmax=false").label == "msp"
