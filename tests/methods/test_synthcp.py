"""SynthCP's score follows its formula, and looks at nothing but the image and what the network says of it."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from benchmark.methods.synthcp import SynthCP, features
from torch import nn

from benchmark.data import Batch
from benchmark.errors import BenchmarkError
from benchmark.network import Network, NetworkSpec, ScaleOutputs
from benchmark.pool import Pool
from benchmark.recipe import Recipe

SIZE = (40, 56)


class Pyramid(Network):
    """Nineteen pyramid channels at 1/8 and a classifier that is sure in bright places."""

    def __init__(self, classes=3, taps=("ppm_cat",)):
        super().__init__(classes)
        self.stem = nn.Conv2d(3, 19, 8, 8)
        self.last = nn.Conv2d(19, classes, 1)
        nn.init.normal_(self.last.weight, std=8)
        self.channels = dict.fromkeys(taps, 19)

    def forward(self, inputs, taps=()):
        pyramid = self.stem(inputs)
        return {"logits": self.last(pyramid), **{tap: pyramid for tap in taps}}


def images(count=2, size=SIZE, seed=0):
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 7, generator=random) * 255
    return F.interpolate(coarse, size).to(torch.uint8)


def batch(count=2, size=SIZE, labels=0):
    return Batch(tuple(map(str, range(count))), images(count, size), torch.full((count, *size), labels).byte())


def connected(scales=(), **options):
    """A built method and its networks."""
    torch.manual_seed(0)
    network = Pyramid(taps=options.pop("taps", ("ppm_cat",)))
    pool = Pool(lambda spec: network, torch.device("cpu"))
    method = SynthCP(**{"width": 64, "height": 32, "channels": 2, **options})
    networks = pool.view(method.needs(NetworkSpec("toy", "d", 3, Recipe(), scales=scales)))
    method.build(networks)
    return method.eval().requires_grad_(False), networks


def test_a_perfect_synthesis_makes_every_unsure_pixel_maximally_confident():
    method, networks = connected(threshold=0.9)
    pixels = batch(1)
    method.synthesise = lambda labels, size: pixels.images
    scores = method.score(pixels, networks)
    confidence = networks["base"](pixels).log_probabilities().exp().amax(1)
    sure = confidence > 0.9
    assert 0 < sure.sum() < sure.numel()
    assert scores[~sure].abs().max() < 1e-6
    assert torch.allclose(scores[sure], 1 - confidence[sure], atol=1e-6)


@pytest.mark.parametrize("scales", [(), (24, 40)])
def test_threshold_minus_one_ranks_as_msp_does(scales):
    method, networks = connected(scales, threshold=-1)
    pixels = batch()
    scores = method.score(pixels, networks).flatten()
    best = networks["base"](pixels).log_probabilities().amax(1).flatten()
    assert torch.allclose(scores, 1 - best.exp(), atol=1e-6)
    assert (scores[best.argsort(descending=True)].diff() >= 0).all()


@pytest.mark.parametrize("chunk", [5, 256])
@pytest.mark.parametrize("scales", [(), (24,), (24, 40, 64)])
def test_threshold_one_is_the_cosine_of_the_mean_features(scales, chunk, monkeypatch):
    monkeypatch.setattr(features, "CHUNK", chunk)
    method, networks = connected(scales, threshold=1)
    pixels, base = batch(), networks["base"]
    synthesis = method.synthesise(base(pixels).prediction(), SIZE)
    means = []
    for shown in (pixels.images, synthesis):
        maps = [s.taps["ppm_cat"] for s in base.run(shown, ("ppm_cat",)).scales]
        means.append(sum(F.interpolate(m, (10, 14), mode="bilinear") for m in maps) / len(maps))
    cosine = F.interpolate(F.cosine_similarity(*means)[:, None], SIZE, mode="bilinear")[:, 0]
    assert torch.allclose(method.score(pixels, networks), 1 - cosine, atol=1e-5)
    assert cosine.min() < 0.9  # the untrained generator paints something else


def test_scales_are_not_kept_side_by_side():
    method, networks = connected((24, 40))
    pixels = batch()
    method.score(pixels, networks)
    assert all(not scale.taps for scale in networks["base"](pixels).scales)


def test_features_lie_where_they_were_seen_beside_padding():
    centres = 8 * torch.arange(6.0) + 4
    ramp = centres.expand(1, 1, 4, 6)
    scale = ScaleOutputs(ramp, {}, padded=(32, 48), covers=(30, 44))
    found = features.add_resized(None, ramp, scale, (30, 44))
    assert found.shape == (1, 1, 8, 11)
    assert torch.allclose(found[0, 0, :, 1:], 4 * torch.arange(1.0, 11) + 2)


@pytest.mark.parametrize("scales", [(), (24, 40)])
@pytest.mark.parametrize("size", [SIZE, (37, 50)])
def test_an_image_is_scored_alone_and_without_its_labels(scales, size):
    method, networks = connected(scales)
    both = method.score(batch(2, size), networks)
    other = batch(2, size, labels=1)
    assert both.shape == (2, *size) and both.dtype == torch.float32
    assert torch.equal(method.score(other, networks), both)
    for index in range(2):
        one = Batch(("a",), other.images[index : index + 1], other.labels[index : index + 1])
        assert torch.allclose(method.score(one, networks), both[index : index + 1], atol=1e-5)


@pytest.mark.parametrize("scales", [(), (24, 40)])
def test_a_network_without_a_pyramid_is_refused(scales):
    with pytest.raises(BenchmarkError, match=r"ppm_cat|pspnet"):
        connected(scales, taps=("layer4",))


@pytest.mark.parametrize(("channels", "published"), [(4096, True), (128, False)])
def test_the_size_follows_the_network(channels, published, monkeypatch):
    asked = []
    monkeypatch.setattr("benchmark.methods.synthcp.method.Generator", lambda *arguments: asked.append(arguments))
    network = SimpleNamespace(channels={"ppm_cat": channels}, tap=str, classes=13)
    SynthCP().build({"base": SimpleNamespace(module=network, spec=None, channels=network.channels.get)})
    assert (asked == [(13, (256, 512), 64)]) == published
    (_, (height, width), _), *_ = asked
    assert width <= 512 and height <= 256


@pytest.mark.parametrize("options", [{"width": 100}, {"height": 33}])
def test_a_size_without_a_start_grid_is_refused(options):
    with pytest.raises(BenchmarkError, match="multiples of 32"):
        connected(**options)
    with pytest.raises(ValueError, match="channels"):
        SynthCP(channels="many")


def test_state_survives_saving():
    method, networks = connected(threshold=1)
    method.train()
    method.generator(torch.eye(3)[:, :, None, None].expand(3, 3, 32, 64).contiguous())
    expected = method.eval().score(batch(), networks)
    fresh, _ = connected(threshold=1)
    nn.init.constant_(fresh.generator.image.bias, 1.0)
    assert not torch.equal(fresh.score(batch(), networks), expected)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(fresh.score(batch(), networks), expected)
    assert all(name.startswith("generator.") for name in method.state_dict())
