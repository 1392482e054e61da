"""PAnS: its network, its recipe and its score."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from benchmark.methods.pans import PAnS

from benchmark.data import Batch
from benchmark.network import NetworkSpec, Outputs
from benchmark.networks import build_network
from benchmark.recipe import Recipe
from benchmark.registry import METHODS
from benchmark.run.contract import Toy, toy_workshop
from benchmark.run.options import Options


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build_network("pspnet-small", 5, {"head": "cosine"}).eval()
    # Statistics of the features, without which an untrained network gives nearly the same everywhere.
    network.train()
    with torch.no_grad():
        for seed in range(3):
            network(network.prepare(images(seed)).inputs)
    return network.eval()


def images(seed, count=2):
    return torch.randint(0, 256, (count, 3, 64, 88), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def run(network, pixels, scales=(0,)):
    """Score and outputs."""
    batch = Batch(("a", "b"), pixels, torch.zeros(len(pixels), *pixels.shape[-2:], dtype=torch.uint8))
    with torch.no_grad():
        outputs = Outputs([network.segment(pixels, s, 0, ("cosine",)) for s in scales], batch.size)
        return PAnS().score(batch, {"prototypes": lambda _: outputs}), outputs


def test_the_recipe_is_the_papers():
    recipe = PAnS.recipes["pans"]
    expected = dict(
        optimiser="sgd", lr=0.007, momentum=0.9, nesterov=True, weight_decay=1e-4, decay_everything=True,
        schedule="poly", epochs=40, steps_per_epoch=0, batch_size=8, crop=(450, 450), scales=(), flip=True, colour=0.0,
        label_size="full", aux_weight=0.4, seed=42, warmup_steps=0,
    )  # fmt: skip
    assert {name: getattr(recipe, name) for name in expected} == expected
    low, high = recipe.scale_range
    assert 720 * low == pytest.approx(300) and 1280 * high == pytest.approx(1000)


def test_it_asks_for_the_shared_network_with_a_cosine_head():
    base = NetworkSpec(
        "pspnet-small",
        "toy",
        3,
        Recipe(),
        "data",
        (("head", "linear"), ("encoder_weights", "imagenet")),
        (24,),
        99,
        "other.pth",
    )
    (need,) = PAnS().needs(base).values()
    assert need.taps == ("cosine",)
    assert dict(need.network.options) == {"head": "cosine", "encoder_weights": "imagenet"}
    assert need.network.recipe == PAnS.recipes["pans"] and need.network.weights == ""
    unchanged = ("arch", "dataset", "classes", "data", "scales", "max_size")
    assert all(getattr(need.network, name) == getattr(base, name) for name in unchanged)
    (other,) = PAnS(arch="pspnet-resnet50-7x7").needs(base).values()
    assert other.network == dataclasses.replace(need.network, arch="pspnet-resnet50-7x7")


def test_overrides_of_dataset_and_command_line_reach_the_network(tmp_path, monkeypatch):
    overrides = {"pans": {"crop": (32, 40)}, "segmentation": {"lr": 9.0}}
    monkeypatch.setattr(Toy, "policy", dataclasses.replace(Toy.policy, recipes=overrides))
    workshop = toy_workshop(tmp_path, ())
    options = Options(recipe={"pans": {"epochs": 3}}, repetition=2)
    workshop.setup = dataclasses.replace(workshop.setup, options=options)
    method = METHODS.create("pans")
    for _ in range(2):  # asking twice applies them once
        (spec,) = workshop.entry(method).specs
    assert spec.recipe == dataclasses.replace(PAnS.recipes["pans"], crop=(32, 40), epochs=3, seed=2042)


def test_score_is_between_0_and_1_and_follows_the_largest_cosine(network):
    score, outputs = run(network, images(7))
    assert score.shape == (2, 64, 88) and score.dtype == torch.float32
    assert score.min() >= 0 and score.max() <= 1 and score.std() > 0
    cosines = outputs.scales[0].taps["cosine"]
    assert cosines.abs().max() <= 1 + 1e-6 and outputs.scales[0].logits.abs().max() <= 10 + 1e-5
    # At the corners bilinear upsampling repeats the grid's value.
    torch.testing.assert_close(score[:, 0, 0], 0.5 - cosines[:, :, 0, 0].amax(1) / 2)


def test_the_maximum_is_taken_before_upsampling(network):
    score, outputs = run(network, images(7))
    after = (1 - F.interpolate(outputs.scales[0].taps["cosine"], (64, 88), mode="bilinear").amax(1)) / 2
    # A mean of maxima is at least the maximum of means, and differs where the nearest prototype changes.
    assert (score <= after + 1e-6).all() and (after - score).max() > 1e-4


def test_scales_are_averaged_as_confidences(network):
    several = run(network, images(7), (0, 32, 48))[0]
    torch.testing.assert_close(several, sum(run(network, images(7), (s,))[0] for s in (0, 32, 48)) / 3)


def test_only_the_direction_of_features_and_prototypes_counts(network):
    classifier = network.conv_last[4]
    features = torch.randn(2, classifier.in_channels, 4, 5)
    with torch.no_grad():
        first = classifier(features)
        classifier.weight *= torch.rand(5, 1, 1, 1) + 0.5
        torch.testing.assert_close(classifier(features * (torch.rand(2, 1, 4, 5) + 0.1)), first)
