"""ABNN: noise on the gains of normalisations, and nothing else."""

import pytest
import torch
from benchmark.methods.abnn import Noisy, gains, noisy
from method_toys import make_batch, prepared
from torch import nn
from torch.func import functional_call

from benchmark.data import collate
from benchmark.networks import build_network
from benchmark.recipe import Recipe


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        made = build_network("pspnet-small", 4, initial=False).eval().requires_grad_(False)
    for gain in gains(made).values():
        gain.fill_(1.5)  # some begin at 0
    return made


def test_the_noise_is_a_factor_on_every_gain_and_nought_leaves_the_network(network):
    random = torch.Generator().manual_seed(3)
    values, found = noisy(network, 0.5, random), gains(network)
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(found) == len(norms) > 5 and values.keys() == found.keys()
    factors = torch.cat([(values[name] / found[name] - 1).flatten() for name in found]) / 0.5
    assert abs(float(factors.mean())) < 0.1 and abs(float(factors.std()) - 1) < 0.1
    inputs = network.prepare(make_batch().images).inputs
    with torch.no_grad():
        plain = network(inputs)["logits"]
        assert torch.equal(functional_call(network, noisy(network, 0.0), (inputs,))["logits"], plain)
        assert not torch.allclose(functional_call(network, values, (inputs,))["logits"], plain)
    assert all(torch.equal(found[name], gain) for name, gain in gains(network).items())


def test_training_leaves_the_statistics_and_weighs_the_classes():
    network = build_network("pspnet-small", 4, initial=False)
    before = {name: value.clone() for name, value in network.named_buffers()}
    batch = make_batch(labels=torch.randint(0, 4, (2, 40, 56), dtype=torch.uint8))
    for weights, factor in ((torch.ones(4), 1.0), (torch.full((4,), 0.25), 0.25), (torch.zeros(4), 0.0)):
        task = Noisy(network, ("a", "b", "c", "d"), 1.0, weights).train()
        task.recipe = Recipe(label_size="feature")
        losses = task.loss(batch)
        assert torch.isclose(losses["weighted"], factor * losses["plain"], rtol=1e-4)
    losses["loss"].backward()
    learning = [gain.grad is not None and bool(gain.grad.any()) for gain in gains(network).values()]
    assert sum(learning) > len(learning) / 2  # the auxiliary classifier is not trained
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


def test_the_score_is_that_of_the_mean_softmax_of_all_draws(tmp_path):
    workshop, entry = prepared("abnn:members=2:draws=2:sigma=0.3", tmp_path, scales=(40, 56))
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    method, total = entry.method, 0
    seed = int(method.seed)
    with torch.no_grad():
        scores = method.score(batch, entry.networks)
        for index, network in enumerate(method.copies):
            for draw in range(2):
                random = torch.Generator().manual_seed(seed * 1_000_003 + index * 2 + draw)
                kept = {name: gain.clone() for name, gain in gains(network).items()}
                for name, value in noisy(network, 0.3, random).items():
                    gains(network)[name].copy_(value)
                for scale in (40, 56):
                    out = network.segment(batch.images, scale)
                    total = total + out.upsample(out.logits, batch.size).double().softmax(1) / 8
                for name, value in kept.items():
                    gains(network)[name].copy_(value)
    assert torch.allclose(scores.double(), -total.amax(1).log(), rtol=1e-3, atol=1e-5)
    first, second = (dict(copy.named_parameters()) for copy in method.copies)
    assert not all(torch.equal(value, second[name]) for name, value in first.items())
