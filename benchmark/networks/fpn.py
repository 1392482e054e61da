"""A feature pyramid on any encoder of timm: quick on a CPU, and good within minutes where the encoder is pretrained."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.blocks import CosineClassifier, initialise_decoder
from benchmark.encoders import Weights, normalisation, timm_encoder
from benchmark.errors import BenchmarkError
from benchmark.network import Network
from benchmark.values import Range

VARIANTS = {
    "tf_efficientnet_lite0": "feature pyramid on EfficientNet-Lite0 (3.1 M parameters)",
    "mobilenetv2_100": "feature pyramid on MobileNetV2",
    "ENCODER": "feature pyramid on any other encoder of timm with feature maps at strides 4 to 32",
}
STRIDES = (4, 8, 16, 32)


def build(
    variant: str,
    classes: int,
    encoder_weights: Weights = "none",
    head: Literal["linear", "cosine"] = "linear",
    width: Annotated[int, Range(8, 1024)] = 128,
    stride: Literal[4, 8] = 8,
) -> FPN:
    """A feature pyramid network.

    Args:
        variant: timm's name of the encoder.
        classes: number of known classes C.
        encoder_weights: what the training of the encoder begins with, random values or those of ImageNet.
        head: "linear", or "cosine" for the classifiers of PAnS.
        width: channels of the pyramid and of the penultimate features.
        stride: pixels per cell of the penultimate features and of the logits.
    Raises:
        BenchmarkError: no such encoder, or it has no feature maps at strides 4 and 8.
    """
    if not variant:
        raise BenchmarkError("'fpn' needs an encoder of timm, for instance fpn-tf_efficientnet_lite0.")
    return FPN(variant, classes, encoder_weights, head, width, stride)


class FPN(Network):
    """Encoder levels at strides 4 to 32, added from the deepest to the finest, each sum smoothed; one classifier.

    Every level passes a 1x1 convolution to `width` channels; the sum with the level above, doubled in size bilinearly,
    passes a depthwise-separable 3x3 convolution (so much quicker than a full one on a CPU that the whole decoder costs
    about as much as the encoder). The last of these has the stride that brings the sum at 4 to the stride of the
    logits. Nothing is dilated: dilated depthwise convolutions are several times slower on CPUs.

    Taps: ``encoder.4`` .. ``encoder.32``, the levels of the encoder that it has (B, D, h/s, w/s); ``features``, what
    the classifier sees, and the logits (B, D, h/stride, w/stride); with the cosine head ``cosine``, the logits before
    scaling.

    Source: Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, with the additions and the single
        classifier of Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019, and SwiftNet (Orsic et al., "In
        Defense of Pre-trained ImageNet Architectures", CVPR 2019).
    """

    penultimate = "features"

    def __init__(self, encoder: str, classes: int, encoder_weights: Weights, head: str, width: int, out: int) -> None:
        super().__init__(classes, *normalisation(encoder))
        self.pretrained = encoder if encoder_weights != "none" else ""
        reductions = timm_encoder(encoder).feature_info.reduction()
        kept = [i for i, reduction in enumerate(reductions) if reduction in STRIDES]
        self.levels = [reductions[i] for i in kept]
        if self.levels[:2] != [4, 8] or len(set(self.levels)) < len(self.levels):
            raise BenchmarkError(f"The encoder '{encoder}' has feature maps at strides {reductions}, not at 4 and 8.")
        self.encoder = timm_encoder(encoder, out_indices=tuple(kept))
        self.stride = self.levels[-1]
        channels = self.encoder.feature_info.channels()
        self.lateral = nn.ModuleList(_normed(nn.Conv2d(depth, width, 1, bias=False)) for depth in channels)
        slope = 0.01 if head == "cosine" else 0.0  # as of PSPNet's, whose angles then have more than one quadrant
        self.blend = nn.ModuleList(
            _separable(width, out // 4 if level == 4 else 1, slope) for level in self.levels[:-1]
        )
        self.classifier = nn.Sequential(
            nn.Dropout2d(0.1),
            CosineClassifier(width, classes) if head == "cosine" else nn.Conv2d(width, classes, 1),
        )
        for part in (self.lateral, self.blend, self.classifier):
            initialise_decoder(part)
        self.channels = {f"encoder.{level}": depth for level, depth in zip(self.levels, channels, strict=True)}
        self.channels |= {"features": width, "logits": classes}
        if head == "cosine":
            self.channels["cosine"] = classes

    @property
    def head(self) -> nn.Sequential:
        return self.classifier

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        maps = self.encoder(inputs)
        values = {f"encoder.{level}": found for level, found in zip(self.levels, maps, strict=True)}
        total = self.lateral[-1](maps[-1])
        for found, lateral, blend in zip(maps[-2::-1], self.lateral[-2::-1], self.blend[::-1], strict=True):
            side = lateral(found)
            total = blend(side + F.interpolate(total, side.shape[-2:], mode="bilinear", align_corners=False))
        values["features"] = total
        logits = values["logits"] = self.classifier(total)
        if "cosine" in taps:
            values["cosine"] = logits / self.classifier[1].scale
        return {"logits": logits, **{tap: values[tap] for tap in taps}}


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


def _separable(width: int, stride: int, slope: float) -> nn.Sequential:
    """A 3x3 convolution of every channel and a 1x1 convolution of all, and a ReLU with that slope below 0.

    The activations do not work in place, as taps and hooks may hold what went in.
    """
    return nn.Sequential(
        nn.ReLU(),
        *_normed(nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False)),
        nn.ReLU(),
        *_normed(nn.Conv2d(width, width, 1, bias=False)),
        nn.LeakyReLU(slope) if slope else nn.ReLU(),
    )
