"""``-log max p`` in every method that is made of it: confident pixels are no ties, whichever networks say so."""

from types import SimpleNamespace

import pytest
import torch
from benchmark.methods._confidence import negative_log_max
from method_toys import SPEC, make_batch, view_of
from torch import nn

from benchmark.network import Network
from benchmark.registry import METHODS

SIDE = 64


class Sure(Network):
    """Class 1 leads by 12 (where float32 sees p < 1) to 60 (where it sees 1), at every pixel by another amount."""

    stride = 1
    penultimate = "lead"

    def __init__(self, more=0.0):
        super().__init__(3, mean=(0, 0, 0), std=(1, 1, 1))
        self.more = more
        self.channels = {"lead": 1, "ppm_cat": 1}

    @property
    def head(self):
        return nn.Sequential(nn.Dropout(0.0), _Logits())

    def forward(self, inputs, taps=()):
        ramp = torch.linspace(12, 60, SIDE * SIDE, device=inputs.device).view(1, 1, SIDE, SIDE)
        lead = ramp + self.more + 0 * inputs[:, :1]
        return {"logits": self.head(lead), **dict.fromkeys(taps, lead)}


class _Logits(nn.Module):
    def forward(self, lead):
        return torch.cat([0 * lead, lead, 0.5 + 0 * lead], dim=1)


def exact(leads, dim=1):
    """In float64, from the probabilities of the others, where even that rounds the largest to 1."""
    p = torch.stack([_Logits()(lead.double()).softmax(1) for lead in leads]).mean(0)
    return -torch.log1p(-(p[:, 0] + p[:, 2]))


CALLS = {
    "msp": 1,
    "deep_ensemble:members=4": 4,
    "tradi:members=4": 4,
    "mc_dropout:samples=4": 1,
    "odin:temperature=1:epsilon=0": 1,
    "synthcp:threshold=-1": 1,
}


@pytest.mark.parametrize("call", CALLS)
def test_confident_pixels_keep_their_order(call):
    """The members' leads differ by up to 0.3, so that their mean is no member's."""
    method, batch = METHODS.create(call), make_batch(1, SIDE, SIDE)
    members = [Sure(0.1 * index) for index in range(CALLS[call])]
    networks = dict(zip(method.needs(SPEC), (view_of(method, member)["base"] for member in members), strict=False))
    method.ensemble = lambda: members
    with torch.no_grad():
        scores = method.score(batch, networks)[0]
        inputs = [member(member.prepare(batch.images).inputs, ("lead",))["lead"] for member in members]
    expected = exact(inputs)[0]
    if "synthcp" in call:  # 1 - max p
        expected = -torch.expm1(-expected)
    torch.testing.assert_close(scores.double(), expected, rtol=2e-5, atol=0)
    assert len(scores.unique()) == scores.numel() and (scores.flatten().diff() < 0).all()


def test_averaged_logits_keep_their_order_too():
    method, batch = METHODS.create("tradi:members=2:aggregate=logits"), make_batch(1, SIDE, SIDE)
    method.ensemble = lambda: [Sure(), Sure(0.2)]
    scores = method.score(batch, {"base": SimpleNamespace(spec=SPEC)})[0]
    assert len(scores.unique()) == scores.numel() and (scores.flatten().diff() < 0).all()


@pytest.mark.parametrize("spread", [0.1, 3, 30])
def test_is_the_logarithm_for_any_distribution(spread):
    logits = spread * torch.randn(3, 5, 40, 40, generator=torch.manual_seed(0), dtype=torch.float64)
    order = logits.softmax(1).sort(1).values
    exact = torch.where(order[:, -1] > 0.5, -torch.log1p(-order[:, :-1].sum(1)), -order[:, -1].log())
    torch.testing.assert_close(negative_log_max(logits.float().softmax(1)).double(), exact, rtol=1e-4, atol=1e-38)
