"""Objects pasted into training images: the same after every kill, and others than those of validation sets."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from test_loop import Killed, Mortal, fresh, run, same
from training_toys import Blobs

from benchmark.data import ANOMALY
from benchmark.errors import BenchmarkError
from benchmark.training import Cutouts, Pasting, objects
from benchmark.training.loader import training_batches
from benchmark.training.objects import object_to_train_on, object_to_validate_on
from benchmark.training.pasting import paste

ROAD = np.full((64, 3), 0.4)


def sample(size=(60, 84)):
    return Blobs(size=size)[0]


def pasted(share=1.0, seed=1, step=2, slot=3, **keywords):
    return Pasting(share, **keywords)(sample(), seed, step, slot)


def test_a_pasted_object_is_labelled_and_the_rest_keeps_its_labels():
    before = sample()
    copy = before.image.clone(), before.labels.clone()
    for slot in range(10):
        after = Pasting()(before, 1, 2, slot)
        new = after.labels == ANOMALY
        assert 0 < new.float().mean() < 0.5
        assert torch.equal(after.labels[~new], before.labels[~new])
        assert (after.image != before.image).any(0)[new].float().mean() > 0.9
        assert after.image.dtype == torch.uint8 and after.image.shape == before.image.shape
    assert torch.equal(before.image, copy[0]) and torch.equal(before.labels, copy[1])


def test_what_is_pasted_depends_on_seed_step_and_slot_and_on_nothing_else():
    first = pasted()
    np.random.seed(5)
    torch.manual_seed(5)
    again = pasted()
    assert torch.equal(first.image, again.image) and torch.equal(first.labels, again.labels)
    others = [pasted(seed=9), pasted(step=9), pasted(slot=9)]
    assert all(not torch.equal(first.image, other.image) for other in others)


def test_the_share_is_that_of_the_images_with_objects():
    found = [(Pasting(0.3)(sample(), 1, 0, slot).labels == ANOMALY).any() for slot in range(200)]
    assert 0.2 < np.mean(found) < 0.4
    assert not any((Pasting(0.0)(sample(), 1, 0, slot).labels == ANOMALY).any() for slot in range(20))


@pytest.mark.parametrize("height", [8, 9, 40, 150])
@pytest.mark.parametrize("make", [object_to_train_on, object_to_validate_on])
def test_an_object_is_one_piece_with_a_soft_edge_within_its_frame(make, height):
    for seed in range(25):
        thing = make(np.random.default_rng(seed), height, ROAD)
        assert thing.rgb.shape == (*thing.alpha.shape, 3) and thing.rgb.dtype == thing.alpha.dtype == np.float32
        assert np.isfinite(thing.rgb).all() and thing.rgb.min() >= 0 and thing.rgb.max() <= 1
        assert thing.alpha.min() >= 0 and 0.5 < thing.alpha.max() <= 1
        border = np.concatenate([thing.alpha[0], thing.alpha[-1], thing.alpha[:, 0], thing.alpha[:, -1]])
        assert border.max() < 0.5
        assert cv2.connectedComponents((thing.alpha > 0.3).astype(np.uint8))[0] == 2  # the background and the object


OF_VERSION_1 = {
    object_to_train_on: [
        (454, 100, 32, 26, 24, 26), (594, 78, 67, 49, 47, 51), (357, 75, 19, 38, 38, 46), (110, 11, 47, 37, 42, 42),
    ],
    object_to_validate_on: [
        (1128, 97, 66, 27, 22, 23), (625, 80, 33, 32, 30, 30), (668, 74, 118, 36, 21, 29), (101, 13, 6, 50, 48, 50),
    ],
}  # fmt: skip
"""Pixels of an object, its mean row and column, its mean colour in percent."""


@pytest.mark.parametrize("make", OF_VERSION_1)
def test_pasted_objects_are_those_of_their_version(make):
    """Records of `pasted` know their images by the version alone: whoever changes these raises it there (``_VERSION``)
    and for trainings (``VERSION``)."""
    for seed, expected in enumerate(OF_VERSION_1[make]):
        image = np.linspace(0.2, 0.7, 120 * 160 * 3, dtype=np.float32).reshape(120, 160, 3)
        labels = np.zeros((120, 160), np.uint8)
        after = paste(np.random.default_rng([1, seed]), image, labels, make)
        rows, columns = np.nonzero(labels == ANOMALY)
        found = len(rows), rows.mean(), columns.mean(), *(100 * after[labels == ANOMALY].mean(0))
        assert found == pytest.approx(expected, rel=0.01, abs=1)


KINDS = {
    object_to_train_on: {"_limbs", "_cloud", "_cells", "_bands", "_tiles"},
    object_to_validate_on: {"_outline", "_contour", "_texture"},
}


@pytest.mark.parametrize("make", KINDS)
def test_trainings_share_no_outline_and_no_material_with_the_validation_set(make, monkeypatch):
    """Else a method would be chosen on the objects that it was trained on."""
    used = set()
    for name in set.union(*KINDS.values()):
        original = getattr(objects, name)
        monkeypatch.setattr(objects, name, lambda *a, f=original, n=name: used.add(n) or f(*a))
    for seed in range(30):
        make(np.random.default_rng(seed), 20, ROAD)
    assert used == KINDS[make]


def test_a_batch_of_a_training_shows_objects_wherever_it_begins(recipe, machine):
    plain = list(training_batches(Blobs(), recipe, machine, 0, 3))
    mixed = list(training_batches(Blobs(), recipe, machine, 0, 3, pasting=Pasting()))
    (later,) = training_batches(Blobs(), recipe, machine, 2, 3, pasting=Pasting())
    assert not any((batch.labels == ANOMALY).any() for batch in plain)
    assert all((batch.labels == ANOMALY).flatten(1).any(1).float().mean() > 0.5 for batch in mixed)
    assert torch.equal(later.images, mixed[2].images) and torch.equal(later.labels, mixed[2].labels)


class Pasted(Mortal):
    """Trains with objects, and writes down which labels it saw in training and in validation."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.pasting = Pasting()
        self.seen, self.validated = set(), set()

    def loss(self, batch):
        self.seen |= set(batch.labels.unique().tolist())
        return super().loss(batch)

    def validate(self, batches):
        batches = list(batches)
        self.validated |= {value for batch in batches for value in batch.labels.unique().tolist()}
        return super().validate(batches)


