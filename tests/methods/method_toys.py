"""Networks that say what a test wants, and methods fitted on toy images."""

import dataclasses
from pathlib import Path

import torch
from torch import nn

from benchmark.data import Batch, Sample
from benchmark.network import PENULTIMATE, Network, NetworkSpec, Outputs, ScaleOutputs
from benchmark.networks import build_network
from benchmark.pool import Pool
from benchmark.recipe import Recipe
from benchmark.registry import METHODS
from benchmark.run.contract import Toy, rehearsal, toy_workshop
from benchmark.run.outline import Outline

SPEC = NetworkSpec("net", "toy", 3, Recipe())
TAP = "conv_last.2"


def make_batch(count=2, height=40, width=56, seed=0, labels=None):
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.manual_seed(seed))
    if labels is None:
        labels = torch.zeros(count, height, width, dtype=torch.uint8)
    return Batch(tuple(f"{seed}/{i}" for i in range(count)), images, labels)


class Given:
    """A network handle whose outputs are given: one (B, C, h, w) of logits and one dict of taps per test scale.

    The image has the size of the first grid, `stride` times.
    """

    def __init__(self, *scales, taps=(), stride=8, module=None):
        self.size = tuple(stride * side for side in scales[0].shape[-2:])
        self.maps = []
        for logits, features in zip(scales, taps or [{}] * len(scales), strict=True):
            seen = tuple(stride * side for side in logits.shape[-2:])
            features = {**features, **({PENULTIMATE: features[TAP]} if TAP in features else {})}
            self.maps.append(ScaleOutputs(logits, features, seen, seen))
        self.spec = dataclasses.replace(SPEC, classes=scales[0].shape[1])
        self.module = module

    def __call__(self, batch):
        return Outputs(self.maps, self.size)


def score(method, *scales, **keywords):
    """What a method without fit gives for logits at one or several scales."""
    given = Given(*scales, **keywords)
    return method.score(make_batch(len(scales[0]), *given.size), {"base": given})


class Net(Network):
    """Convolution, ReLU, dropout and classifier at 1/8."""

    penultimate = TAP

    def __init__(self, classes=3, width=6, dropout=None):
        super().__init__(classes)
        self.first = nn.Conv2d(3, width, 8, 8)
        self.last = nn.Sequential(dropout or nn.Dropout2d(0.4), nn.Conv2d(width, classes, 1))
        nn.init.normal_(self.last[1].weight, std=2.0)
        self.channels = {TAP: width}

    @property
    def head(self):
        return self.last

    def forward(self, inputs, taps=()):
        features = self.first(inputs).relu()
        return {"logits": self.last(features), **({TAP: features} if TAP in taps else {})}


def view_of(method, network=None, spec=SPEC, precision="fp32"):
    """The method's networks, all of them this one."""
    if network is None:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            network = Net()
    return Pool(lambda _: network, torch.device("cpu"), precision).view(method.needs(spec))


def fit(method, networks, batches):
    """Build, observe and fit without training data of any other kind."""
    method.build(networks)
    with torch.no_grad():
        for batch in batches:
            method.observe(batch, networks)
    method.fit(None, networks)
    return method


class Odd(Toy):
    """The toy images cut to sides that are no multiples of 8."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return Sample(sample.id, sample.image[:, :45, :59].contiguous(), sample.labels[:45, :59].contiguous())

    def fingerprint(self):
        return f"{super().fingerprint()}-odd"


def prepared(call: str, folder: Path, scales=(), data=Toy):
    """A workshop on toy images and a method in it, fitted for one step on an untrained network."""
    method = METHODS.create(call)
    workshop = toy_workshop(folder, tuple(method.recipes), arch=rehearsal(method))
    train, val, test = (data(split, folder) for split in ("train", "val", "test"))
    base = dataclasses.replace(workshop.setup.base, scales=scales, data=train.fingerprint())
    workshop.setup = dataclasses.replace(workshop.setup, train=train, val=val, test=test, base=base)
    workshop.outline = Outline(workshop.setup)
    entry = workshop.entry(METHODS.create(call))
    for spec in {spec.checkpoint for spec in entry.specs}:
        with torch.random.fork_rng([]):
            torch.manual_seed(spec.recipe.seed + spec.recipe.member)
            network = build_network(spec.arch, spec.classes, dict(spec.options))
        workshop.store.save(spec.key, network.state_dict(), {})
    workshop.prepare([entry])
    assert not entry.error, entry.error
    return workshop, entry
