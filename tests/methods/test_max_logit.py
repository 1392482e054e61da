"""Max-logit: of raw logits; of probabilities it is MSP."""

import torch
from benchmark.methods.max_logit import MaxLogit
from benchmark.methods.msp import MSP
from method_toys import score

Z = 3 * torch.randn(2, 5, 5, 7, generator=torch.Generator().manual_seed(0))


def test_is_the_negative_maximum_and_follows_a_shift_unlike_msp():
    values = score(MaxLogit(), Z, stride=1)
    assert torch.allclose(values, -Z.amax(1))
    shift = torch.randn(2, 1, 5, 7, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(score(MaxLogit(), Z + shift, stride=1), values - shift[:, 0], atol=1e-5)
    assert torch.allclose(score(MSP(), Z + shift, stride=1), score(MSP(), Z, stride=1), atol=1e-5)


def test_on_probabilities_it_ranks_as_msp():
    order = score(MaxLogit(), Z.softmax(1), stride=1).flatten().argsort()
    assert torch.equal(order, score(MSP(), Z, stride=1).flatten().argsort())


def test_on_log_softmax_it_is_msp():
    assert torch.allclose(score(MaxLogit(), Z.log_softmax(1), stride=1), score(MSP(), Z, stride=1), atol=1e-6)


def test_several_scales_average_logits_before_the_maximum():
    other = Z.flip(1)
    assert torch.allclose(score(MaxLogit(), Z, other, stride=1), -((Z + other) / 2).amax(1), atol=1e-6)
