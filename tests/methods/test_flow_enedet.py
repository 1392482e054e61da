"""FlowEneDet: its inputs, its densities, and that it learns the errors of a network."""

import dataclasses

import numpy as np
import pytest
import torch
from benchmark.methods import sml
from benchmark.methods._outliers import smooth
from benchmark.methods.flow_enedet import Coupling, Detection, Detector, FlowEneDet
from method_toys import SPEC, TAP, Net, fit, make_batch, prepared, view_of
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from benchmark.data import IGNORE, collate
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.recipe import Recipe
from benchmark.run.contract import Toy
from benchmark.training import train


def detector(released=False, conditions=0, blocks=3, seed=0):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        made = Detector(4, conditions, blocks, released).double().eval()
        for parameter in made.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def test_the_inputs_are_two_log_probabilities_that_sum_to_one():
    made = detector()
    made.mean.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
    made.deviation.copy_(torch.tensor([0.5, 1.0, 2.0, 1.5]))
    logits = 6 * torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    m, n = made.evidence(logits).double().unbind(1)
    assert bool((m <= 0).all()) and bool((n <= 0).all())
    assert torch.allclose(m.exp() + n.exp(), torch.ones_like(m), atol=1e-6)
    z = (logits.double().numpy() - made.mean.numpy()[:, None, None]) / made.deviation.numpy()[:, None, None]
    assert np.allclose(m, -np.log1p(1 / np.exp(z).sum(1)), atol=1e-5)
    far = made.evidence(torch.full((1, 4, 1, 1), 1000.0))
    assert far.isfinite().all() and far[0, 1] < -100  # not cut off at log 1e-6


@pytest.mark.parametrize("conditions", [0, 5])
def test_the_log_scales_sum_to_the_log_determinant(conditions):
    made = detector(conditions=conditions)
    x = torch.randn(1, 2, 1, 1, dtype=torch.float64)
    condition = torch.randn(1, conditions, 1, 1, dtype=torch.float64) if conditions else None
    jacobian = torch.autograd.functional.jacobian(lambda x: made.flowed(x, condition)[0].flatten(), x).view(2, 2)
    _, log_scales = made.flowed(x, condition)
    assert log_scales.sum().item() == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), rel=1e-9)


def test_blocks_leave_one_number_as_it_is_after_mixing():
    for kept in (0, 1):
        block = Coupling(0, kept).double().eval()
        x = torch.randn(2, 2, 4, 5, dtype=torch.float64)
        found, _ = block(x, None)
        mixed = torch.einsum("ij,bjhw->bihw", block.mixing, x)
        assert torch.allclose(found[:, kept], mixed[:, kept]) and not torch.allclose(found, mixed)


def test_the_densities_are_two_gaussians_and_the_determinant_cancels():
    made = detector()
    u, log_scales = torch.randn(3, 2, 2, 4, dtype=torch.float64), torch.randn(3, 2, 2, 4, dtype=torch.float64)
    points = u.permute(0, 2, 3, 1).numpy()
    expected = []
    with torch.no_grad():
        for k in range(2):
            diagonal = made.log_diagonal[k].exp()
            factor = np.array([[float(diagonal[0]), 0], [float(made.below[k]), float(diagonal[1])]])
            covariance = np.linalg.inv(factor.T @ factor)
            density = multivariate_normal(made.centre[k].numpy(), covariance).logpdf(points)
            expected.append(density + float(made.weight[k]))
        found = made.densities(u, log_scales).numpy()
        assert np.allclose(found[:, 1] - found[:, 0], expected[1] - expected[0])
        assert np.array_equal(found, made.densities(u, log_scales + 5).numpy())


def test_the_released_form_gives_each_dimension_its_own_determinant():
    made = detector(released=True)
    u, log_scales = torch.randn(3, 2, 2, 4, dtype=torch.float64), torch.randn(3, 2, 2, 4, dtype=torch.float64)
    with torch.no_grad():
        found = made.densities(u, log_scales)
        diagonal = made.log_diagonal[0].exp()
        factor = torch.tensor([[diagonal[0], 0], [made.below[0], diagonal[1]]])
        white = torch.einsum("ij,bjhw->bihw", factor, u - made.centre[0, :, None, None])
        for k in range(2):
            one = made.weight[k] + made.log_diagonal[0, k] - white[:, k] ** 2 / 2 + log_scales[:, k]
            assert torch.allclose(found[:, k], one)


