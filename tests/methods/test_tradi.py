"""TRADI: the filter, the draw, and a training that is tracked."""

import copy
import math

import pytest
import torch
from torch import nn

from benchmark.contract import Toy, check_method, toy_workshop
from benchmark.data import collate
from benchmark.networks import build_network
from benchmark.recipe import Recipe
from benchmark.registry import METHODS
from benchmark.training import Report, Segmentation, Settings, seeded, train
from methods.tradi.sampling import batch_norms, reestimate, sample_network, sample_weights
from methods.tradi.task import TrackedSegmentation
from methods.tradi.tracker import WeightTracker, sampled_parameters

CPU = Settings(torch.device("cpu"), progress=False, save_every=-1)


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


# The filter


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


# The draw


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


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A fitted TRADI on toy images: workshop and entry."""
    workshop = toy_workshop(tmp_path_factory.mktemp("toy"), ())
    entry = workshop.entry(METHODS.create("tradi:members=3:bn_images=4"))
    workshop.prepare([entry])
    assert not entry.error
    return workshop, entry


def test_a_member_is_its_seed(toy):
    method = toy[1].method
    method.variances.get_buffer("conv_last/4/weight").fill_(0.01)
    one, same, other = (sample_network(method.network, method.variances, seed) for seed in (5, 5, 6))
    weights = [n.conv_last[4].weight for n in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert (weights[0] - weights[2]).std() > 0.05
    assert torch.equal(one.conv_last[1].weight, method.network.conv_last[1].weight)  # a normalisation's


def test_reestimated_statistics_are_those_of_the_training_images(toy):
    workshop, entry = toy
    network = copy.deepcopy(entry.method.network)
    before = network.cbr_deepsup[1].running_mean.clone()
    batches = [collate([workshop.setup.train[i] for i in pair])[0] for pair in ((0, 1), (2, 3))]
    with torch.no_grad():
        reestimate([network], batches, ())
        inputs = network.prepare(torch.cat([b.images for b in batches])).inputs
        first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
        torch.testing.assert_close(batch_norms(network)[0].running_mean, first(inputs).mean((0, 2, 3)))
    assert not network.training and not any(n.training or n.momentum is None for n in batch_norms(network))
    assert torch.equal(network.cbr_deepsup[1].running_mean, before)  # not computed in testing, so not estimated


# Training


class Interrupted(Exception):
    pass


def tracked_training(folder, stop=None, lr_floor=0.0, displacement="actual"):
    """Six steps on toy images with a resume state after each; `stop` is the step in which it is killed."""
    recipe = Recipe(epochs=2, steps_per_epoch=3, batch_size=2, lr=0.05, seed=7)
    with seeded(recipe):
        network = build_network("pspnet-small", 3)
    tracker = WeightTracker(network, displacement)
    task = TrackedSegmentation(network, Toy.classes, tracker, lr_floor)
    update = tracker.update
    rates = []

    def watched(lr):
        if len(rates) == stop:
            raise Interrupted
        rates.append(lr)
        update(lr)

    tracker.update = watched
    try:
        train(task, recipe, Toy("train", folder), None, CPU, folder / "a.state", "toy")
    except Interrupted:
        return None, rates
    return task, rates


@pytest.mark.parametrize("displacement", ["actual", "gradient"])
def test_a_killed_training_goes_on_to_the_same_statistics(tmp_path, displacement):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, _ = tracked_training(tmp_path / "whole", displacement=displacement)
    assert tracked_training(tmp_path / "killed", stop=4, displacement=displacement)[0] is None
    resumed, rates = tracked_training(tmp_path / "killed", displacement=displacement)
    assert 0 < len(rates) < 6
    first, second = whole.state_dict(), resumed.state_dict()
    assert first.keys() == second.keys() and "tracker._extra_state" in first
    assert all(torch.equal(v, second[k]) if torch.is_tensor(v) else v == second[k] for k, v in first.items())
    assert any(v.any() for k, v in first.items() if k.startswith("tracker.variances"))


def test_tracking_changes_nothing_in_the_training_and_the_mean_is_its_end(tmp_path):
    recipe = Recipe(epochs=2, steps_per_epoch=3, batch_size=2, lr=0.05, seed=7)
    with seeded(recipe):
        plain = Segmentation(build_network("pspnet-small", 3), Toy.classes)
    train(plain, recipe, Toy("train", tmp_path), None, CPU, tmp_path / "plain.state", "toy")
    task, _ = tracked_training(tmp_path)
    assert all(torch.equal(p, q) for p, q in zip(plain.network.parameters(), task.network.parameters()))
    for name, weight in sampled_parameters(task.network).items():
        torch.testing.assert_close(task.tracker.means[name], weight.detach(), atol=1e-6, rtol=1e-5)


def test_the_learning_rate_does_not_fall_below_its_floor(tmp_path):
    _, rates = tracked_training(tmp_path, lr_floor=0.5)
    assert rates == pytest.approx([0.05 * max(0.5, (1 - s / 6) ** 0.9) for s in range(6)])
    assert rates[-1] == 0.025


def test_the_tracked_training_is_the_shared_networks(toy):
    workshop, entry = toy
    assert entry.recipes["segmentation"] == workshop.setup.base.recipe
    shared = workshop.pool.network(workshop.setup.base)
    for name, weight in sampled_parameters(shared).items():
        torch.testing.assert_close(entry.method.network.get_parameter(name), weight, atol=1e-6, rtol=1e-5)


def test_members_are_measured_and_reported(toy):
    workshop, entry = toy
    (report,) = workshop.store.sidecar(entry.fit_key)["reports"]
    values = entry.method.member_miou
    assert values.shape == (3,) and (values > 0).all()
    assert report["validation"]["mIoU of the worst member"] == pytest.approx(float(values.min()))
    assert report["validation"]["mIoU of the mean network"] == pytest.approx(float(entry.method.mean_miou))


def test_a_collapsed_member_is_warned_of(toy, monkeypatch):
    workshop, entry = toy
    values, said = iter([0.6, 0.58, 0.5, 0.56]), []
    monkeypatch.setattr("methods.tradi.method.say", lambda text, settings: said.append(text))
    monkeypatch.setattr(Segmentation, "validate", lambda task, batches: {"mIoU": next(values)})
    data = workshop._fit_data(entry)
    data.reports = [Report(1, 1, 0.0, 0.0, {}, (), 0)]
    copy.deepcopy(entry.method)._measure(data, entry.recipes["segmentation"])
    assert len(said) == 1 and "2 of 3 members" in said[0]  # 0.95 of 0.6 is 0.57


# The score


def test_the_score_is_minus_the_log_of_the_largest_mean_probability(toy):
    workshop, entry = toy
    method, (batch,) = entry.method, collate([workshop.setup.test[0]])
    with torch.no_grad():
        members = [m.segment(batch.images) for m in method._sampled]
        logits = torch.stack([m.upsample(m.logits, batch.size) for m in members])
        score = method.score(batch, entry.networks)
        torch.testing.assert_close(score, -logits.softmax(2).mean(0).amax(1).log())
        method.aggregate = "logits"
        torch.testing.assert_close(
            method.score(batch, entry.networks), -logits.mean(0).log_softmax(1).amax(1), atol=1e-5, rtol=1e-5
        )
        method.aggregate = "probabilities"


@pytest.mark.parametrize("call", ["tradi:members=2:bn_images=4", "tradi:members=2:shared_phase=true:start=paper"])
def test_it_keeps_the_contract_of_methods(call):
    assert [f for f in check_method(call) if f.wrong] == []
