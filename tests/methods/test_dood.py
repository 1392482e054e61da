"""DOoD: noise as its formula says, scores of denoisers that are known, and a model that learns."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmark.methods.dood import LONGEST, Denoiser, Denoising, DOoD, noised, norm
from method_toys import SPEC, TAP, Net, make_batch, prepared, view_of
from torch import nn

from benchmark.data import IGNORE, collate
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.recipe import Recipe
from benchmark.run.contract import Toy
from benchmark.training import train


class Oracle(nn.Module):
    """A denoiser that knows x and says `sign` times the noise."""

    def __init__(self, x, sign):
        super().__init__()
        self.x, self.sign = x, sign

    def forward(self, noisy, t):
        zero, one = torch.zeros_like(self.x), torch.ones_like(self.x)
        return self.sign * (noisy - noised(self.x, zero, t)) / noised(zero, one, t)


def built(**options):
    method = DOoD(**options)
    networks = view_of(method)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        method.build(networks)
    return method.eval(), networks


def test_the_noise_is_that_of_a_thousand_small_steps():
    betas = np.linspace(1e-4, 0.02, 1000)
    x, eps = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    found = noised(x, eps, torch.tensor([0, 7, 999])).numpy()
    for row, t in enumerate((0, 7, 999)):
        kept = np.prod(1 - betas[: t + 1])
        assert np.allclose(found[row], np.sqrt(kept) * x[row].numpy() + np.sqrt(1 - kept) * eps[row].numpy())
    assert torch.allclose(noised(x, eps, torch.tensor([7]))[1], torch.from_numpy(found[1]))


@pytest.mark.parametrize(("sign", "total"), [(1, -25.0), (-1, 25.0)])
def test_a_denoiser_that_returns_the_noise_scores_least_and_its_negative_most(sign, total):
    method, _ = built()
    features = torch.randn(50, 6)
    method.denoiser = Oracle(method.normalised(features), sign)
    found = sum(method.summands(features, 25))
    assert torch.allclose(found, torch.full_like(found, total), atol=0.05)
    method.denoiser = Oracle(method.normalised(features), 3 * sign)  # the direction is what counts
    assert torch.allclose(sum(method.summands(features, 25)), found, atol=1e-3)


def test_noise_differs_between_neighbours_and_steps_and_not_between_calls():
    method, _ = built()
    seen = []
    method.denoiser = type("Spy", (nn.Module,), {"forward": lambda self, x, t: seen.append(x) or x})()
    for _ in range(2):
        list(method.summands(torch.zeros(40, 6), 25))
    vectors = torch.stack(seen[:25]).flatten(0, 1)
    assert len(vectors.unique(dim=0)) == len(vectors) == 1000
    assert all(torch.equal(a, b) for a, b in zip(seen[:25], seen[25:]))


def test_a_denoiser_begins_at_nought_and_depends_on_the_level():
    torch.manual_seed(0)
    denoiser = Denoiser(24, 16)
    x = torch.randn(5, 24)
    assert not denoiser(x, torch.tensor([3])).any()
    for parameter in denoiser.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    one, other = denoiser(x, torch.tensor([3])), denoiser(x, torch.tensor([900]))
    assert torch.allclose(one, denoiser(x, torch.full((5,), 3)), atol=1e-6) and (one - other).abs().max() > 0.01
    assert torch.allclose(one[2:3], denoiser(x[2:3], torch.tensor([3])), atol=1e-5)  # vectors are on their own
    assert [norm(c).num_groups for c in (768, 512, 128, 64, 10, 472)] == [32, 32, 16, 8, 1, 8]
    with pytest.raises(ValueError, match="even"):
        DOoD(width=33)


class Data:
    """Stands for the data of a fit whose training is something else."""

    def __init__(self, taught=lambda task: None):
        self.taught, self.recipes = taught, {"dood": None}

    def train(self, task, recipe):
        self.taught(task)


def fitted(batches, **options):
    method, networks = built(**options)

    def taught(task):
        for parameter in task.denoiser.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        for batch in batches:
            method.observe(batch, networks)
    method.fit(Data(taught), networks)
    return method, networks


def test_features_are_shifted_by_channel_and_scaled_alike_by_the_extrema_of_known_cells():
    batches = [make_batch(2, seed=seed) for seed in range(3)]
    batches[1].labels[:, :20] = IGNORE
    method, networks = fitted(batches)
    rows = []
    for batch in batches:
        (scale,) = networks["base"](batch).scales
        known = batch.labels[:, 4::8, 4::8] != IGNORE
        rows.append(scale.taps["penultimate"].permute(0, 2, 3, 1)[known])
    rows = torch.cat(rows)
    low, high = rows.amin(0), rows.amax(0)
    assert torch.allclose(method.shift, (low + high) / 2) and torch.isclose(method.scale, ((high - low) / 2).max())
    x = method.normalised(rows)
    assert float(x.abs().max()) == pytest.approx(1) and torch.allclose(x.amin(0), -x.amax(0), atol=1e-5)


@pytest.mark.parametrize("steps", [1, 8])
def test_both_summands_are_standardised_on_the_training_images(steps):
    batches = [make_batch(2, seed=seed) for seed in range(3)]
    method, networks = fitted(batches, steps=steps)
    energies = torch.cat([-networks["base"](batch).logits().logsumexp(1).flatten() for batch in batches])
    assert torch.allclose(method.energy, torch.stack([energies.mean(), energies.std(correction=0)]), rtol=1e-4)
    # All cells are fewer than the sample would hold, but which noise each has depends on the order.
    rows = torch.cat([method.cells.features(networks["base"](batch).scales[0]) for batch in batches])
    with torch.no_grad():
        total = sum(method.summands(rows, steps))
    mean, deviation = method.denoising[steps - 1]
    assert abs(float(total.mean() - mean)) < 0.5 * float(deviation)
    assert float(total.std()) == pytest.approx(float(deviation), rel=0.5)
    sample = method._sample
    for batch in batches:
        sample.observe(batch, networks)
    with torch.no_grad():
        own = (sum(method.summands(sample.taken(), steps)) - mean) / deviation
    assert abs(float(own.mean())) < 1e-4 and float(own.std(correction=0)) == pytest.approx(1, rel=1e-3)
    assert method.denoising.shape == (LONGEST, 2)


def test_the_score_is_the_sum_of_its_parts_over_all_scales(tmp_path):
    workshop, entry = prepared("dood:steps=4", tmp_path, scales=(40, 56))
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    method, outputs = entry.method, entry.networks["base"](batch)
    for parameter in method.denoiser.parameters():  # after one step of training it says hardly anything
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        total = 0
        for scale in outputs.scales:
            images = [
                sum(method.summands(features.flatten(1).T, 4)).view(1, *features.shape[1:])
                for features in scale.taps["penultimate"]
            ]
            total = total + scale.upsample(torch.stack(images), batch.size)[:, 0] / 2
        mean, deviation = method.denoising[3]
        diffusion = (total - mean) / deviation
        energy = (-outputs.logits().logsumexp(1) - method.energy[0]) / method.energy[1]
        want = {"both": energy + diffusion, "diffusion": diffusion, "energy": energy}
        for part, values in want.items():
            method.part = part
            assert torch.allclose(method.score(batch, entry.networks), values, rtol=1e-3, atol=1e-3)


def test_without_a_known_pixel_there_is_nothing_to_learn():
    method, networks = built()
    batch = make_batch(labels=torch.full((2, 40, 56), IGNORE, dtype=torch.uint8))
    with torch.no_grad():
        method.observe(batch, networks)
    with pytest.raises(BenchmarkError, match="no training pixel has a class"):
        method.fit(Data(), networks)
    task = Denoising(method, networks["base"])
    assert float(task.loss(batch).detach()) == 0 and task.validate([batch]) == {"noise error": 0.0}


def test_a_training_in_bfloat16_denoises_in_float32():
    """At the lowest level there is less noise than bfloat16 can tell apart."""
    method, networks = fitted([make_batch()])
    task = Denoising(method, networks["base"])
    task.machine, losses = Machine.choose("cpu", "bf16", progress=False), []
    assert task.machine.precision == "bf16"
    for context in (task.autocast(), torch.autocast("cpu", enabled=False)):
        with context:
            torch.manual_seed(0)
            losses.append(float(task.loss(make_batch()).detach()))
    assert losses[0] == losses[1]


def test_it_learns_the_features_of_normal_images(tmp_path):
    """After a short training, cells of normal images are denoised, and random features in the wrong direction."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Net(classes=4, width=16)
        method = DOoD(width=64)
        networks = view_of(method, network, dataclasses.replace(SPEC, classes=4))
        method.build(networks)
    train_set, val_set = Toy("train", tmp_path), Toy("val", tmp_path)
    (batch,) = collate([train_set[i] for i in range(4)])
    with torch.no_grad():
        method.observe(batch, networks)
    machine = Machine.choose("cpu", "fp32", progress=False)
    recipe = Recipe("dood", 30, 4, 4, optimiser="adam", lr=3e-3, weight_decay=0.0, schedule="cosine")
    reports = []

    class Trained(Data):
        def train(self, task, recipe):
            reports.append(train(task, recipe, train_set, val_set, machine, tmp_path / "state", ""))

    data = Trained()
    data.recipes = {"dood": recipe}
    method.fit(data, networks)
    assert reports[0].validation["noise error"] < 0.5
    with torch.no_grad():
        (scale,) = networks["base"].run(torch.stack([val_set[i].image for i in range(4)]), (TAP,)).scales
        normal = scale.taps[TAP].permute(0, 2, 3, 1).flatten(0, 2)
        strange = method.shift + method.scale * F.normalize(torch.randn(200, 16), dim=1) * 2
        first, second = (sum(method.summands(each, 25)) for each in (normal, strange))
    assert float(first.mean()) < float(second.mean())
