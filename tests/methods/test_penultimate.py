"""Methods that read the features before the classifier run on every network that says which these are."""

import dataclasses

import pytest
import torch
from method_toys import make_batch
from torch import nn

from benchmark.data import collate
from benchmark.errors import BenchmarkError
from benchmark.network import PENULTIMATE, NetworkSpec
from benchmark.networks import External, build_network
from benchmark.pool import Need, Pool
from benchmark.recipe import Recipe
from benchmark.registry import METHODS, NETWORKS
from benchmark.run.contract import check_network, toy_workshop
from benchmark.run.outline import Outline

LAST_LAYER = ("scale", "vim:dim=3")
"""Methods that put features through the network's last layer again, and have no option that names the features."""
READERS = ("knn:k=3:bank=200", "mahalanobis", "dicnet:teacher_target=penultimate", "mc_dropout:samples=3", *LAST_LAYER)
FEW = ("pspnet-small", "fpn-tf_efficientnet_lite0")
"""Networks of so few parameters that every reader is tried on them."""
LAYERS = {
    "pspnet-small": "conv_last.2",
    "fpn-tf_efficientnet_lite0": "features",
    "tv-fcn_resnet50": "classifier.2",
    "tv-deeplabv3_resnet50": "classifier.3",
}


class Tiny(nn.Module):
    """Logits at 1/4 from a trunk and a head with dropout."""

    def __init__(self, outputs):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 5, stride=4, padding=2), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(6, outputs, 1))

    def forward(self, images):
        return self.classifier(self.trunk(images))


def own(classes):
    return External(
        Tiny(classes + 1), classes, exclude=[0], taps={PENULTIMATE: "trunk"}, head="classifier", mean=0.5, std=0.25
    )


@pytest.fixture(scope="module")
def networks():
    """Random weights; every network once."""
    made = {}

    def make(arch):
        if arch not in made:
            torch.manual_seed(0)
            made[arch] = build_network(arch, 4, initial=False).eval().requires_grad_(False)
        return made[arch]

    return make


@pytest.fixture
def fitted(tmp_path, networks):
    """A method fitted for one step on toy images with an untrained network."""

    def make(call, arch):
        workshop = toy_workshop(tmp_path, tuple(METHODS.create(call).recipes))
        base = dataclasses.replace(workshop.setup.base, arch=arch)
        workshop.setup = dataclasses.replace(workshop.setup, base=base)
        workshop.outline = Outline(workshop.setup)
        entry = workshop.entry(METHODS.create(call))
        workshop.store.save(base.key, networks(arch).state_dict(), {})
        workshop.prepare([entry])
        return workshop, entry

    return make


@pytest.mark.parametrize("arch", LAYERS)
def test_the_alias_is_what_a_hook_on_the_classifier_sees(arch, networks):
    network, seen = networks(arch), []
    classifier = next(m for m in reversed(list(network.head)) if isinstance(m, nn.Conv2d))
    hook = classifier.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    batch = make_batch(1, 40, 56)
    view = Pool(lambda _: network, torch.device("cpu")).view(
        {"base": Need(NetworkSpec(arch, "toy", 4, Recipe()), (PENULTIMATE,))}
    )
    outputs = view["base"](batch)
    hook.remove()
    (scale,) = outputs.scales
    assert torch.equal(scale.taps[PENULTIMATE], seen[0])
    assert view["base"].channels(PENULTIMATE) == scale.taps[PENULTIMATE].shape[1]
    logits = network.head(scale.taps[PENULTIMATE])
    assert torch.equal(logits, scale.logits)
    torch.testing.assert_close(scale.upsample(logits, outputs.size), outputs.logits())


def test_alias_and_layer_share_one_forward_and_one_tensor(networks, forwards):
    spec = NetworkSpec("pspnet-small", "toy", 4, Recipe(), scales=(40, 56))
    pool = Pool(lambda _: networks("pspnet-small"), torch.device("cpu"))
    views = [pool.view({"base": Need(spec, (tap,))}) for tap in ("conv_last.2", PENULTIMATE, "conv_last.1")]
    batch = make_batch(2, 48, 60)
    scales = [view["base"](batch).scales for view in views]
    assert len(forwards) == len(spec.scales)
    assert all(scale.taps[PENULTIMATE] is scale.taps["conv_last.2"] for scale in scales[0])


@pytest.mark.parametrize(
    ("call", "arch"),
    [
        *((call, arch) for call in READERS for arch in FEW),
        # What a layer is called is the network's matter, not the reader's.
        ("knn:k=3:bank=200", "tv-deeplabv3_resnet50"),
    ],
)
def test_runs_on_networks_of_any_make(call, arch, fitted):
    workshop, entry = fitted(call, arch)
    assert not entry.error
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    with torch.no_grad():
        scores = entry.method.score(batch, entry.networks)
    assert scores.shape == batch.labels.shape and scores.dtype == torch.float32 and scores.isfinite().all()
    assert len(scores.unique()) > 100
    assert "mc" in call or call in LAST_LAYER or LAYERS[arch] in entry.config.values()
    assert PENULTIMATE not in entry.config.values()


