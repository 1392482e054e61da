"""Methods that learn from pasted objects: their losses, where they begin, and that they learn to see such objects."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmark.methods._outliers import mean_where, smooth
from benchmark.methods.densehybrid import DenseHybrid
from benchmark.methods.entropy_max import EntropyMax, cross_entropy_of_uniform, divergence_from_uniform
from benchmark.methods.pebal import PEBAL, abstention_loss, energy_loss
from benchmark.methods.rpl import RPL, Patterns, info_nce, pattern_losses
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn

from benchmark.data import ANOMALY, Batch, Sample, collate
from benchmark.machine import Machine
from benchmark.method import SYNTHETIC
from benchmark.network import Network
from benchmark.pool import networks_for
from benchmark.recipe import LightTraining
from benchmark.registry import METHODS
from benchmark.run.contract import Toy, toy_workshop
from benchmark.training import FitData, Pasting, Segmentation, seeded, train
from benchmark.training.objects import object_to_validate_on

CALLS = {
    "entropy_max": 0.005,
    "densehybrid": 0.005,
    "densehybrid:head_only=true": 0.1,
    "pebal:tap=penultimate:share=0.6": 0.02,
    "rpl:tap=penultimate": 0.005,
}
"""Calls and the learning rates with which forty steps suffice."""


def draw(*shape, seed=0, factor=3.0):
    return factor * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def label_map(*shape, seed=0, values=(0, 1, 2, 254, 255)):
    choice = torch.randint(len(values), shape, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(values, dtype=torch.uint8)[choice]


def softmax(z):
    """Over axis 0, in float64."""
    e = np.exp(z - z.max(0))
    return e / e.sum(0)


def gauss(values):
    """7x7, deviation 1, mirrored at the border without the border pixel; (H, W)."""
    taps = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    padded = np.pad(values, 3, mode="reflect")
    rows, columns = values.shape
    return np.array([[(padded[y : y + 7, x : x + 7] * kernel).sum() for x in range(columns)] for y in range(rows)])


def test_the_smoothing_is_the_gaussian_of_its_definition():
    values = draw(2, 9, 11)
    for found, plain in zip(smooth(values), values):
        assert np.allclose(found, gauss(plain.numpy()), atol=1e-9)


def test_a_mean_over_nothing_is_nought_and_has_no_gradient():
    values = draw(3, 4).requires_grad_()
    empty = mean_where(values, torch.zeros(3, 4, dtype=torch.bool))
    empty.backward()
    assert empty == 0 and not values.grad.any()


@pytest.mark.parametrize("classes", [2, 13])
def test_what_makes_a_network_unsure_is_least_at_the_uniform_distribution(classes):
    logits = draw(2, classes, 3, 4)
    p = np.moveaxis(logits.numpy(), 1, 0)
    p = softmax(p)
    found = cross_entropy_of_uniform(logits).numpy()
    assert np.allclose(found, -np.log(p).mean(0)) and (found > math.log(classes)).all()
    m = (p + 1 / classes) / 2
    jsd = 0.5 * (p * np.log(p / m)).sum(0) + 0.5 * (np.log(1 / classes / m) / classes).sum(0)
    found = divergence_from_uniform(logits).numpy()
    assert np.allclose(found, jsd) and (found > 0).all() and (found < math.log(2)).all()
    equal = torch.full((1, classes, 1, 1), 0.7, dtype=torch.float64)
    assert torch.allclose(cross_entropy_of_uniform(equal), torch.tensor(math.log(classes), dtype=torch.float64))
    assert divergence_from_uniform(equal).abs().max() < 1e-12
    sure = torch.tensor([200.0] + [0.0] * (classes - 1), requires_grad=True)  # float32, far out
    loss = divergence_from_uniform(sure.view(1, -1, 1, 1)).sum()
    loss.backward()
    assert loss < math.log(2) and sure.grad.isfinite().all()


def abstention_by_hand(logits, labels, classes):
    """Per image, pixel by pixel."""
    known, mixed, outside = [], [], []
    for z, y in zip(logits.numpy(), labels.numpy()):
        p = softmax(z)
        price = np.maximum(gauss(np.log(np.exp(z[:-1]).sum(0)) ** 2), 1)
        into = mixed if (y == ANOMALY).any() else known
        for at in np.ndindex(*y.shape):
            if y[at] < classes:
                into.append(-np.log(p[(y[at], *at)] + p[(-1, *at)] / price[at]))
            elif y[at] == ANOMALY:
                outside.append(-np.log(p[(slice(0, -1), *at)] + p[(-1, *at)] / price[at]).mean())
    means = [np.mean(values) if values else 0.0 for values in (known, mixed, outside)]
    return means[0] + means[1] + 0.1 * means[2]


def test_the_abstention_loss_is_its_formula():
    logits, labels = draw(3, 4, 8, 9), label_map(3, 8, 9)
    labels[1][labels[1] == ANOMALY] = 0  # an image without objects beside two with them
    assert math.isclose(abstention_loss(logits, labels, 3), abstention_by_hand(logits, labels, 3), rel_tol=1e-9)
    clean = labels[1:2]
    assert math.isclose(abstention_loss(logits[1:2], clean, 3), abstention_by_hand(logits[1:2], clean, 3), rel_tol=1e-9)


def test_abstaining_never_pays_more_than_being_right():
    logits, labels = torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)
    logits[:, 3] = 30  # abstention, surely
    for level in (-6.0, -1.1, -0.5, 0.0, 4.0):  # of the classes: at -log 3 their logsumexp is 0
        logits[:, :3] = level
        assert abstention_loss(logits, labels, 3) > -1e-6, level
    right = torch.full_like(logits, -30.0)
    right[:, 0] = 9
    assert abstention_loss(right, labels, 3) < 1e-6


def test_one_class_without_abstention_costs_nothing_and_the_released_term_teaches_nothing():
    logits = draw(1, 2, 8, 8)
    logits[:, 1] = -math.inf
    assert abstention_loss(logits, torch.zeros(1, 8, 8, dtype=torch.uint8), 1) == 0
    outside = torch.full((1, 8, 8), ANOMALY, dtype=torch.uint8)
    # Where abstention is dear, no p_c + p_C / a^2 exceeds 1.
    logits = (draw(1, 4, 8, 8) + 10).requires_grad_()
    abstention_loss(logits, outside, 3, released=True).backward()
    assert not logits.grad.any()
    abstention_loss(logits, outside, 3).backward()
    assert logits.grad.abs().max() > 1e-6


def test_the_energy_loss_is_its_formula_and_nought_beyond_the_margins():
    energy, labels = draw(2, 6, 7, seed=3) - 9, label_map(2, 6, 7)
    e, y = energy.numpy(), labels.numpy()
    smoothness = 3e-6 * 8 * 900**2 * 0.5 * ((np.diff(e, axis=1) ** 2).sum() + (np.diff(e, axis=2) ** 2).sum()) / e.size
    inside, outside = e[y < ANOMALY], e[y == ANOMALY]
    hinges = (np.maximum(inside + 12, 0) ** 2).mean(), (np.maximum(-6 - outside, 0) ** 2).mean()
    expected = sum(hinges) / 2 + 5e-4 * np.sqrt((outside**2).sum()) + smoothness
    assert math.isclose(energy_loss(energy, labels, -12.0, -6.0), expected, rel_tol=1e-9)
    clean = torch.where(labels == ANOMALY, 255, labels.long()).to(torch.uint8)
    assert math.isclose(energy_loss(energy, clean, -12.0, -6.0), hinges[0] + smoothness, rel_tol=1e-9)
    flat = torch.full((1, 4, 4), -13.0)
    assert energy_loss(flat, torch.zeros(1, 4, 4, dtype=torch.uint8), -12.0, -6.0) == 0


def test_the_pattern_losses_are_their_formulas():
    logits, vanilla, labels = draw(2, 3, 5, 6), draw(2, 3, 5, 6, seed=1), label_map(2, 5, 6)
    known, outside = [], []
    for z, v, y in zip(logits.numpy(), vanilla.numpy(), labels.numpy()):
        p, q = softmax(z), softmax(v)
        for at in np.ndindex(*y.shape):
            here, there = p[(slice(None), *at)], q[(slice(None), *at)]
            gap = (here * np.log(here)).sum() - (there * np.log(there)).sum()
            if y[at] < ANOMALY:
                known.append(-np.log(here[there.argmax()]) + gap**2)
            elif y[at] == ANOMALY:
                outside.append(max(0.0, np.log(np.exp(z[(slice(None), *at)]).sum())))
    found = pattern_losses(logits, vanilla, labels)
    assert math.isclose(found[0], np.mean(known), rel_tol=1e-5) and math.isclose(
        found[1], np.mean(outside), rel_tol=1e-9
    )
    same, _ = pattern_losses(vanilla, vanilla, labels)
    own = F.cross_entropy(vanilla, vanilla.argmax(1), reduction="none")[labels < ANOMALY].mean()
    assert torch.allclose(same, own)


def test_the_contrast_is_its_formula():
    first, second = (F.normalize(draw(5, 4, seed=s), dim=1) for s in (1, 2))
    losses = []
    for own, other in ((first, second), (second, first)):
        for i in range(5):
            against = sum(math.exp(float(own[i] @ k) / 0.1) for k in other)
            pairs = [math.exp(float(own[i] @ own[j]) / 0.1) for j in range(5) if j != i]
            losses.append(np.mean([-math.log(x / (x + against)) for x in pairs]))
    assert math.isclose(info_nce(first, second), np.mean(losses), rel_tol=1e-9)


class Large(Toy):
    """The toy images at twice the size, so that objects are larger than cells."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        made = super().__getitem__(index)
        grown = (part.repeat_interleave(2, -1).repeat_interleave(2, -2) for part in (made.image, made.labels))
        return Sample(made.id, *grown)


