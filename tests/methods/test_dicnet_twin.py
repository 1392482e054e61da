"""DiCNet's twin student: another network of the teacher's kind, which begins as that began."""

import dataclasses
from typing import ClassVar

import pytest
import torch
from benchmark.methods.dicnet_twin import DiCNetTwin
from encoders import random_encoder
from method_toys import make_batch, view_of

from benchmark.encoders import load_encoder, timm_encoder
from benchmark.network import NetworkSpec
from benchmark.networks import begun, build_network
from benchmark.recipe import Recipe
from benchmark.training import seeded

TINY = "mobilenetv3_small_050"


@pytest.fixture
def fpn(tmp_path, monkeypatch):
    """A feature pyramid whose encoder begins pretrained, and its spec."""
    name = random_encoder(TINY, tmp_path / "weights", monkeypatch)
    options = {"encoder_weights": "imagenet"}
    network = build_network(f"fpn-{name}", 5, options).eval().requires_grad_(False)
    return network, begun(NetworkSpec(f"fpn-{name}", "toy", 5, Recipe(), options=tuple(options.items())))


def twin_of(network, spec):
    method = DiCNetTwin()
    networks = view_of(method, network, spec)
    method.build(networks)
    return method.eval(), networks


@pytest.mark.parametrize("scales", [(), (40, 64)])
def test_a_twin_with_the_teachers_weights_finds_nothing_and_any_other_does(fpn, scales):
    network, spec = fpn
    method, networks = twin_of(network, dataclasses.replace(spec, scales=scales))
    batch = make_batch(2, 48, 60)
    with torch.no_grad():
        assert method.score(batch, networks).abs().amax() < 1e-8
        for parameter in method.student.parameters():
            parameter.add_(0.01)
        assert method.score(batch, networks).amin() > 0


class Data:
    """Notes with what a training would begin."""

    recipes: ClassVar = {"twin": Recipe(seed=3)}

    def train(self, task, recipe):
        self.task, self.recipe = task, recipe
        self.begun = {name: value.clone() for name, value in task.student.network.state_dict().items()}


def test_a_training_begins_where_the_network_began(fpn):
    network, spec = fpn
    method, networks = twin_of(network, spec)
    data = Data()
    method.fit(data, networks)
    encoder = timm_encoder(TINY, out_indices=(0, 1, 2, 3, 4))
    load_encoder(encoder, TINY)
    for name, value in encoder.state_dict().items():
        assert torch.equal(data.begun[f"encoder.{name}"], value), name
    with seeded(data.recipe):
        want = networks["base"].untrained().state_dict()
    assert all(torch.equal(value, want[name]) for name, value in data.begun.items())
    assert not torch.equal(data.begun["lateral.0.0.weight"], network.lateral[0][0].weight)
    assert all(p.requires_grad for p in method.student.parameters())
    assert not any(p.requires_grad for p in network.parameters())


def test_a_pretrained_encoder_learns_at_its_own_rate(fpn):
    network, spec = fpn
    method, networks = twin_of(network, spec)
    data = Data()
    method.fit(data, networks)
    (optimiser,) = data.task.optimisers(Recipe(optimiser="adamw", lr=0.01, encoder_lr=0.25))
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    encoder = {id(p) for p in method.student.network.encoder.parameters()}
    assert {rate for p, rate in rates.items() if p in encoder} == {0.0025}
    assert {rate for p, rate in rates.items() if p not in encoder} == {0.01}
    assert encoder <= rates.keys()
