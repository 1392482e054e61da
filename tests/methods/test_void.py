"""Void classifier: the log-probability of one class."""

import dataclasses

import pytest
import torch
from benchmark.methods.void import Void
from method_toys import Given, score

from benchmark.data import IGNORE, Sample, collate
from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS
from benchmark.run.contract import Toy, toy_workshop

Z = 3 * torch.randn(2, 5, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("index", [0, 3, 4])
def test_is_the_log_probability_of_its_class(index):
    assert torch.allclose(score(Void(index), Z, stride=1), Z.softmax(1)[:, index].log(), atol=1e-5)
    other = Z.flip(1)
    mean = (Z.softmax(1) + other.softmax(1)) / 2
    assert torch.allclose(score(Void(index), Z, other, stride=1), mean[:, index].log(), atol=1e-5)


def test_tells_apart_what_float32_rounds_to_zero():
    z = torch.zeros(1, 4, 1, 9)
    z[:, 3] = torch.linspace(-400, -200, 9)
    assert (score(Void(), z, stride=1).diff() > 1).all()


def test_a_class_that_does_not_exist_is_an_error():
    with pytest.raises(BenchmarkError, match=r"no class 5 among 5; give index=0\.\.4"):
        Void(5).build({"base": Given(Z)})
    with pytest.raises(BenchmarkError, match="label id"):
        METHODS.create("void:index=-1")


def _named(names, outputs):
    given = Given(torch.zeros(1, outputs, 5, 7))
    given.class_names = names
    return {"base": given}


@pytest.mark.parametrize(
    ("names", "outputs", "index"),
    [
        (("road", "car", "sky", "other"), 4, 3),
        (("road", "car", "sky", "wall"), 5, 4),
        (("road", "Void", "sky", "wall"), 4, 1),
        (("road", "void", "sky", "wall"), 5, 4),
        (("road", "car", "sky", "other"), 5, 3),
    ],
)
def test_takes_the_output_that_the_class_list_says_is_void(names, outputs, index):
    method = Void()
    method.build(_named(names, outputs))
    assert method.index == index


@pytest.mark.parametrize(
    ("names", "outputs", "words"),
    [
        (
            ("road", "car", "sky", "wall"),
            4,
            r"none of the classes is called void \(0 road, 1 car, 2 sky, 3 wall\); give",
        ),
        (("road", "car", "sky", "wall"), 6, "several outputs may be void"),
        (None, 20, "nobody says what the 20 classes are"),
    ],
)
def test_asks_where_it_does_not_say(names, outputs, words):
    with pytest.raises(BenchmarkError, match=words):
        Void().build(_named(names, outputs))
    chosen = Void(3)
    chosen.build(_named(names, outputs))
    assert chosen.index == 3


class Worn(Toy):
    """Toy images whose posts nobody has labelled."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return Sample(sample.id, sample.image, torch.where(sample.labels == 3, IGNORE, sample.labels).to(torch.uint8))


def _trained(data, folder):
    workshop = toy_workshop(folder, ())
    train, val = (data(split, folder) for split in ("train", "val"))
    recipe = workshop.setup.base.recipe.changed({"epochs": 60, "lr": 0.02, "optimiser": "adamw"})
    base = dataclasses.replace(workshop.setup.base, recipe=recipe)
    workshop.setup = dataclasses.replace(workshop.setup, train=train, val=val, base=base)
    entry = workshop.entry(METHODS.create("void:extra=true"))
    workshop.prepare([entry])
    return workshop, entry


def test_the_extra_class_is_what_the_training_labels_leave_out(tmp_path):
    workshop, entry = _trained(Worn, tmp_path)
    assert not entry.error and entry.method.auxiliary_data
    assert workshop.setup.base.classes == 4 and entry.specs[0].classes == 5
    assert not workshop.store.has(workshop.setup.base.key), "the shared network is another one"
    posts = []
    for sample in Toy("val", tmp_path):
        scores = entry.method.score(collate([sample])[0], entry.networks)[0]
        posts.append(float(scores[sample.labels == 3].mean() - scores[sample.labels != 3].mean()))
    assert min(posts) > 0.5, "it has learned what the posts look like"


def test_without_void_pixels_there_is_no_extra_class(tmp_path):
    _, entry = _trained(Toy, tmp_path)
    assert entry.error.startswith("The labels of Toy leave no pixel out") and entry.mendable
