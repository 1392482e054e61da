"""TRADI: the filter against its closed forms, and draws against the covariance that they stand for."""

import math

import pytest
import torch
from benchmark.methods.tradi.sampling import sample_weights
from benchmark.methods.tradi.tracker import WeightTracker, sampled_parameters
from torch import nn


class Weights(nn.Module):
    """A vector to be moved by hand."""

    def __init__(self, values):
        super().__init__()
        self.w = nn.Parameter(torch.as_tensor(values))

    def move(self, gradient, lr):
        self.w.grad = gradient
        self.w.data -= lr * gradient


def small_network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_gains_start_at_q_over_q_plus_r_and_become_steady():
    tracker = WeightTracker(Weights([0.0]))
    gains = [tracker._gains() for _ in range(5000)]
    assert gains[0] == pytest.approx((1e-4 / 10.0001, 5e-5 / 10.00005))
    assert gains[-1] == pytest.approx((0.003157, 0.002234), abs=5e-7)
    priors = [(q + math.sqrt(q * q + 40 * q)) / 2 for q in (1e-4, 5e-5)]
    assert gains[-1] == pytest.approx([p / (p + 10) for p in priors], rel=1e-6)


@pytest.mark.parametrize("displacement", ["actual", "gradient"])
def test_without_gradient_mean_and_variance_converge_geometrically(displacement):
    model = Weights(torch.tensor([2.0, -1.0], dtype=torch.float64))
    tracker = WeightTracker(model, displacement, "paper")
    assert tracker.means["w"].tolist() == [0, 0] and tracker.variances["w"].tolist() == [1, 1]  # sqrt(2 / 2)
    for _ in range(5000):
        model.move(torch.zeros_like(model.w), 0.1)
        tracker.update(0.1)
    gap, variance = (model.w - tracker.means["w"]).detach(), tracker.variances["w"].clone()
    model.move(torch.zeros_like(model.w), 0.1)
    tracker.update(0.1)
    ratios = (model.w - tracker.means["w"]).detach() / gap, tracker.variances["w"] / variance
    torch.testing.assert_close(ratios[0], torch.full_like(gap, 1 - 0.003157), atol=1e-6, rtol=0)
    torch.testing.assert_close(ratios[1], torch.full_like(gap, 1 - 0.002234), atol=1e-6, rtol=0)
    assert gap.abs().max() < 1e-5 and variance.max() < 1e-4


@pytest.mark.parametrize("start", ["weights", "paper"])
def test_on_a_noisy_quadratic_the_mean_is_the_weight_and_the_variance_its_closed_form(start):
    random = torch.Generator().manual_seed(0)
    lr, size = 0.05, 400
    model = Weights(torch.full((size,), 3.0, dtype=torch.float64))
    tracker = WeightTracker(model, "gradient", start)
    squares = []
    for _ in range(5000):
        gradient = model.w.detach() + torch.randn(size, generator=random, dtype=torch.float64)
        model.move(gradient, lr)
        tracker.update(lr)
        squares.append((lr * gradient).square().mean())
    assert (model.w - tracker.means["w"]).abs().max() < 1e-6
    expected = (1 - 0.002234) / 0.002234 * torch.stack(squares[-1500:]).mean()
    assert tracker.variances["w"].mean() == pytest.approx(float(expected), rel=0.02)


@pytest.mark.parametrize("displacement", ["actual", "gradient"])
def test_the_update_is_the_formula_for_every_tensor(displacement):
    torch.manual_seed(1)
    network = small_network()
    tracker = WeightTracker(network, displacement, "paper")
    optimiser = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, weight_decay=0.01)
    mean = {n: torch.zeros_like(p) for n, p in sampled_parameters(network).items()}
    variance = {n: torch.full_like(p, math.sqrt(2 / p.shape[0])) for n, p in sampled_parameters(network).items()}
    p_mean = p_variance = 0.0
    for _ in range(7):
        before = {n: p.detach().clone() for n, p in network.named_parameters()}
        optimiser.zero_grad()
        network(torch.randn(2, 3, 6, 6)).square().sum().backward()
        optimiser.step()
        tracker.update(1e-3)
        p_mean, p_variance = p_mean + 1e-4, p_variance + 5e-5
        k, kv = p_mean / (p_mean + 10), p_variance / (p_variance + 10)
        p_mean, p_variance = (1 - k) * p_mean, (1 - kv) * p_variance
        for name, p in sampled_parameters(network).items():
            step = p.detach() - before[name] if displacement == "actual" else -1e-3 * p.grad
            mean[name] = (1 - k) * (mean[name] + step) + k * p.detach()
            variance[name] = (1 - kv) * (variance[name] + step**2) + kv * (p.detach() - mean[name]) ** 2
    for name in mean:
        torch.testing.assert_close(tracker.means[name], mean[name])
        torch.testing.assert_close(tracker.variances[name], variance[name])


def test_normalisation_is_not_sampled_and_parameters_without_gradient_are_left_alone():
    network = small_network()
    assert list(sampled_parameters(network)) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    tracker = WeightTracker(network, start="paper")
    network[0](torch.randn(1, 3, 5, 5)).sum().backward()
    tracker.update(0.1)
    assert not tracker.means["2.weight"].any() and tracker.means["0.weight"].any()


def draws(count, mean, variance, shared):
    generator = torch.Generator().manual_seed(3)
    return torch.stack([sample_weights(mean, variance, generator, shared) - mean for _ in range(count)])


@pytest.mark.parametrize("shared", [False, True])
def test_drawn_weights_have_the_tracked_variance_and_the_covariance_of_their_phases(shared):
    mean, variance = torch.tensor([0.0, 0.7, 2.0]), torch.tensor([1.0, 0.25, 4.0])
    noise = draws(3000, mean, variance, shared).double()
    covariance = noise.T @ noise / len(noise) / (variance[:, None] * variance).sqrt()
    kernel = torch.exp(-((mean[:, None] - mean) ** 2) / 2) if shared else torch.eye(3)
    torch.testing.assert_close(covariance, kernel.double(), atol=0.12, rtol=0)
    assert noise.mean(0).abs().max() < 0.12


def test_without_variance_the_draw_is_the_mean():
    mean = torch.randn(3, 4)
    assert torch.equal(draws(1, mean, torch.zeros(3, 4), False)[0], torch.zeros(3, 4))
    # Rounding may leave a variance below 0.
    assert torch.equal(draws(1, mean, torch.full((3, 4), -1e-9), True)[0], torch.zeros(3, 4))
