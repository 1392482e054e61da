"""DiCNet's student: a dilated encoder and pyramid pooling that end in plain features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.blocks import PyramidPooling, dilated_encoder, initialise_decoder


class Student(nn.Module):
    """``conv3x3(pyramid(encoder(x)))``, without normalisation, bias or activation after the convolution.

    As published (ResNet-34, 512 channels): 34,133,824 parameters. Its 7x7 stem is padded by 1 instead of 3, which the
    released weights expect; an image of any sides 8k still gives k cells. The authors' encoder starts from ImageNet,
    this one from random values.

    Args:
        out_channels: D, the channels of the teacher's feature.
        encoder: "resnet34", "small" for narrow teachers, or another four-stage ResNet of timm.

    Source: Zhou et al., arXiv 2112.09908; zhouhuan-hust/DiCNet.
    """

    def __init__(self, out_channels: int = 512, encoder: str = "resnet34") -> None:
        super().__init__()
        self.encoder = dilated_encoder(encoder, stages=(4,))
        stem = self.encoder.conv1
        if isinstance(stem, nn.Conv2d) and stem.kernel_size == (7, 7):
            stem.padding = (1, 1)
        (deep,) = self.encoder.feature_info.channels()
        self.ppm = PyramidPooling(deep, deep if encoder != "small" else deep // 4)
        self.conv_last = nn.Conv2d(self.ppm.channels, out_channels, 3, padding=1, bias=False)
        for part in (self.ppm, self.conv_last):
            initialise_decoder(part)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features (B, D, h/8, w/8) of normalised images (B, 3, h, w) whose sides are multiples of 8."""
        (deep,) = self.encoder(inputs)
        return self.conv_last(self.ppm(deep))


def on_grid_of(teacher: Tensor, features: Tensor) -> Tensor:
    """Features (B, D, h, w) at the teacher's (B, D, h', w'): as they are at its stride 8, else bilinearly resized."""
    size = teacher.shape[-2:]
    if features.shape[-2:] == size:
        return features
    return F.interpolate(features, size, mode="bilinear", align_corners=False)
