"""PSPNet against the published structure, and what methods rely on: taps, head, sizes, independence in a batch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmark import blocks
from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.networks.pspnet import VARIANTS


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def meta(arch: str, classes: int = 13, **options):
    with torch.device("meta"):
        return build_network(arch, classes, options)


def disturbed(network):
    """Running statistics and BN weights that are not the identity, as after training."""
    generator = torch.Generator().manual_seed(3)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                value += torch.rand(value.shape, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return disturbed(build_network("pspnet-small", 7))


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (2, 3, 45, 61), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def published():
    return meta("pspnet-resnet50").eval()


def test_the_layout_of_the_images_decides_no_bit_of_the_values(small, images):
    planar, rows = (small.normalise(each) for each in (images, images.contiguous(memory_format=torch.channels_last)))
    assert torch.equal(planar, rows)
    assert rows.is_contiguous(memory_format=torch.channels_last)
    expected = (images.double() / 255 - small.mean.double() / 255) / (small.std.double() / 255)
    assert torch.allclose(planar.double(), expected, atol=1e-6)


def test_the_last_row_and_column_continue_to_the_stride(small, images):
    prepared = small.prepare(images)
    inputs, image = prepared.inputs, small.normalise(images)
    assert (prepared.padded, prepared.covers) == ((48, 64), (45, 61)) and torch.equal(inputs[..., :45, :61], image)
    assert torch.equal(inputs[..., :45, 61:], image[..., 60:].expand(-1, -1, -1, 3))
    assert torch.equal(inputs[..., 45:, :], inputs[..., 44:45, :].expand(-1, -1, 3, -1))


def test_parameters_and_tensors_of_the_published_network(published):
    network = published
    assert parameters(network.encoder) == 23_631_808
    assert parameters(network) - parameters(network.encoder) == 27_806_746
    names = network.state_dict()
    assert len([n for n in names if n.startswith("encoder.")]) == 330 and len(names) == 370
    assert network.channels["ppm_cat"] == 4096
    assert all(network.channels[f"conv_last.{i}"] == 512 for i in ("0", "1", "1.whitened", "2"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_gives_its_channels_on_the_grid(variant):
    network = meta(f"pspnet-{variant}", 5).eval()
    result = network(torch.zeros(1, 3, 40, 72, device="meta"), network.channels)
    assert result.keys() == {*network.channels, "logits"}
    for tap, channels in network.channels.items():
        assert result[tap].shape == (1, channels, 5, 9)


@settings(max_examples=15)
@given(st.integers(1, 120), st.integers(1, 170))
def test_grid_of_any_side_8k(published, rows, columns):
    shape = published(torch.zeros(1, 3, 8 * rows, 8 * columns, device="meta"))["logits"].shape
    assert shape == (1, 13, rows, columns)


def test_taps_hold_their_own_values(small, images):
    x = small.prepare(images).inputs
    with torch.no_grad():
        taps = small(x, small.channels)
        norm = small.conv_last[1]
        torch.testing.assert_close(taps["conv_last.0"], F.conv2d(taps["ppm_cat"], small.conv_last[0].weight, padding=1))
        statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
        torch.testing.assert_close(taps["conv_last.1"], F.batch_norm(taps["conv_last.0"], *statistics))
        assert (taps["conv_last.1"] < 0).any()
        assert torch.equal(taps["conv_last.2"], taps["conv_last.1"].relu())
        assert torch.equal(taps["conv_last.4"], taps["logits"])
        affine = taps["conv_last.1.whitened"] * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
        torch.testing.assert_close(affine, taps["conv_last.1"])


def test_affine_flag_after_construction_changes_nothing(small, images):
    x = small.prepare(images).inputs
    with torch.no_grad():
        before = small(x, ["conv_last.1"])["conv_last.1"]
        small.conv_last[1].affine = False
        assert torch.equal(small(x, ["conv_last.1"])["conv_last.1"], before)
    small.conv_last[1].affine = True


def test_whitened_features_in_training_have_mean_0_and_variance_1(images):
    network = build_network("pspnet-small", 7).train()
    x = network.prepare(images).inputs
    steps = network.conv_last[1].num_batches_tracked.clone()
    white = network(x, ["conv_last.1.whitened"])["conv_last.1.whitened"]
    torch.testing.assert_close(white.mean((0, 2, 3)), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(white.var((0, 2, 3), correction=0), torch.ones(64), atol=1e-2, rtol=0)
    assert network.conv_last[1].num_batches_tracked == steps + 1


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_head_maps_the_penultimate_tap_to_the_logits(head, images):
    network = disturbed(build_network("pspnet-small", 7, {"head": head}))
    with torch.no_grad():
        result = network(network.prepare(images).inputs, [network.penultimate])
        assert torch.equal(network.head(result[network.penultimate]), result["logits"])
        network.head.train()
        assert not torch.equal(network.head(result[network.penultimate]), result["logits"])


def test_cosine_head(images):
    network = disturbed(build_network("pspnet-small", 7, {"head": "cosine"}))
    with torch.no_grad():
        taps = network(network.prepare(images).inputs, ["cosine", "conv_last.2"])
    weight = network.conv_last[4].weight[:, :, 0, 0]
    expected = F.cosine_similarity(taps["conv_last.2"].unsqueeze(1), weight[None, :, :, None, None], dim=2)
    torch.testing.assert_close(taps["cosine"], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(taps["logits"], 10 * taps["cosine"])
    assert network.conv_last[4].bias is None and (taps["conv_last.2"] < 0).any()  # leaky


def test_an_image_scores_alike_alone_and_in_a_batch(small, images):
    with torch.no_grad():
        both = small.segment(images).logits
        for i in range(2):
            torch.testing.assert_close(small.segment(images[i : i + 1]).logits[0], both[i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(45, 61), (48, 64), (8, 8), (1, 9)])
def test_odd_sizes_are_padded_and_cut_again(small, size):
    images = torch.zeros(1, 3, *size, dtype=torch.uint8)
    outputs = small.segment(images, taps=["conv_last.2"])
    grid = tuple(-(-s // 8) for s in size)
    assert outputs.logits.shape[2:] == outputs.taps["conv_last.2"].shape[2:] == grid
    assert outputs.upsample(outputs.logits, size).shape == (1, 7, *size)


def test_training_gives_auxiliary_logits_and_gradients_everywhere(images):
    network = build_network("pspnet-small", 7).train()
    result = network(network.prepare(images).inputs)
    assert result["aux"].shape == result["logits"].shape
    (result["logits"].square().mean() + result["aux"].square().mean()).backward()
    assert all(p.grad is not None for p in network.parameters())
    assert "aux" not in network.eval()(network.prepare(images).inputs)


def test_initial_values_of_the_decoder():
    network = build_network("pspnet-resnet18", 13)
    assert all((m.weight == 1).all() and (m.bias == 1e-4).all() for m in network.ppm.modules() if hasattr(m, "eps"))
    weight = network.conv_last[0].weight
    fan_in = weight[0].numel()
    assert weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    "arch, options, words",
    [
        ("pspnet-resnot18", {}, "no encoder 'resnot18'"),
        ("pspnet", {}, "needs a variant.*pspnet-small"),
        ("pspnte-small", {}, "did you mean pspnet"),
        ("pspnet-small", {"heads": 2}, "pspnet-small.*heads.*it knows encoder_weights, head"),
        ("pspnet-small", {"head": "cosin"}, "head=cosine, not head=cosin"),
        ("pspnet-small", {"encoder_weights": "imagenet"}, "'small' has no ImageNet weights; leave out"),
        ("pspnet-vit_tiny_patch16_224", {}, "cannot be dilated"),
    ],
)
def test_wrong_requests(arch, options, words):
    with pytest.raises(BenchmarkError, match=words):
        build_network(arch, 13, options)


def test_averages_of_a_copy_in_the_other_layout_are_the_same(monkeypatch):
    pyramid = blocks.PyramidPooling(16, 4).eval().to(memory_format=torch.channels_last)
    features = torch.rand(2, 16, 23, 31, generator=torch.manual_seed(0)).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = pyramid(features)
        monkeypatch.setattr(blocks, "averages_slowly", lambda features: True)
        found = pyramid(features)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.stride() == expected.stride()
