"""torchvision's networks behind the common interface."""

import pytest
import torch
from torchvision.models import segmentation

from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.networks.tv import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_channels_and_grid(variant):
    with torch.device("meta"):
        network = build_network(f"tv-{variant}", 5).eval()
        result = network(torch.zeros(1, 3, 40, 72), network.channels)
    assert result["logits"].shape == (1, 5, 5, 9)
    assert all(result[tap].shape == (1, n, 5, 9) for tap, n in network.channels.items())


@pytest.mark.parametrize("variant", ["fcn_resnet50", "lraspp_mobilenet_v3_large"])
def test_same_as_torchvision(variant):
    torch.manual_seed(0)
    network = build_network(f"tv-{variant}", 5).eval()
    auxiliary = {} if variant.startswith("lraspp") else {"aux_loss": True}
    original = getattr(segmentation, variant)(weights=None, weights_backbone=None, num_classes=5, **auxiliary).eval()
    original.load_state_dict({n: v for n, v in network.state_dict().items() if n not in ("mean", "std")})
    x = torch.randn(1, 3, 32, 40)
    with torch.no_grad():
        result = network(x, [network.penultimate] if network.penultimate else [])
        expected = original(x)["out"]
        logits = torch.nn.functional.interpolate(result["logits"], (32, 40), mode="bilinear", align_corners=False)
        torch.testing.assert_close(logits, expected)
        if network.penultimate:
            assert torch.equal(network.head(result[network.penultimate]), result["logits"])


def test_penultimate_is_what_the_last_convolution_sees():
    with torch.device("meta"):
        deeplab, fcn = (build_network(f"tv-{v}", 5) for v in ("deeplabv3_resnet50", "fcn_resnet50"))
    assert (deeplab.penultimate, fcn.penultimate) == ("classifier.3", "classifier.2")
    assert (len(deeplab.head), len(fcn.head)) == (1, 2)  # FCN has a dropout before the convolution


def test_unknown_variant():
    with pytest.raises(BenchmarkError, match="no network 'tv-unet'; known are tv-deeplabv3_resnet50"):
        build_network("tv-unet", 5)
