"""The norm of the last layer's gradient against torch's own gradient, and against the formulas of the released code."""

import math

import pytest
import torch
from benchmark.methods.gradnorm import GradNorm
from benchmark.methods.pgn import PGN

from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS

CLASSES, WIDTH = 5, 6
random = torch.Generator().manual_seed(0)
W = torch.randn(CLASSES, WIDTH, generator=random)
F = torch.randn(24, WIDTH, generator=random).relu() + 0.1 * torch.eye(WIDTH)[0]  # no cell is dead
Z = F @ W.T


def scores(method, z=Z, f=F):
    return method.score_cells(f, z)


def gradient(cell, target):
    """dL/dW of one cell's cross-entropy with a target distribution, by torch, in float64."""
    weight = W.double().requires_grad_(True)
    log_p = (weight @ F[cell].double()).log_softmax(0)
    return torch.autograd.grad(-(target * log_p).sum(), weight)[0]


@pytest.mark.parametrize("r", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("target", ["onehot", "uniform"])
def test_exact_is_the_norm_of_the_gradient(target, r):
    values = scores(PGN(target, "exact", r))
    for cell in (0, 7, 23):
        t = torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64)
        if target == "onehot":
            t = torch.nn.functional.one_hot(Z[cell].argmax(), CLASSES).double()
        norm = float(gradient(cell, t).abs().pow(r).sum().log() / r)
        assert values[cell].item() == pytest.approx(norm if target == "onehot" else -norm, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("r", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("target", ["onehot", "uniform"])
def test_released_is_the_formula_of_the_authors_code(target, r):
    p = Z.double().softmax(1)
    factor = p * (1 - torch.nn.functional.one_hot(p.argmax(1), CLASSES))
    if target == "uniform":
        factor = p * (CLASSES - 1) / CLASSES
    want = (factor.pow(r).sum(1) ** (1 / r) * F.double().pow(r).sum(1) ** (1 / r)).log()
    torch.testing.assert_close(scores(PGN(target, "released", r)).double(), want, rtol=1e-4, atol=1e-4)


def test_for_r_1_the_forms_differ_by_a_factor_of_two():
    exact, released = (scores(PGN("onehot", form, 1)) for form in ("exact", "released"))
    torch.testing.assert_close(exact, released + math.log(2), rtol=1e-5, atol=1e-5)
    sure = ((1 - Z.softmax(1).amax(1)) * F.sum(1)).log()
    torch.testing.assert_close(released, sure, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [PGN(), PGN("uniform"), GradNorm()])
def test_longer_features_of_the_same_prediction_add_the_logarithm(method):
    sign = -1 if isinstance(method, GradNorm) else 1
    torch.testing.assert_close(scores(method, f=3 * F), scores(method) + sign * math.log(3), rtol=1e-5, atol=1e-5)


def test_neither_many_features_nor_sure_cells_overflow_or_tie():
    lead = torch.linspace(5, 130, 64)[:, None]
    z = torch.cat([lead, 0 * lead, 0 * lead], dim=1)
    values = scores(PGN(r=0.1), z, 4 * torch.ones(64, 2048))
    assert values.isfinite().all() and (values.diff() < 0).all()
    assert values.max() > math.log(2048) * 10  # beyond float32 where it is no logarithm


def test_gradnorm_is_the_closed_form_and_bounded_where_the_prediction_is_uniform():
    p = Z.double().softmax(1)
    want = -((p - 1 / CLASSES).abs().sum(1) * F.double().sum(1)).log()
    torch.testing.assert_close(scores(GradNorm()).double(), want, rtol=1e-4, atol=1e-4)
    flat = scores(GradNorm(), torch.zeros_like(Z))
    assert flat.isfinite().all() and (flat > scores(GradNorm()).max() + 5).all()


def test_cells_without_a_feature_have_a_score():
    assert scores(PGN(), f=0 * F).isfinite().all() and scores(GradNorm(), f=0 * F).isfinite().all()


@pytest.mark.parametrize("call", ["pgn:r=0", "pgn:target=ones", "pgn:form=mine"])
def test_options_that_make_no_sense_are_refused(call):
    with pytest.raises(BenchmarkError, match=r"must be positive|onehot or uniform, the form exact or released"):
        METHODS.create(call)
