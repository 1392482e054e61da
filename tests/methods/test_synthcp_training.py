"""SynthCP's networks have the published form, and its adversarial training learns and survives a kill."""

import pytest
import torch
from benchmark.methods.synthcp import SynthCP, perceptual
from benchmark.methods.synthcp.discriminator import Discriminator
from benchmark.methods.synthcp.perceptual import Perceptual
from benchmark.methods.synthcp.spade import Generator, one_hot
from benchmark.methods.synthcp.training import Synthesis
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torchvision.models import vgg19

from benchmark.data import Batch, Dataset, DatasetCard, Sample
from benchmark.machine import Machine
from benchmark.training import FitData, learning_rate_factor, seeded, train

SIZE = (32, 64)
RECIPE = SynthCP.recipes["synthesis"].changed({"epochs": 2, "steps_per_epoch": 3, "batch_size": 2, "lr": 2e-3})


class Flags(Dataset):
    """Two halves of fixed colours, one brighter than the other, with an ignored corner."""

    card = DatasetCard(title="Flags", classes=("left", "right"))

    def __init__(self, images=4):
        self.split, self.root, self.images = "train", None, images

    def __len__(self):
        return self.images

    def __getitem__(self, index):
        labels = torch.zeros(18, 34, dtype=torch.uint8)
        labels[:, 8 + 4 * index :] = 1
        image = torch.tensor([[40, 200], [60, 180], [90, 220]], dtype=torch.uint8)[:, labels.long()]
        labels[:3, :3] = 255
        return Sample(str(index), image, labels)

    def fingerprint(self):
        return f"flags-{self.images}"


class Killed(Exception):
    """Stands for the end of the process."""


class Mortal(Synthesis):
    """Dies after a step."""

    death = -1

    def after_step(self, step, lr):
        if step == self.death:
            raise Killed


def task(kind=Mortal, recipe=RECIPE, **keywords):
    with seeded(recipe):
        made = kind(Generator(2, SIZE, 2), 2, 2, **keywords)
    made.recipe = recipe
    return made


def run(made, folder, recipe=RECIPE, save_every=-1.0):
    machine = Machine(torch.device("cpu"), progress=False, save_every=save_every)
    return train(made, recipe, Flags(), Flags(2), machine, folder / "a.state", "flags")


def flags_batch():
    samples = list(Flags())
    return Batch(
        tuple(s.id for s in samples), torch.stack([s.image for s in samples]), torch.stack([s.labels for s in samples])
    )


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_published_sizes():
    # Cityscapes' 35 classes and instance edges: 93.0 and 5.6 million (Park et al.).
    with torch.device("meta"):
        generator, discriminator = Generator(36, (256, 512), 64), Discriminator(36, 64)
    assert round(count(generator) / 1e6, 1) == 93.0 and round(count(discriminator) / 1e6, 1) == 5.6
    assert 256 >> generator.upsamplings == 4 and 512 >> generator.upsamplings == 8


@examples(max_examples=12)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 20), st.booleans())
def test_the_generator_paints_any_size_of_any_classes(rows, columns, classes, training):
    size = (32 * rows, 32 * columns)
    generator = Generator(classes, size, 1).train(training)
    maps = one_hot(torch.randint(0, classes, (2, *size)), classes)
    with torch.no_grad():
        painted = generator(maps)
    assert painted.shape == (2, 3, *size) and painted.abs().max() <= 1