class Segmenter(Network):
    """Three convolutions and a classifier at 1/4."""

    penultimate = "features"
    stride = 4

    def __init__(self, classes=4, width=24):
        super().__init__(classes)
        layers = []
        for depth, step in ((3, 2), (width, 2), (width, 1)):
            layers += [nn.Conv2d(depth, width, 3, step, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(width, classes, 1)
        self.channels = {"features": width}

    @property
    def head(self):
        return self.classifier

    def forward(self, inputs, taps=()):
        features = self.trunk(inputs)
        return {"logits": self.classifier(features), **{tap: features for tap in taps}}


MACHINE = Machine(torch.device("cpu"), progress=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A network that knows the toy images, and test images with objects of the validation set's kind."""
    folder = tmp_path_factory.mktemp("base")
    recipe = METHODS.get("entropy_max").recipes["entropy_max"].changed(SHORT | {"lr": 0.01, "steps_per_epoch": 60})
    with seeded(recipe):
        network = Segmenter()
        task = Segmentation(network, Toy.card.classes)
    train(task, recipe, Large("train", folder), None, MACHINE, folder / "base.state", "base")
    paste = Pasting(objects=object_to_validate_on)
    (batch,) = collate([paste(sample, 77, 0, slot) for slot, sample in enumerate(Large("val", folder))])
    return network.eval(), batch


SHORT = {"epochs": 1, "steps_per_epoch": 40, "batch_size": 4, "crop": (), "scale_range": (), "label_size": "half"}


def area(scores, batch):
    """Share of pairs of a pasted and another pixel in which the pasted one has the higher score."""
    return roc_auc_score((batch.labels == ANOMALY).flatten(), scores.flatten())


def learned(call, network, folder, **changes):
    """A method that was trained for some steps, and its networks."""
    method = METHODS.create(call)
    networks = networks_for(method, network)
    recipes = {
        task: recipe.changed(SHORT | {"lr": 0.005, "optimiser": "adam"} | changes)
        for task, recipe in method.recipes.items()
    }
    with seeded(next(iter(recipes.values()))):
        method.build(networks)
    data = FitData(Large("train", folder), Large("val", folder), MACHINE, recipes, folder / call.partition(":")[0])
    if method.observes:
        for batch in data.batches():
            method.observe(batch, networks)
    method.fit(data, networks)
    return method.eval(), networks, data


@pytest.mark.parametrize("call", CALLS)
def test_after_some_steps_pasted_objects_stand_out(call, base, tmp_path):
    network, batch = base
    before = {name: value.clone() for name, value in network.state_dict().items()}
    method, networks, data = learned(call, network, tmp_path, lr=CALLS[call])
    untrained = METHODS.create("max_entropy" if call == "entropy_max" else "energy")
    with torch.no_grad():
        found = area(method.score(batch, networks), batch)
        plain = area(untrained.score(batch, networks_for(untrained, network)), batch)
    assert found > 0.85 > 0.7 > plain
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    (report,) = data.reports
    assert math.isfinite(report.loss)
    assert report.validation.get("mIoU", 1.0) > 0.5  # of what else it segments


@pytest.mark.parametrize("call", ["densehybrid", "densehybrid:head_only=true"])
def test_the_posterior_begins_as_a_coin(call, base):
    network, batch = base
    method = METHODS.create(call)
    networks = networks_for(method, network)
    method.build(networks)
    method.eval()
    energy = METHODS.create("energy")
    with torch.no_grad():
        expected = energy.score(batch, networks_for(energy, network)) + math.log(0.5)
        assert torch.allclose(method.score(batch, networks), expected, atol=1e-4)


@pytest.mark.parametrize("call", ["rpl:tap=penultimate", "pebal:tap=penultimate"])
def test_a_block_that_adds_nothing_leaves_the_smoothed_energy(call, base):
    """As does a further output that is not used."""
    network, batch = base
    method = METHODS.create(call)
    networks = networks_for(method, network)
    method.build(networks)
    method.eval()
    energy = METHODS.create("energy")
    with torch.no_grad():
        expected = smooth(energy.score(batch, networks_for(energy, network)))
        assert torch.allclose(method.score(batch, networks), expected, atol=1e-4)


def test_without_a_share_nothing_is_pasted_and_no_outlier_was_seen(base, tmp_path):
    network, _ = base
    method, _, data = learned("densehybrid:share=0", network, tmp_path, steps_per_epoch=3)
    assert not method.posterior[-1].weight.any()
    assert (method.auxiliary_data, method.reads(tmp_path)) == (False, "")
    assert METHODS.create("rpl:share=0").pasting(data) is None
    assert (DenseHybrid().auxiliary_data, EntropyMax(cutouts="ade").auxiliary_data) == (SYNTHETIC, True)


def test_margins_are_the_median_of_the_training_energies_unless_stated(base, tmp_path, capsys):
    network, _ = base
    method, networks, data = learned("pebal:tap=penultimate", network, tmp_path, steps_per_epoch=1)
    energies = torch.cat([-networks["base"](b).scales[0].logits.logsumexp(1).flatten() for b in data.batches()])
    m_in, m_out = method.margins.tolist()
    assert math.isclose(m_in, energies.median(), rel_tol=2e-3) and math.isclose(
        m_out, m_in + abs(m_in) / 2, rel_tol=1e-5
    )
    stated = PEBAL(tap="penultimate", m_in=-12.0, m_out=-6.0)
    assert not stated.observes
    for wrong in ("pebal:m_in=-3", "pebal:m_in=-3:m_out=-4", "pebal:tap=conv5", "rpl:cutouts=../x"):
        with pytest.raises(Exception, match=r"m_in|tap|cutouts"):
            METHODS.create(wrong)


def test_other_cut_outs_are_another_fit(tmp_path):
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[5:15, 5:15] = 255
    folder = tmp_path / "cutouts" / "boxes"
    folder.mkdir(parents=True)
    workshop = toy_workshop(tmp_path, ("entropy_max",))
    options = dataclasses.replace(workshop.setup.options, data=tmp_path)
    workshop.setup = dataclasses.replace(workshop.setup, options=options)

    def key(call="entropy_max:cutouts=boxes"):
        return workshop.entry(METHODS.create(call)).fit_key

    Image.fromarray(pixels).save(folder / "a.png")
    first = key()
    assert key() == first
    Image.fromarray(255 - pixels).save(folder / "b.png")
    assert key() != first
    with pytest.raises(Exception, match=r"cutouts.none is missing"):
        key("entropy_max:cutouts=none")


def test_the_contrast_needs_two_images_with_objects(base, tmp_path):
    network, batch = base
    method = RPL(tap="penultimate", corocl=True)
    networks = networks_for(method, network)
    method.build(networks)
    recipe = method.recipes["rpl"].changed({"label_size": "half"})
    task = Patterns(method, networks["base"], FitData(Large("train", tmp_path), None, MACHINE, {}, tmp_path))
    task.recipe = recipe
    alone = Batch(batch.ids[:1], batch.images[:1], batch.labels[:1])
    assert task.loss(alone)["contrast"] == 0 and task.loss(batch)["contrast"] > 0


def test_light_recipes_train_as_many_pixels_as_the_dataset_says():
    light = LightTraining(epochs=8, scales=(180,))
    for name in ("entropy_max", "densehybrid", "pebal", "rpl"):
        method = METHODS.get(name)
        for task, recipe in method.recipes.items():
            made = light.recipe(recipe, method.light[task])
            assert made.crop == () and made.scale_range == () and made.epochs <= 4 and made.aux_weight == 0
