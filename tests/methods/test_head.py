"""The last layer as an affine map of every cell, on every network that has one; refused in a sentence where not."""

import pytest
import torch
import torch.nn.functional as F
from benchmark.methods._head import Head, needs_head
from benchmark.methods.energy import Energy
from method_toys import make_batch
from torch import nn

from benchmark.errors import BenchmarkError
from benchmark.network import PENULTIMATE, NetworkSpec
from benchmark.networks import External, build_network
from benchmark.pool import Pool
from benchmark.recipe import Recipe

LINEAR = ("pspnet-small", "fpn-mobilenetv3_small_050", "espnetv2-1.0", "tv-fcn_resnet50", "tv-deeplabv3_resnet50")
CLASSES = 19  # ESPNetv2 then has one output more, which does not count


class Tiny(nn.Module):
    """Logits at 1/4."""

    def __init__(self, outputs, end=nn.Identity, signed=False):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 5, stride=4, padding=2), nn.Identity() if signed else nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(6, outputs, 1), end())

    def forward(self, images):
        return self.classifier(self.trunk(images))


def own(module, **options):
    options = {"taps": {PENULTIMATE: "trunk"}, "head": "classifier", **options}
    return External(module, CLASSES, mean=0.5, std=0.25, **options).eval()


def view(network, arch="own", scales=()):
    spec = NetworkSpec(arch, "toy", CLASSES, Recipe(), scales=scales)
    return Pool(lambda _: network.eval().requires_grad_(False), torch.device("cpu")).view(needs_head(spec))


@pytest.fixture(scope="module", params=[*LINEAR, "own", "own without bias"])
def views(request):
    """A network at its native size (or the one that it has) and, where it has none of its own, at two scales."""
    if request.param == "own":
        network = own(Tiny(CLASSES + 2), exclude=[0, 7])
    elif request.param == "own without bias":
        module = Tiny(CLASSES)
        module.classifier[1] = nn.Conv2d(6, CLASSES, 1, bias=False)
        network = own(module)
    elif request.param.startswith("espnetv2"):
        torch.manual_seed(0)
        network = build_network(request.param, CLASSES, {"native": True})
    else:
        torch.manual_seed(0)
        network = build_network(request.param, CLASSES)
    return [view(network, request.param, scales) for scales in ((), (48, 80))]


def test_nothing_changed_is_the_energy_bit_for_bit(views):
    batch = make_batch(2, 45, 60)
    for networks in views:
        head = Head(networks)
        with torch.no_grad():
            assert torch.equal(head.energy(batch, head.logits), Energy().score(batch, networks))


def test_weight_and_bias_are_those_of_the_convolution(views):
    networks = views[0]
    head = Head(networks)
    (scale,) = networks["base"](make_batch(2, 64, 64)).scales
    features = scale.taps[PENULTIMATE]
    weight, bias = (t.double() for t in head.affine())
    assert weight.shape == (CLASSES, features.shape[1]) and bias.shape == (CLASSES,)
    want = torch.einsum("cd,ndhw->nchw", weight, features.double()) + bias[:, None, None]
    torch.testing.assert_close(head.logits(features).double(), want, rtol=1e-4, atol=1e-5)
    kept = F.conv2d(features, *(t.float() if t.ndim == 1 else t.float()[:, :, None, None] for t in (weight, bias)))
    torch.testing.assert_close(head.upsampled(scale, kept, (64, 64)), networks["base"](make_batch(2, 64, 64)).logits())


@pytest.mark.parametrize(
    ("arch", "options"), [("pspnet-small", {"head": "cosine"}), ("fpn-mobilenetv3_small_050", {"head": "cosine"})]
)
def test_a_cosine_classifier_is_refused(arch, options):
    with pytest.raises(BenchmarkError, match=f"plain 1x1 convolution, and that of {arch} is a CosineClassifier"):
        Head(view(build_network(arch, CLASSES, options), arch))


def test_a_sum_of_two_classifiers_is_refused():
    with pytest.raises(BenchmarkError, match="needs the penultimate features of its network 'base', and tv-lraspp"):
        view(build_network("tv-lraspp_mobilenet_v3_large", CLASSES), "tv-lraspp_mobilenet_v3_large")


def test_a_network_of_the_users_own_names_its_head():
    with pytest.raises(BenchmarkError, match=r"needs the last layer.*own names it by External\(head=...\)"):
        Head(view(own(Tiny(CLASSES), head="")))
    with pytest.raises(BenchmarkError, match="that of own is a Linear"):
        module = Tiny(CLASSES)
        module.classifier = nn.Sequential(nn.Linear(16, 16), nn.Conv2d(6, CLASSES, 1))
        Head(view(own(module)))


def test_a_head_that_does_not_give_the_logits_is_refused():
    class Halved(Tiny):
        def forward(self, images):
            return super().forward(images) / 2

    with pytest.raises(BenchmarkError, match="does not give its logits from the penultimate features"):
        Head(view(own(Halved(CLASSES))))


def test_features_below_zero_are_refused_where_they_make_no_sense():
    networks = view(own(Tiny(CLASSES, signed=True)))
    assert Head(networks)
    with pytest.raises(BenchmarkError, match="features that are never below 0"):
        Head(networks, positive=True)
