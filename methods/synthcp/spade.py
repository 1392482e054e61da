"""The SPADE generator: a label map in, an RGB image out."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from benchmark.errors import BenchmarkError


class Generator(nn.Module):
    """Residual blocks between upsamplings by 2, each normalised by what the label map says of the place.

    It starts from a 3x3 convolution of the label map on a grid of 1/64 of the image ("more" upsampling layers), or of
    1/32 ("normal") where 64 divides a side not. As published (13 classes, 512x256, 64 channels) it starts at 8x4.

    Args:
        classes: C, channels of the one-hot label map.
        size: (H, W) of the image in pixels, multiples of 32.
        width: channels of the last block (ngf); the first has 16 times as many.
    Raises:
        BenchmarkError: a side is no multiple of 32.

    Source: Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019, appendix A;
        without its image encoder, as in SynthCP.
    """

    def __init__(self, classes: int, size: tuple[int, int], width: int) -> None:
        super().__init__()
        if any(side < 32 or side % 32 for side in size):
            raise BenchmarkError(f"SynthCP cannot synthesise {size[1]}x{size[0]} pixels; take multiples of 32.")
        self.size = size
        self.upsamplings = 5 if any(side % 64 for side in size) else 6
        self.start = nn.Conv2d(classes, 16 * width, 3, padding=1)
        channels = [16, 16, 16, 16, 8, 4, 2, 1]
        self.blocks = nn.ModuleList(
            ResidualBlock(a * width, b * width, classes, hidden=min(128, 2 * width)) for a, b in pairwise(channels)
        )
        self.image = nn.Conv2d(width, 3, 3, padding=1)
        initialise(self)

    def forward(self, maps: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [-1, 1] of one-hot label maps (B, C, H, W)."""
        grid = tuple(side >> self.upsamplings for side in self.size)
        features = self.start(F.interpolate(maps, grid))
        for index, block in enumerate(self.blocks):
            # The second and third block share a grid where there are only five upsamplings.
            if index and not (index == 2 and self.upsamplings == 5):
                features = F.interpolate(features, scale_factor=2)
            features = block(features, maps)
        return self.image(F.leaky_relu(features, 0.2)).tanh()


class ResidualBlock(nn.Module):
    """Twice normalisation, leaky ReLU and a spectrally normalised 3x3 convolution, beside a shortcut.

    The shortcut is a normalised 1x1 convolution where the number of channels changes, else the identity.

    Args:
        before: channels of the input.
        after: channels of the output.
        classes: channels of the label map.
        hidden: channels between the label map and the modulation.
    """

    def __init__(self, before: int, after: int, classes: int, hidden: int) -> None:
        super().__init__()
        middle = min(before, after)
        self.norms = nn.ModuleList(SemanticNorm(d, classes, hidden) for d in (before, middle))
        self.convs = nn.ModuleList(
            spectral(nn.Conv2d(a, b, 3, padding=1)) for a, b in ((before, middle), (middle, after))
        )
        self.shortcut_norm = self.shortcut = None
        if before != after:
            self.shortcut_norm = SemanticNorm(before, classes, hidden)
            self.shortcut = spectral(nn.Conv2d(before, after, 1, bias=False))

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        maps = F.interpolate(maps, features.shape[-2:])
        result = features
        for norm, conv in zip(self.norms, self.convs, strict=True):
            result = conv(F.leaky_relu(norm(result, maps), 0.2))
        if self.shortcut is not None:
            features = self.shortcut(self.shortcut_norm(features, maps))
        return features + result


class SemanticNorm(nn.Module):
    """SPADE: ``(1 + gamma(m)) (f - mu) / sigma + beta(m)``, gamma and beta convolutions of the map m.

    Args:
        channels: of the features f.
        classes: channels of m.
        hidden: channels between m and its two convolutions gamma and beta.
    """

    def __init__(self, channels: int, classes: int, hidden: int) -> None:
        super().__init__()
        # Plain batch normalisation in one process, over all GPUs in several.
        self.norm = nn.SyncBatchNorm(channels, affine=False)
        self.shared = nn.Conv2d(classes, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        hidden = F.relu(self.shared(maps))
        return torch.addcmul(self.beta(hidden), self.norm(features), 1 + self.gamma(hidden))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (B, H, W) to float (B, C, H, W); a pixel of no known class (ignored, anomalous) is zero everywhere."""
    return (labels[:, None] == torch.arange(classes, device=labels.device).view(-1, 1, 1)).float()


def spectral(conv: nn.Conv2d) -> nn.Module:
    """The convolution with its initial values and, from then on, a largest singular value of 1."""
    initialise(conv)
    return spectral_norm(conv)


def initialise(module: nn.Module) -> None:
    """Initial values of the reference: Xavier's normal with gain 0.02 for plain convolutions, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and not is_parametrized(part):
            nn.init.xavier_normal_(part.weight, gain=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
