"""The feature pyramid and the frozen encoder: taps, strides, head, normalisation, initial values."""

import pytest
import timm
import torch
import torch.nn.functional as F
from harness import DEVICES
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_INCEPTION_MEAN,
    IMAGENET_INCEPTION_STD,
)

from benchmark.encoders import FOLDER, frozen, timm_encoder
from benchmark.errors import BenchmarkError
from benchmark.network import PENULTIMATE
from benchmark.networks import build_network, network_of
from benchmark.recipe import Recipe
from benchmark.run.contract import check_network
from benchmark.training.task import make_optimiser

TINY = "test_efficientnet"


def images(height=45, width=61):
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Weights of the tiny encoder in the user's folder."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    torch.manual_seed(5)
    state = timm.create_model(TINY).state_dict()
    torch.save(state, tmp_path / f"{TINY}.pth")
    return state


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("arch", [f"fpn-{TINY}", "fpn-test_resnet"])
def test_it_keeps_the_contract_of_networks(arch, device):
    torch.manual_seed(0)
    assert [f"{finding.clause}: {finding.wrong}" for finding in check_network(arch, device) if finding.wrong] == []


@pytest.mark.parametrize("stride", [4, 8])
def test_taps_lie_at_their_strides(stride):
    network = build_network(f"fpn-{TINY}", 7, {"stride": stride, "width": 24}).eval()
    with torch.no_grad():
        out = network.segment(images(), taps=(*network.channels, PENULTIMATE))
    assert out.padded == (64, 64) and out.covers == (45, 61)
    sides = {"encoder.4": 16, "encoder.8": 8, "encoder.16": 4, "encoder.32": 2, "features": 64 // stride}
    assert {name: out.taps[name].shape[-1] for name in sides} == sides
    assert out.logits.shape == (2, 7, 64 // stride, 64 // stride) and network.channels["features"] == 24
    assert torch.equal(out.taps[PENULTIMATE], out.taps["features"])


def test_every_level_of_the_encoder_reaches_the_logits():
    network = build_network(f"fpn-{TINY}", 7).eval()
    taps = ("encoder.4", "encoder.8", "encoder.16", "encoder.32")
    inputs = network.prepare(images()).inputs
    result = network(inputs, taps)
    gradients = torch.autograd.grad(result["logits"].square().sum(), [result[tap] for tap in taps])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_the_cosine_head_gives_angles():
    network = build_network(f"fpn-{TINY}", 7, {"head": "cosine"}).eval()
    with torch.no_grad():
        out = network.segment(images(), taps=("cosine", "features"))
    prototypes = F.normalize(network.head[-1].weight[:, :, 0, 0], dim=1)
    expected = torch.einsum("bdhw,cd->bchw", F.normalize(out.taps["features"], dim=1), prototypes)
    torch.testing.assert_close(out.taps["cosine"], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.logits, 10 * expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("arch", "options", "words"),
    [
        ("fpn", {}, "needs an encoder of timm"),
        ("fpn-resnot18", {}, "no encoder 'resnot18'"),
        ("fpn-test_vit", {}, "not at 4 and 8"),
        (f"fpn-{TINY}", {"heads": 2}, "heads.*it knows encoder_weights, head, width, stride"),
        (f"frozen-{TINY}", {}, f"segments nothing; take --network fpn-{TINY}"),
    ],
)
def test_wrong_requests(arch, options, words):
    with pytest.raises(BenchmarkError, match=words):
        build_network(arch, 13, options)


@pytest.mark.parametrize("arch", [f"fpn-{TINY}", "pspnet-test_resnet"])
def test_its_encoder_begins_with_the_weights_that_are_asked_for(tmp_path, monkeypatch, arch):
    encoder = arch.partition("-")[2]
    monkeypatch.setenv(FOLDER, str(tmp_path))
    torch.manual_seed(5)
    state = timm.create_model(encoder).state_dict()
    torch.save(state, tmp_path / f"{encoder}.pth")
    torch.manual_seed(6)
    begun, random = (build_network(arch, 7, {"encoder_weights": w}) for w in ("imagenet", "none"))
    assert all(torch.equal(value, state[name]) for name, value in begun.encoder.state_dict().items())
    assert not all(torch.equal(value, state[name]) for name, value in random.encoder.state_dict().items())
    (tmp_path / f"{encoder}.pth").unlink()
    build_network(arch, 7, {"encoder_weights": "imagenet"}, initial=False)  # needs no file, others will be loaded
    with pytest.raises(BenchmarkError, match=f"weights of the encoder '{encoder}' are not on this machine"):
        build_network(arch, 7, {"encoder_weights": "imagenet"})


@pytest.mark.parametrize(
    ("arch", "options", "mean", "std"),
    [
        ("fpn-tf_efficientnet_lite0", {}, IMAGENET_INCEPTION_MEAN, IMAGENET_INCEPTION_STD),
        ("fpn-mobilenetv2_100", {}, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        ("pspnet-resnet18", {"encoder_weights": "imagenet"}, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        ("pspnet-small", {}, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    ],
)
def test_images_are_normalised_as_in_the_training_of_the_encoder(arch, options, mean, std):
    network = build_network(arch, 7, options, initial=False)
    for found, expected in ((network.mean, mean), (network.std, std)):
        torch.testing.assert_close(found.flatten(), 255 * torch.tensor(expected))


def test_a_pretrained_encoder_learns_at_its_own_rate(weights):
    recipe = Recipe(optimiser="adamw", lr=1e-3, encoder_lr=0.25)
    network = build_network(f"fpn-{TINY}", 7, {"encoder_weights": "imagenet"})
    rates = {
        id(parameter): group["lr"]
        for group in make_optimiser(network, recipe).param_groups
        for parameter in group["params"]
    }
    assert {rates[id(p)] for p in network.encoder.parameters()} == {0.25e-3}
    assert {rates[id(p)] for p in network.classifier.parameters()} == {1e-3}
    assert len(rates) == len(list(network.parameters()))


def test_an_encoder_that_begins_at_random_learns_like_the_rest():
    network = build_network(f"fpn-{TINY}", 7)
    groups = make_optimiser(network, Recipe(lr=1e-3, encoder_lr=0.25)).param_groups
    assert {group["lr"] for group in groups} == {1e-3}


def test_a_frozen_encoder_gives_what_timm_gives(weights):
    network = network_of(frozen(TINY)).eval()
    encoder = timm_encoder(TINY)
    encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    pixels = images(64, 96)
    with torch.no_grad():
        out = network.segment(pixels, taps=("8", "32"))
        expected = encoder.eval()((pixels / 255 - network.mean / 255) / (network.std / 255))
    torch.testing.assert_close(out.taps["8"], expected[2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(out.taps["32"], expected[4], atol=1e-4, rtol=1e-4)
    assert out.logits.shape == (2, 0, 8, 12) and set(network.channels) == {"2", "4", "8", "16", "32"}


def test_a_size_is_the_short_side_that_the_encoder_sees():
    network = network_of(frozen(f"{TINY}-64", weights="none")).eval()
    pixels = images(128, 192)
    with torch.no_grad():
        out = network.segment(pixels, taps=("16",))
        scaled = network.segment(pixels, scale=64, taps=("16",))
    assert out.padded == (64, 96) and torch.equal(out.taps["16"], scaled.taps["16"])
    assert out.upsample(out.taps["16"], (128, 192)).shape[-2:] == (128, 192)


def test_images_of_that_size_are_padded_as_they_are():
    sized, plain = (network_of(frozen(name, weights="none")).eval() for name in (f"{TINY}-60", TINY))
    assert torch.equal(sized.prepare(images(60, 100)).inputs, plain.prepare(images(60, 100)).inputs)


@pytest.mark.parametrize("encoder", [f"{TINY}-", f"{TINY}-half", f"{TINY}-8", f"{TINY}--64"])
def test_what_is_no_size_is_refused(encoder):
    with pytest.raises(BenchmarkError, match=f"names no size; write {TINY}-360"):
        frozen(encoder)


def test_a_network_that_is_trained_has_no_size():
    with pytest.raises(BenchmarkError, match="no encoder 'tf_efficientnet_lite0-360'"):
        build_network("fpn-tf_efficientnet_lite0-360", 3)


def test_patch_tokens_of_a_transformer_are_a_map():
    spec = frozen("test_vit", weights="none")
    network = network_of(spec).eval()
    assert set(network.channels) == {f"blocks.{i}" for i in range(6)} and network.stride == 16
    seen = []
    network.encoder.model.blocks[3].register_forward_hook(lambda block, inputs, output: seen.append(output))
    with torch.no_grad():
        out = network.segment(images(60, 100), taps=("blocks.3",))
    assert out.padded == out.covers == (64, 112), "resized, since the patches must cover the image"
    (tokens,) = seen
    patches = tokens[:, network.encoder.model.num_prefix_tokens :]
    expected = patches.transpose(1, 2).reshape(2, 64, 4, 7)
    torch.testing.assert_close(out.taps["blocks.3"], expected)


def test_random_frozen_encoders_have_no_digest_and_other_sizes_other_keys():
    plain, half = frozen(TINY, weights="none"), frozen(f"{TINY}-64", weights="none")
    assert plain.frozen and plain.pretrained == "" and plain.key != half.key


def test_the_key_follows_the_weights(weights, tmp_path):
    before = frozen(TINY)
    weights["conv_stem.weight"] = weights["conv_stem.weight"] + 1
    torch.save(weights, tmp_path / f"{TINY}.pth")
    assert frozen(TINY).key != before.key
    with pytest.raises(BenchmarkError, match="were changed while this command ran"):
        network_of(before)
