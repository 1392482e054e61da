"""Deep ensemble: probabilities are averaged, members differ by their seed alone."""

import math

import pytest
import torch
from benchmark.methods.deep_ensemble import DeepEnsemble
from benchmark.methods.max_entropy import MaxEntropy
from benchmark.methods.msp import MSP
from method_toys import SPEC, Given, make_batch, score

from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS

MEMBERS = [3 * torch.randn(2, 5, 5, 7, generator=torch.Generator().manual_seed(m)) for m in range(3)]


def ensemble(criterion, logits=MEMBERS):
    method = DeepEnsemble(len(logits), criterion)
    networks = {role: Given(z, stride=1) for role, z in zip(method.needs(SPEC), logits, strict=True)}
    return method.score(make_batch(2, 5, 7), networks)


def test_criteria_are_those_of_the_mean_probabilities():
    each = torch.stack([z.double().softmax(1) for z in MEMBERS])
    mean = each.mean(0)

    def entropy(p):
        return -(p * p.log()).sum(-3)

    assert torch.allclose(ensemble("msp").double(), -mean.amax(1).log(), atol=1e-5)
    assert torch.allclose(ensemble("entropy").double(), entropy(mean) / math.log(5), atol=1e-5)
    assert torch.allclose(ensemble("mutual_information").double(), entropy(mean) - entropy(each).mean(0), atol=1e-5)


def test_equal_members_are_the_network_itself_and_agree():
    equal = [MEMBERS[0]] * 3
    assert torch.allclose(ensemble("msp", equal), score(MSP(), MEMBERS[0], stride=1), atol=1e-5)
    assert torch.allclose(ensemble("entropy", equal), score(MaxEntropy(), MEMBERS[0], stride=1), atol=1e-5)
    assert ensemble("mutual_information", equal).abs().max() < 1e-5


def test_members_that_disagree_are_anomalous_even_if_each_is_sure():
    sure = torch.zeros(1, 2, 5, 7)
    sure[:, 0] = 50.0
    assert torch.allclose(ensemble("msp", [sure, sure.flip(1)]), torch.full((1, 5, 7), math.log(2)), atol=1e-5)


def test_tells_apart_what_float32_rounds_to_one():
    """As MSP does, which an ensemble of equal members is."""
    sure = torch.zeros(2, 3, 5, 7)
    sure[:, 0] = torch.linspace(18, 60, 70).view(2, 5, 7)
    scores = ensemble("msp", [sure, sure])
    assert (scores.flatten().diff() < 0).all() and (scores > 0).all()
    assert torch.allclose(scores, score(MSP(), sure, stride=1), rtol=1e-5, atol=0)
    exact = -torch.log1p(-(sure.double().softmax(1)[:, 1:].sum(1)))
    assert torch.allclose(scores.double(), exact, rtol=1e-4, atol=0)


def test_member_0_is_the_shared_network_and_the_others_are_one_seed_apart():
    needs = METHODS.create("deep_ensemble:members=3").needs(SPEC)
    specs = [need.network for need in needs.values()]
    assert specs[0] == SPEC and len(set(specs)) == 3 == len({s.key for s in specs})
    assert [s.recipe.member for s in specs] == [0, 1, 2]
    assert {s.member(0) for s in specs} == {SPEC}


@pytest.mark.parametrize("options", ["members=0", "criterion=votes"])
def test_what_makes_no_ensemble_is_refused(options):
    with pytest.raises(
        BenchmarkError, match="members is a whole number from 1" if "members" in options else "criterion is"
    ):
        METHODS.create(f"deep_ensemble:{options}")
