"""ODIN: the step raises the confidence, by hand-derived amounts where the network is linear."""

import dataclasses

import pytest
import torch
from benchmark.methods.msp import MSP
from benchmark.methods.odin import ODIN
from method_toys import SPEC, Net, make_batch, score, view_of
from torch import nn

from benchmark.errors import BenchmarkError
from benchmark.network import Network
from benchmark.registry import METHODS


class Linear(Network):
    """Two logits that are +w.x and -w.x, x the mean of each 8x8 block; confidence grows with |w.x|."""

    def __init__(self):
        super().__init__(2)
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.0]).view(1, 3, 1, 1))

    def forward(self, inputs, taps=()):
        z = nn.functional.conv2d(nn.functional.avg_pool2d(inputs, 8), self.weight)
        return {"logits": torch.cat([z, -z], 1)}


@pytest.mark.parametrize("inverted", [False, True])
def test_the_step_goes_along_the_weights_towards_the_predicted_class(inverted):
    method = ODIN(epsilon=0.01, inverted_sign=inverted)
    base = view_of(method, Linear())["base"]
    # The first image is of class 0 (red), the second of class 1 (green), everywhere.
    images = torch.tensor([[200.0, 0, 0], [0, 200, 0]]).view(2, 3, 1, 1).expand(2, 3, 16, 24)
    step = method.perturbed(images, base) - images
    towards = torch.tensor([[1.0, -1, 0], [-1, 1, 0]]).view(2, 3, 1, 1).expand_as(step)
    assert torch.allclose(step, 2.55 * towards * (-1 if inverted else 1), atol=1e-4)


@pytest.mark.parametrize("scales", [(), (24, 40)])
def test_confidence_rises_and_with_the_inverted_sign_falls(scales):
    spec, batch = dataclasses.replace(SPEC, scales=scales), make_batch()

    def mean(**options):
        method = ODIN(epsilon=0.002, **options)
        return method.score(batch, view_of(method, spec=spec)).mean(dim=(1, 2))

    still = ODIN(epsilon=0)
    before = still.score(batch, view_of(still, spec=spec)).mean(dim=(1, 2))
    assert (mean() < before).all() and (mean(inverted_sign=True) > before).all()


@pytest.mark.parametrize("scales", [(), (24, 40)])
def test_without_step_and_temperature_it_is_msp(scales):
    spec, batch = dataclasses.replace(SPEC, scales=scales), make_batch()
    method = ODIN(temperature=1, epsilon=0)
    networks = view_of(method, spec=spec)
    assert torch.allclose(method.score(batch, networks), MSP().score(batch, networks), atol=1e-5)


def test_without_step_the_temperature_divides_the_logits():
    method, batch = ODIN(temperature=5, epsilon=0), make_batch(1)
    networks = view_of(method)
    logits = networks["base"](batch).scales[0].logits
    assert torch.allclose(method.score(batch, networks), score(MSP(), logits / 5), atol=1e-5)


def test_gradient_is_of_all_pixels_of_the_image_and_none_of_another():
    method = ODIN(epsilon=0.002)
    batch = make_batch(3)
    networks = view_of(method)
    with torch.no_grad():  # as the harness scores
        together = method.perturbed(batch.images.float(), networks["base"])
        alone = torch.cat([method.perturbed(i, networks["base"]) for i in batch.images.float().split(1)])
    assert torch.equal(together, alone)
    assert ((together - batch.images).abs() > 0).float().mean() > 0.9


def test_network_stays_frozen_and_the_score_carries_no_gradient():
    network, method, batch = Net(), ODIN(), make_batch(1)
    assert not method.score(batch, view_of(method, network)).requires_grad
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("options", ["temperature=0", "epsilon=-0.1"])
def test_options_without_meaning_are_refused(options):
    with pytest.raises(BenchmarkError, match="must not be" if "epsilon" in options else "must be positive"):
        METHODS.create(f"odin:{options}")
