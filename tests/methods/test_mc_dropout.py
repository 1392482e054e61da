"""MC-dropout: the distribution of the network's own dropout, drawn per image."""

import math
from dataclasses import replace

import pytest
import torch
from benchmark.methods.mc_dropout import CRITERIA, MCDropout, dropped_head
from benchmark.methods.msp import MSP
from method_toys import SPEC, TAP, Net, make_batch, view_of
from torch import nn

from benchmark.data import Batch
from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS


@pytest.mark.parametrize("dropout", [nn.Dropout2d(0.3), nn.Dropout(0.3)], ids=["channels", "elements"])
def test_equals_the_heads_own_dropout_in_distribution(dropout):
    torch.manual_seed(0)
    head = Net(3, 6, dropout).head
    features = torch.rand(1, 6, 2, 2)
    random, samples = torch.Generator().manual_seed(1), 4000
    with torch.no_grad():
        head.train()
        theirs = torch.cat([head(features) for _ in range(samples)]).flatten(1)
        head.eval()
        ours = torch.cat([dropped_head(head, features, random) for _ in range(samples)]).flatten(1)
    error = theirs.std(0) * math.sqrt(2 / samples)
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * error).all()
    # The covariance tells masks per channel from masks per element.
    scale = theirs.var(0).mean()
    assert ((ours.T.cov() - theirs.T.cov()).abs() < 0.15 * scale).all()


def test_score_approaches_that_of_forwards_in_training_mode():
    network, batch, samples = Net(), make_batch(1, 16, 16), 4000
    method = MCDropout(samples=samples)
    networks = view_of(method, network)
    with torch.no_grad():
        scores = method.score(batch, networks)
        features = networks["base"](batch).scales[0].taps[TAP]
        network.head[0].train()
        z = network.head(features.expand(samples, -1, -1, -1))
    full = nn.functional.interpolate(z, (16, 16), mode="bilinear", align_corners=False)
    p = full.softmax(1).mean(0)
    # Both means are off by sqrt(.25 / 4000) = .008 at most (one standard deviation).
    assert torch.allclose((-scores[0]).exp(), p.amax(0), atol=0.05)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("scales", [(), (24, 40)])
def test_criteria_are_those_of_the_samples(criterion, scales):
    network, batch = Net(), make_batch(1)
    method = MCDropout(samples=5, criterion=criterion)
    networks = view_of(method, network, replace(SPEC, scales=scales))
    drawn = []
    with torch.no_grad():
        scores = method.score(batch, networks)
        network.last[1].register_forward_hook(lambda *call: drawn.append(call[-1]))
        method.score(batch, networks)
    outputs = networks["base"](batch)
    number = len(outputs.scales)
    assert len(drawn) == 5 * number
    p = torch.stack(
        [outputs.scales[i % number].upsample(z, (40, 56))[0].double().softmax(0) for i, z in enumerate(drawn)]
    )
    p = p.view(5, number, *p.shape[1:]).mean(1)
    mean = p.mean(0)

    def entropy(q):
        return -(q * q.log()).sum(-3)

    want = {
        "msp": -mean.amax(0).log(),
        "entropy": entropy(mean) / math.log(3),
        "mutual_information": entropy(mean) - entropy(p).mean(0),
        "variance": p.var(0).mean(0),
    }[criterion]
    assert torch.allclose(scores[0].double(), want, atol=1e-5)


def test_global_random_state_is_neither_used_nor_changed():
    method, batch = MCDropout(samples=4), make_batch()
    networks = view_of(method)
    torch.manual_seed(0)
    first = method.score(batch, networks)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(method.score(batch, networks), first)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_masks_follow_the_image_id():
    method = MCDropout(samples=4)
    networks = view_of(method)
    images = make_batch(1).images.expand(3, -1, -1, -1).contiguous()
    batch = Batch(("a", "b", "c"), images, torch.zeros(3, 40, 56, dtype=torch.uint8))
    a, b, _ = method.score(batch, networks)
    assert not torch.equal(a, b)
    turned = Batch(("c", "b", "a"), images, batch.labels)
    assert torch.equal(method.score(turned, networks)[2], a)


def test_dropout_of_nothing_is_msp():
    method, batch = MCDropout(samples=3), make_batch()
    networks = view_of(method, Net(dropout=nn.Dropout2d(0.0)))
    assert torch.allclose(method.score(batch, networks), MSP().score(batch, networks), atol=1e-5)
    for criterion in ("mutual_information", "variance"):
        assert MCDropout(3, criterion).score(batch, networks).abs().max() < 1e-6


def test_trunk_runs_once():
    method, batch = MCDropout(), make_batch()
    networks = view_of(method)
    pool = networks["base"]._pool
    method.score(batch, networks)
    assert sum(pool.forwards.values()) == 1


def test_a_network_without_dropout_before_its_classifier_is_refused():
    class Bare(Net):
        head = property(lambda self: self.last[1:])

    with pytest.raises(BenchmarkError, match=r"needs the features on which the last dropout works .* and net does not"):
        view_of(MCDropout(), Bare())
    with pytest.raises(BenchmarkError, match="one of msp, entropy"):
        METHODS.create("mc_dropout:criterion=max")