def test_a_training_with_objects_goes_on_after_a_kill_to_the_same_weights(recipe, machine, tmp_path):
    whole = fresh(recipe, Pasted)
    run(whole, recipe, machine, tmp_path / "whole")
    assert ANOMALY in whole.seen and ANOMALY not in whole.validated
    machine = dataclasses.replace(machine, save_every=-1)
    with pytest.raises(Killed):
        run(fresh(recipe, Pasted, deaths=[7]), recipe, machine, tmp_path / "killed")
    resumed = fresh(recipe, Pasted)
    assert run(resumed, recipe, machine, tmp_path / "killed").resumed == 1
    assert same(whole, resumed)
    plain = fresh(recipe)
    run(plain, recipe, machine, tmp_path / "plain")
    assert not same(whole, plain)


def cutout(path, colour=(255, 0, 0), opaque=True):
    """A disc of one colour, 40 pixels wide, on a larger transparent ground."""
    y, x = np.mgrid[:60, :80]
    pixels = np.zeros((60, 80, 4), np.uint8)
    pixels[(y - 30) ** 2 + (x - 30) ** 2 < 400 if opaque else y < 0] = (*colour, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_cut_outs_are_scaled_to_the_height_and_keep_their_colour(tmp_path):
    cutout(tmp_path / "disc.png")
    for height in (10, 40, 90):
        thing = Cutouts(tmp_path)(np.random.default_rng(0), height, ROAD)
        rows = np.flatnonzero((thing.alpha > 0.5).any(1))
        assert abs(len(rows) - height) <= 1 and abs((thing.alpha > 0.5).sum() / (np.pi * height**2 / 4) - 1) < 0.15
        assert np.allclose(thing.rgb[thing.alpha > 0.5], (1, 0, 0), atol=0.02)
    after = pasted(objects=Cutouts(tmp_path))
    red, green, _ = after.image.float()[:, after.labels == ANOMALY]
    assert (red > green + 20).float().mean() > 0.9


def test_the_fingerprint_of_cut_outs_is_that_of_their_bytes(tmp_path):
    cutout(tmp_path / "a.png")
    cutout(tmp_path / "deeper/b.png", (0, 255, 0))
    first = Cutouts(tmp_path).fingerprint()
    assert Cutouts(tmp_path).fingerprint() == first and len(Cutouts(tmp_path).files) == 2
    cutout(tmp_path / "deeper/b.png", (0, 254, 0))
    assert Cutouts(tmp_path).fingerprint() != first


def test_what_cannot_be_pasted_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match="none is missing; put the cut-outs"):
        Cutouts(tmp_path / "none")
    with pytest.raises(BenchmarkError, match="holds no image"):
        Cutouts(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "opaque.png")
    with pytest.raises(BenchmarkError, match=r"opaque\.png has no transparency"):
        pasted(objects=Cutouts(tmp_path))
    (tmp_path / "opaque.png").unlink()
    cutout(tmp_path / "empty.png", opaque=False)
    with pytest.raises(BenchmarkError, match=r"empty\.png shows nothing"):
        pasted(objects=Cutouts(tmp_path))
