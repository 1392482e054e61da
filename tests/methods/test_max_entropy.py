"""Predictive entropy in units of its maximum."""

import numpy as np
import scipy.stats
import torch
from benchmark.methods.max_entropy import MaxEntropy
from hypothesis import given, settings
from hypothesis import strategies as st
from method_toys import score


def test_is_scipys_entropy_over_log_c():
    z = 3 * torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = scipy.stats.entropy(z.double().softmax(1).numpy(), axis=1) / np.log(6)
    assert np.allclose(score(MaxEntropy(), z, stride=1).numpy(), expected, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(2, 20), st.floats(0, 1e4), st.integers(0, 99))
def test_lies_in_0_to_1_and_is_never_nan(classes, spread, seed):
    z = spread * torch.randn(1, classes, 5, 7, generator=torch.Generator().manual_seed(seed))
    values = score(MaxEntropy(), z)
    assert (values >= -1e-6).all() and (values <= 1 + 1e-5).all()  # comparisons with a NaN are false


def test_even_probabilities_are_one_and_a_certain_class_is_zero():
    z = torch.zeros(1, 4, 5, 7)
    assert torch.allclose(score(MaxEntropy(), z), torch.ones(1, 40, 56))
    z[:, 1] = 1e4
    assert (score(MaxEntropy(), z) == 0).all()


def test_several_scales_average_probabilities():
    sure = torch.zeros(1, 2, 5, 7)
    sure[:, 0] = 50.0
    # Two scales that are sure of opposite classes know nothing together.
    assert torch.allclose(score(MaxEntropy(), sure, sure.flip(1)), torch.ones(1, 40, 56))
