"""Networks from elsewhere: preprocessing against Pillow, OpenCV and NumPy, outputs, excluded outputs, taps, scales."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from benchmark.data import Batch
from benchmark.errors import BenchmarkError
from benchmark.network import NetworkSpec, Outputs
from benchmark.networks import External, build_network
from benchmark.pool import Need, Pool
from benchmark.recipe import Recipe
from benchmark.registry import NETWORKS

MEAN, STD = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)


class Tiny(nn.Module):
    """Logits at a stride, with a ReLU that overwrites the features before it."""

    def __init__(self, outputs: int, stride: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=stride, padding=1), nn.ReLU(inplace=True))
        self.unused = nn.Conv2d(1, 1, 1)
        self.classifier = nn.Conv2d(6, outputs, 1)

    def forward(self, images):
        return self.classifier(self.body(images))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 3, 45, 70), dtype=torch.uint8)


def as_arrays(images):
    return [np.ascontiguousarray(image) for image in images.permute(0, 2, 3, 1).numpy()]


def by_pillow(kind):
    return lambda image: np.asarray(Image.fromarray(image).resize((40, 24), kind)).astype(np.float64)


def by_pillow_in_floats(image):
    """Pillow resizes floating-point images without rounding."""
    channels = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    return np.stack([np.asarray(c.resize((40, 24), Image.Resampling.BILINEAR)) for c in channels], -1)


FILTERS = {
    "pillow": by_pillow(Image.Resampling.BILINEAR),
    "nearest": by_pillow(Image.Resampling.NEAREST),
    "antialias": by_pillow_in_floats,
    "bilinear": lambda image: cv2.resize(image.astype(np.float32), (40, 24), interpolation=cv2.INTER_LINEAR),
}


@pytest.mark.parametrize("name", FILTERS)
def test_preprocessing_is_what_a_plain_script_does(images, name):
    network = External(Tiny(5), 5, size=(24, 40), mean=MEAN, std=STD, filter=name)
    prepared = network.prepare(images)
    assert (prepared.padded, prepared.covers) == ((24, 40), (24, 40))
    expected = np.stack([(FILTERS[name](a) / 255 - MEAN) / STD for a in as_arrays(images)]).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(prepared.inputs.numpy(), expected, atol=2e-5)


def test_pillow_is_rounded_and_torch_is_not_pillow(images):
    pillow, torchs = (
        External(Tiny(5), 5, size=(24, 40), filter=f).resize(images, (24, 40)) for f in ("pillow", "antialias")
    )
    assert pillow.dtype == torch.uint8 and torchs.dtype == torch.float32
    assert not torch.equal(pillow, torchs.round().byte())
    perturbed = images.float().requires_grad_()
    External(Tiny(5), 5, size=(24, 40), filter="pillow").segment(perturbed).logits.sum().backward()
    assert perturbed.grad.abs().sum() > 0


def test_plain_values_at_the_native_size(images):
    prepared = External(Tiny(5), 5, mean=0, std=1, stride=1).prepare(images)
    assert torch.equal(prepared.inputs, images.float() / 255)
    padded = External(Tiny(5), 5, mean=0, std=1).prepare(images)
    assert padded.padded == (48, 72) and padded.covers == (45, 70)


def test_unknown_filter():
    with pytest.raises(
        BenchmarkError, match="no resize filter 'cubic'; there are antialias, bilinear, nearest, pillow"
    ):
        External(Tiny(5), 5, filter="cubic")


@pytest.mark.parametrize(("stride", "size"), [(1, None), (16, None), (4, (24, 40))])
def test_outputs_of_any_stride_are_upsampled_to_the_image(images, stride, size):
    module = Tiny(5, stride)
    network = External(module, 5, size=size, stride=16).eval()
    found = Outputs([network.segment(images)], (45, 70)).logits()
    prepared = network.prepare(images)
    logits = module(prepared.inputs)
    if size:
        expected = F.interpolate(logits, (45, 70), mode="bilinear")
    else:
        expected = F.interpolate(logits, prepared.padded, mode="bilinear")[..., :45, :70]
    torch.testing.assert_close(found, expected)


def test_excluded_outputs_are_gone_before_the_softmax(images):
    module = Tiny(6)
    outputs = Outputs([External(module, 4, exclude=[5, 1], stride=1).segment(images)], (45, 70))
    raw = F.interpolate(module(External(module, 6, stride=1).prepare(images).inputs), (45, 70), mode="bilinear")
    torch.testing.assert_close(outputs.log_probabilities(), F.log_softmax(raw[:, [0, 2, 3, 4]], dim=1))


@pytest.mark.parametrize(
    ("classes", "exclude", "words"), [(5, (), "gives 6 outputs where 5"), (6, (0,), "6 outputs, 1 of them")]
)
def test_a_number_of_outputs_that_was_not_asked_for(images, classes, exclude, words):
    with pytest.raises(BenchmarkError, match=f"{words}.*exclude=.*--classes NAME\\+1"):
        External(Tiny(6), classes, exclude=exclude).segment(images)


def test_an_output_beyond_the_classes_is_no_answer_of_the_segmentation(images):
    network = External(Tiny(6), 6)
    with torch.no_grad():
        network.module.classifier.bias[5] += 100  # void everywhere
    one = [network.segment(images)]
    for scales in (one, [*one, network.segment(images, 24)]):
        outputs = Outputs(scales, (45, 70))
        assert (outputs.prediction() == 5).all() and (outputs.prediction(6) == 5).all()
        assert torch.equal(outputs.prediction(5), outputs.log_probabilities()[:, :5].argmax(1))


def test_taps_keep_what_the_module_overwrites(images):
    module = Tiny(5).eval()
    network = External(module, 5, stride=1, taps={"raw": "body.0", "features": "body"}).train()
    assert network.channels == {"raw": 6, "features": 6} and module.training
    result = network(network.prepare(images).inputs, ("raw", "features"))
    raw = module.body[0](network.prepare(images).inputs)
    assert (raw < 0).any() and torch.equal(result["raw"], raw) and torch.equal(result["features"], raw.relu())
    assert set(network(network.prepare(images).inputs)) == {"logits"}
    assert not module.body[0]._forward_hooks


def test_taps_that_cannot_be():
    with pytest.raises(BenchmarkError, match=r"tap 'x': a Tiny has no submodule 'body\.7'"):
        External(Tiny(5), 5, taps={"x": "body.7"})
    with pytest.raises(BenchmarkError, match="forward of Tiny passes no x"):
        External(Tiny(5), 5, taps={"x": "unused"})


class Answer(Tiny):
    form = staticmethod(lambda logits: logits)

    def forward(self, images):
        return self.form(super().forward(images))


@pytest.mark.parametrize(
    "form",
    [lambda x: {"aux": 2 * x, "out": x}, lambda x: {"logits": x, "out": 2 * x}, lambda x: (x, 2 * x), lambda x: [x]],
)
def test_forms_of_the_output(images, form):
    module = Answer(5)
    expected = External(module, 5).segment(images).logits
    module.form = form
    assert torch.equal(External(module, 5).segment(images).logits, expected)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (lambda x: {"masks": x}, "a dict"),
        (lambda x: x.mean((2, 3)), r"a tensor of shape \(2, 5\)"),
        (lambda x: None, "a NoneType"),
    ],
)
def test_an_output_without_maps_of_logits(images, form, words):
    module = Answer(5)
    module.form = form
    with pytest.raises(BenchmarkError, match=f"The network gives {words} and must give maps"):
        External(module, 5).segment(images)


def test_test_scales_are_for_networks_of_any_size(images):
    network = External(Tiny(5), 5, mean=MEAN, std=STD, filter="pillow")
    found = network.segment(images, 24)
    arrays = [Image.fromarray(a).resize((40, 24), Image.Resampling.BILINEAR) for a in as_arrays(images)]
    inputs = np.stack([(np.asarray(a) / 255 - MEAN) / STD for a in arrays]).transpose(0, 3, 1, 2)
    torch.testing.assert_close(found.logits, network.module(torch.from_numpy(inputs).float()))
    with pytest.raises(
        BenchmarkError, match="resizes every image to 40x24 and has no other scales; leave out --scales"
    ):
        External(Tiny(5), 5, size=(24, 40)).segment(images, 24)


class Viewing(Tiny):
    def forward(self, images):
        features = self.body(images)
        return self.classifier(features.view(len(features), 6, -1).view_as(features))


def test_in_the_pool_activations_can_be_viewed(images):
    spec = NetworkSpec("viewing", "d", 5, Recipe())
    pool = Pool(lambda s: External(Viewing(5), 5, taps={"features": "body"}), torch.device("cpu"))
    networks = pool.view({"base": Need(spec, ("features",))})
    batch = Batch(("a", "b"), images, torch.zeros(2, 45, 70, dtype=torch.uint8))
    outputs = networks["base"](batch)
    assert outputs.logits().shape == (2, 5, 45, 70) and outputs.scales[0].taps["features"].shape[1] == 6


@pytest.mark.parametrize(
    "build",
    [
        lambda classes: Tiny(classes),
        lambda variant, classes: External(Tiny(classes), classes),
        lambda classes, stride=4: Tiny(classes, stride),
        lambda: Tiny(5),
    ],
)
def test_what_a_registered_function_may_be(registries, images, build):
    NETWORKS.add("mine", "here", build)
    network = build_network("mine", 5).eval()
    assert network.segment(images).logits.shape[:2] == (2, 5) and network.classes == 5
    with pytest.raises(BenchmarkError, match=r"The network 'mine': .*'depth'; it knows (stride|no options)"):
        build_network("mine", 5, {"depth": 3})


def test_a_function_that_returns_no_module(registries):
    NETWORKS.add("mine", "here", lambda classes: "weights.pth")
    with pytest.raises(BenchmarkError, match=r"'mine': its function returned a str and must return an nn\.Module"):
        build_network("mine", 5)