def test_statistics_are_those_of_right_predictions_and_of_all_where_a_class_has_none():
    method, network = FlowEneDet(conditions=0), Net().eval()
    networks, trained = view_of(method, network), []
    batches = [make_batch(2, seed=seed) for seed in range(3)]
    logits = [networks["base"](batch).logits() for batch in batches]
    for batch, z in zip(batches, logits):
        right = z.argmax(1)
        batch.labels.copy_(torch.where(right == 1, IGNORE, right))  # class 1 is never right
    data = type("Data", (), {"recipes": {"flow_enedet": None}, "train": lambda *given: trained.append(given)})()
    method.build(networks)
    with torch.no_grad():
        for batch in batches:
            method.observe(batch, networks)
    method.fit(data, networks)
    values, classes = (torch.cat([each.flatten() for each in part]) for part in zip(*(z.max(1) for z in logits)))
    known = classes != 1
    assert len(trained) == 1
    for c in range(3):
        own = values[classes == c] if c != 1 else values[known]
        assert float(method.detector.mean[c]) == pytest.approx(float(own.mean()), rel=1e-4)
        assert float(method.detector.deviation[c]) == pytest.approx(float(own.std(correction=0)), rel=1e-3)
    with pytest.raises(BenchmarkError, match="no training pixel is predicted right"):
        fit(FlowEneDet(conditions=0), networks, [make_batch(labels=torch.full((2, 40, 56), 255, dtype=torch.uint8))])


@pytest.mark.parametrize("call", ["flow_enedet", "flow_enedet:conditions=0:post=gauss:form=released"])
def test_the_score_is_the_probability_of_an_error_after_smoothing(call, tmp_path):
    workshop, entry = prepared(call, tmp_path, scales=(40, 56))
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    method, total = entry.method, 0
    with torch.no_grad():
        outputs = entry.networks["base"](batch)
        for scale in outputs.scales:
            odds = method.detector([scale.taps[tap] for tap in method.taps], scale.logits)
            total = total + scale.upsample(odds, batch.size)[:, 0] / 2
        p = total.sigmoid()
        assert 0 < float(p.min()) < float(p.max()) < 1
        boundary = sml.smooth(sml.suppress_boundaries(p, outputs.prediction()))
        want = boundary if method.post == "boundary" else smooth(p)
        assert torch.allclose(method.score(batch, entry.networks), want, atol=1e-6)


@pytest.mark.parametrize("form", ["exact", "released"])
def test_it_learns_where_a_network_is_wrong(form, tmp_path):
    """The network calls everything ground, but not for sure: whatever else there is, is an error."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Net(classes=4, width=16)
        method = FlowEneDet(blocks=2, conditions=16, form=form, post="none")
        networks = view_of(method, network, dataclasses.replace(SPEC, classes=4))
        method.build(networks)
    with torch.no_grad():
        network.last[1].bias[0] = 30.0
        method.detector.mean.fill_(30.0)
    recipe = Recipe("flow_enedet", 40, 2, 4, optimiser="adam", lr=0.03, weight_decay=0.0, label_size="full")
    task = Detection(method, networks["base"])
    train_set, val_set = Toy("train", tmp_path), Toy("val", tmp_path)
    machine = Machine.choose("cpu", progress=False)
    told = train(task, recipe, train_set, val_set, machine, tmp_path / "state", "").validation
    assert told["cross-entropy"] < 0.8 * told["blind"]
    (batch,) = collate([val_set[i] for i in range(4)])
    with torch.no_grad():
        scores = method.eval().score(batch, networks)
    assert roc_auc_score((batch.labels != 0).flatten(), scores.flatten()) > 0.85


def test_features_on_another_grid_than_the_logits_decide_the_grid():
    made = Detector(4, 8, 2, False).eval()
    with torch.no_grad():
        assert made([torch.randn(1, 20, 10, 14)], torch.randn(1, 4, 5, 7)).shape == (1, 1, 10, 14)
    assert FlowEneDet().taps == ("penultimate",) and TAP  # the alias, whatever the network calls it
