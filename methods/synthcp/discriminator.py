"""The discriminator of the generator's training: patches at two scales, judged together with their labels."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .spade import initialise, spectral

SCALES = 2


class Discriminator(nn.Module):
    """Two patch discriminators of equal form, one at full and one at half resolution.

    Args:
        classes: C, channels of the one-hot label map.
        width: channels of the first convolution (ndf), 64 as published.

    Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018,
        with the spectral normalisation of Park et al., CVPR 2019.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_patches(classes + 3, width) for _ in range(SCALES))
        initialise(self)

    def forward(self, maps: Tensor, images: Tensor) -> list[list[Tensor]]:
        """For each scale the features of every layer; the last is the judgement, one value per patch.

        Args:
            maps: one-hot (B, C, H, W).
            images: (B, 3, H, W) in [-1, 1].
        """
        pair = torch.cat([maps, images], dim=1)
        results = []
        for layers in self.scales:
            features = [pair]
            for layer in layers:
                features.append(layer(features[-1]))
            results.append(features[1:])
            pair = F.avg_pool2d(pair, 3, stride=2, padding=1, count_include_pad=False)
        return results


def _patches(channels: int, width: int) -> nn.Sequential:
    """Five 4x4 convolutions, three of stride 2; those in between are spectrally and instance normalised."""
    widths = [width, 2 * width, min(4 * width, 512), min(8 * width, 512)]
    layers = [nn.Sequential(nn.Conv2d(channels, width, 4, stride=2, padding=2), nn.LeakyReLU(0.2))]
    for index, (before, after) in enumerate(pairwise(widths)):
        # Instance normalisation subtracts any bias.
        conv = spectral(nn.Conv2d(before, after, 4, stride=2 if index < 2 else 1, padding=2, bias=False))
        layers.append(nn.Sequential(conv, nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)))
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=2))
