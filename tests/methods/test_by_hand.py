"""Methods without a registry, a weights store or a run: made by hand, on modules at hand."""

import re
from textwrap import dedent

import pytest
import torch
from benchmark.methods.deep_ensemble import DeepEnsemble
from benchmark.methods.dicnet import DiCNet
from benchmark.methods.knn import KNN
from benchmark.methods.msp import MSP
from benchmark.methods.pans import PAnS
from method_toys import Net, make_batch
from torch import nn

from benchmark.data import IGNORE, Batch
from benchmark.errors import BenchmarkError
from benchmark.method import Method
from benchmark.pool import networks_for
from benchmark.registry import METHODS


def test_a_method_made_by_hand_knows_its_name_options_and_label():
    assert (MSP().name, MSP().label, MSP().config) == ("msp", "msp", {"double_softmax": False})
    assert MSP(double_softmax=True).label == MSP(True).label == "msp:double_softmax=true"
    assert DiCNet("conv").spec == METHODS.create("dicnet:teacher_target=conv").spec
    assert DiCNet("conv").config == {"teacher_target": "conv", "align_corners": True, "encoder": "auto"}
    assert DiCNet().spec.recipes == DiCNet.recipes


def test_a_method_of_a_notebook_has_its_own_name():
    class Margin(Method):
        def __init__(self, power: float = 1.0) -> None:
            super().__init__()

        def score(self, batch, networks):
            raise NotImplementedError

    assert Margin().label == "margin" and Margin(2).label == "margin:power=2"


def test_a_spec_makes_the_method_again():
    spec = DiCNet("conv", encoder="small").spec
    again = DiCNet.made(spec)
    assert again.spec is spec and (again.tap, again.encoder) == ("conv_last.0", "small")
    assert spec.with_defaults({"teacher_target"}).label == "dicnet:encoder=small"


def test_the_example_of_the_documentation_runs():
    example = re.search(r"In ten lines.*?::\n\n(.*?)\n\n    A method", networks_for.__doc__, re.DOTALL)[1]
    model = nn.Sequential(nn.Conv2d(3, 19, 8, 8), nn.Upsample(scale_factor=8))
    images = make_batch(3).images
    names = {"torch": torch, "model": model, "images": images}
    exec(dedent(example), names)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x = (images / 255 - mean) / std
    with torch.no_grad():
        expected = 1 - model(x).softmax(dim=1).softmax(dim=1).amax(dim=1)
    torch.testing.assert_close(names["scores"], expected)


def test_a_network_of_the_suite_is_taken_as_it_is_with_its_taps():
    method, network = KNN(k=1, bank=50), Net()
    networks = networks_for(method, network)
    assert networks["base"].module is network
    method.build(networks)
    with torch.no_grad():
        for seed in range(3):
            method.observe(make_batch(seed=seed), networks)
        method.fit(None, networks)
        scores = method.score(Batch.unlabelled(make_batch(seed=1).images), networks)
    assert scores.shape == (2, 40, 56) and scores.isfinite().all()


def test_other_networks_are_given_by_role():
    base, ensemble = Net(), DeepEnsemble(members=3)
    with pytest.raises(BenchmarkError, match=r"deep_ensemble:members=3 needs a network of its own as 'member2'"):
        networks_for(ensemble, base, member1=Net())
    networks = networks_for(ensemble, base, member1=Net(), member2=Net())
    assert len({id(networks[role].module) for role in networks}) == 3
    with pytest.raises(BenchmarkError, match="pans needs a network of its own as 'prototypes'"):
        networks_for(PAnS(), base)


def test_a_bare_module_needs_its_number_of_classes():
    with pytest.raises(BenchmarkError, match=r"how many classes the Conv2d has: networks_for\(..., classes=C\)"):
        networks_for(MSP(), nn.Conv2d(3, 19, 8, 8))


def test_an_unlabelled_batch_ignores_every_pixel():
    batch = Batch.unlabelled(make_batch(2).images)
    assert batch.ids == ("0", "1") and batch.labels.shape == (2, 40, 56) and (batch.labels == IGNORE).all()
