"""The perceptual loss, where the weights of its VGG network lie on this machine."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import BenchmarkError

_SLICES = ((2, 1 / 32), (7, 1 / 16), (12, 1 / 8), (21, 1 / 4), (30, 1.0))  # layers up to relu1_1 .. relu5_1, weight


class Perceptual(nn.Module):
    """``sum_l w_l mean |V_l(a) - V_l(b)|`` over five layers of an ImageNet VGG-19.

    Source: Wang et al., CVPR 2018. As in the reference of SPADE, images go in as they are, in [-1, 1].
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers.requires_grad_(False).eval()

    @classmethod
    def from_cache(cls) -> Perceptual | None:
        """With the weights in torch's download cache, None where they are not; nothing is ever downloaded.

        Raises:
            BenchmarkError: the cached file cannot be read.
        """
        path = cached_file()
        if not path.is_file():
            return None
        from torchvision.models import vgg19  # takes as long as torch: only where it is needed

        with torch.device("meta"):  # the classifier's 0.5 GB are never made
            layers = vgg19(init_weights=False).features[: _SLICES[-1][0]]
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            layers.load_state_dict({name: state[f"features.{name}"] for name in layers.state_dict()}, assign=True)
        except Exception as error:  # a damaged archive fails in many ways
            raise BenchmarkError(f"{path} is not torchvision's VGG-19 ({type(error).__name__}); delete it.") from error
        return cls(layers)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Distance of images (B, 3, H, W) to targets, which get no gradient."""
        total, start = 0.0, 0
        for stop, weight in _SLICES:
            images = self.layers[start:stop](images)
            with torch.no_grad():
                targets = self.layers[start:stop](targets)
            total = total + weight * F.l1_loss(images.float(), targets.float())
            start = stop
        return total


def cached_file() -> Path:
    """Where torchvision keeps the VGG-19 weights that it has downloaded."""
    from torchvision.models import VGG19_Weights

    return Path(torch.hub.get_dir()) / "checkpoints" / VGG19_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