@pytest.mark.parametrize("call", READERS)
def test_runs_on_a_network_of_the_users_own_that_names_the_layer(call, fitted, registries):
    NETWORKS.add("own", "here", own)
    assert [f for f in check_network("own") if f.wrong] == []
    workshop, entry = fitted(call, "own")
    assert not entry.error
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    with torch.no_grad():
        assert entry.method.score(batch, entry.networks).isfinite().all()


def test_a_head_of_the_users_own_leaves_out_what_is_excluded():
    network = own(4).eval()
    out = network.segment(make_batch(1).images, taps=(PENULTIMATE,))
    assert out.logits.shape[1] == 4 and torch.equal(network.head(out.taps[PENULTIMATE]), out.logits)
    with pytest.raises(BenchmarkError, match="'classifier' maps the tap 'penultimate' to the logits; name it in taps"):
        External(Tiny(4), 4, taps={"features": "trunk"}, head="classifier")
    with pytest.raises(BenchmarkError, match=r"The head: a Tiny has no submodule 'decoder'"):
        External(Tiny(4), 4, taps={PENULTIMATE: "trunk"}, head="decoder")


def test_the_option_may_name_the_layer_instead(fitted):
    _, alias = fitted("mahalanobis", "pspnet-small")
    _, layer = fitted("mahalanobis:tap=conv_last.2", "pspnet-small")
    expected = {"covariance": "tied", "tap": "conv_last.2", "classes": "labels", "encoder": ""}
    assert alias.config == layer.config == expected
    for name, value in alias.method.state_dict().items():
        assert torch.equal(value, layer.method.state_dict()[name])


@pytest.mark.parametrize("call", READERS)
def test_a_network_that_names_no_penultimate_layer_is_refused_in_one_sentence(call, fitted):
    _, entry = fitted(call, "tv-lraspp_mobilenet_v3_large")
    what = "the features on which the last dropout works" if "mc" in call else "the penultimate features"
    assert entry.error == (
        f"needs {what} of its network 'base', and tv-lraspp_mobilenet_v3_large does not say which these are; it offers "
        f"none."
    )
    assert "mc" in call or call in LAST_LAYER or PENULTIMATE in entry.config.values()


def test_layers_of_another_make_are_refused_with_what_there_is(fitted):
    _, entry = fitted("dicnet:teacher_target=bn_affine", "tv-fcn_resnet50")
    assert "needs the features conv_last.1" in entry.error
    assert "only offers classifier.0" in entry.error and "penultimate for classifier.2" in entry.error
    assert entry.error.endswith("; teacher_target=penultimate takes any network with a penultimate layer.")


def test_a_target_that_nobody_stated_is_one_that_the_network_has(fitted, registries):
    """A dataset's choice counts as unstated: it was made for the networks that are trained on it here."""
    workshop, entry = fitted("dicnet", "fpn-tf_efficientnet_lite0")
    assert (entry.error, entry.method.label) == ("", "dicnet:teacher_target=penultimate")
    assert entry.config["teacher_target"] == "features"
    chosen = workshop.entry(METHODS.create("dicnet", {"dicnet": {"teacher_target": "conv"}}))
    assert (chosen.method.label, chosen.fit_key) == (entry.method.label, entry.fit_key)
    NETWORKS.add("own", "here", own)
    _, entry = fitted("dicnet", "own")
    assert (entry.error, entry.method.label) == ("", "dicnet:teacher_target=penultimate")
    _, entry = fitted("dicnet", "pspnet-small")
    assert (entry.method.label, entry.config["teacher_target"]) == ("dicnet", "bn_affine")


@pytest.mark.parametrize("arch", LAYERS)
def test_layers_from_the_last_dropout_on_sample_as_the_network_in_training_does(arch, networks):
    """Masks of one seed, drawn by the layers alone and by the whole network with that dropout switched on."""
    network, batch = networks(arch), make_batch(1, 40, 56)
    tap, layers = network.dropout
    inputs = network.prepare(batch.images).inputs
    with torch.no_grad():
        out = network(inputs, (tap,))
        assert torch.equal(layers(out[tap]), out["logits"])
        layers[0].train()
        try:
            torch.manual_seed(1)
            alone = layers(out[tap])
            torch.manual_seed(1)
            whole = network(inputs)["logits"]
        finally:
            layers[0].eval()
    assert torch.equal(alone, whole) and not torch.equal(alone, out["logits"])


def test_looking_up_the_layer_draws_no_random_number(tmp_path):
    workshop = toy_workshop(tmp_path, ())
    state = torch.get_rng_state()
    workshop.entry(METHODS.create("knn"))
    assert torch.equal(torch.get_rng_state(), state)