def test_an_ignored_pixel_is_no_class():
    labels = torch.tensor([[[0, 2, 254, 255, 1]]], dtype=torch.uint8)
    expected = torch.tensor([[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]).float()
    assert torch.equal(one_hot(labels, 3)[0, :, 0], expected)


def test_examples_have_the_size_of_the_generator():
    maps, images = task().examples(flags_batch())
    assert maps.shape == (4, 2, *SIZE) and images.shape == (4, 3, *SIZE)
    assert images.min() >= -1 and images.max() <= 1
    assert maps[:, :, 0, 0].sum() == 0 and (maps.sum(1) == 1).float().mean() > 0.9
    inside = images[:, :, 20, -1]  # far from the edge between the classes
    assert torch.allclose(inside, torch.tensor([200, 180, 220]) / 127.5 - 1, atol=1e-2)


def test_residual_convolutions_are_spectrally_normalised():
    made = task().train()
    maps, images = made.examples(flags_batch())
    for _ in range(30):  # one power iteration each
        made.generator(maps)
        made.discriminator(maps, images)
    convs = [c for block in made.generator.blocks for c in (*block.convs, block.shortcut) if c is not None]
    convs += [layer[0] for patches in made.discriminator.scales for layer in list(patches)[1:-1]]
    assert len(convs) == 7 * 2 + 4 + 2 * 3
    made.eval()
    for conv in convs:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("still", [0, 1])
def test_each_optimiser_moves_its_own_network(still):
    made = task().train()
    optimisers = made.optimisers(RECIPE)
    for group in optimisers[still].param_groups:
        group["lr"] = 0.0
    before = {name: p.clone() for name, p in made.named_parameters()}
    losses = made.step(flags_batch(), optimisers)
    moved = {name.split(".")[0] for name, p in made.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {("discriminator", "generator")[still]}
    assert next(iter(losses)) == "loss" and "discriminator" in losses and "perceptual" not in losses
    assert all(p.requires_grad for p in made.parameters())


def test_every_parameter_learns():
    made = task().train()
    optimisers = made.optimisers(RECIPE)
    before = {name: p.clone() for name, p in made.named_parameters()}
    for _ in range(2):
        made.step(flags_batch(), optimisers)
    # A convolution's bias before a normalisation has no effect and so no gradient but rounding.
    assert not [n for n, p in made.named_parameters() if "weight" in n and torch.equal(p, before[n])]


def test_two_time_scales_and_the_linear_second_half():
    recipe = SynthCP.recipes["synthesis"]
    rates = [o.param_groups[0]["lr"] for o in task(recipe=recipe).optimisers(recipe)]
    assert rates == pytest.approx([1e-4, 4e-4])
    factors = [learning_rate_factor(recipe, s, 200) for s in (0, 100, 150, 199)]
    assert factors == pytest.approx([1, 1, 0.5, 0.01])


def test_it_learns(tmp_path):
    recipe = RECIPE.changed({"epochs": 4, "steps_per_epoch": 6, "batch_size": 4, "lr": 0.02})
    report = run(task(recipe=recipe), tmp_path, recipe, save_every=100)
    blank = task(recipe=recipe).eval()
    with torch.no_grad():
        untrained = blank.validate([flags_batch()])["l1"]
    assert list(report.validation) == ["l1"]
    assert report.validation["l1"] < 0.5 * untrained


@pytest.mark.parametrize("death", [0, 3])
def test_killed_it_ends_as_if_it_had_run_through(tmp_path, death):
    whole, torn, last = task(), task(), task()
    run(whole, tmp_path / "whole")
    torn.death = death
    with pytest.raises(Killed):
        run(torn, tmp_path / "torn")
    # The state is written after the step in which the process dies only if that step ended.
    report = run(last, tmp_path / "torn")
    assert report.steps == 6
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in last.state_dict().items())
    assert report.resumed == (1 if death else 0)


def fit(tmp_path, recipe=RECIPE):
    method = SynthCP(width=64, height=32, channels=2)
    method.classes, method.channels = 2, 2
    method.generator = Generator(2, SIZE, 2)
    before = method.generator.image.weight.clone()
    data = FitData(
        Flags(), Flags(2), Machine(torch.device("cpu"), progress=True), {"synthesis": recipe}, tmp_path / "fit"
    )
    method.fit(data, {})
    assert not torch.equal(method.generator.image.weight, before)
    return data.reports[0]


def test_without_weights_of_vgg_it_says_so_once_and_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert Perceptual.from_cache() is None
    report = fit(tmp_path)
    assert capsys.readouterr().err.count("without the perceptual loss") == 1
    assert "perceptual" not in report.history[-1]


def test_with_weights_of_vgg_it_uses_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = perceptual.cached_file()
    path.parent.mkdir()
    with torch.device("meta"):
        layers = vgg19(init_weights=False).features
    # Constant tensors, of which a file keeps one number.
    torch.save({f"features.{k}": torch.tensor(1e-3).expand(v.shape) for k, v in layers.state_dict().items()}, path)
    loss = Perceptual.from_cache()
    first, second = torch.rand(2, 1, 3, *SIZE).requires_grad_()
    assert loss(first, first).item() == 0
    loss(first, second).backward()
    assert not list(filter(lambda p: p.requires_grad, loss.parameters()))
    report = fit(tmp_path, RECIPE.changed({"epochs": 1, "steps_per_epoch": 1}))
    assert "without" not in capsys.readouterr().err
    assert report.history[-1]["perceptual"] >= 0
