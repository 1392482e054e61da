"""PSPNet: a dilated timm encoder, pyramid pooling and deep supervision; the network of the StreetHazards papers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.blocks import SYNC_BN, CosineClassifier, PyramidPooling, dilated_encoder, initialise_decoder, timm_name
from benchmark.encoders import Weights, normalisation
from benchmark.errors import BenchmarkError
from benchmark.network import Network
from benchmark.released import Release, ReleasedFile

VARIANTS = {
    "resnet50": "deep-stem dilated ResNet-50, the network of the StreetHazards papers (51.4 M parameters)",
    "resnet101": "deep-stem dilated ResNet-101",
    "resnet50-7x7": "dilated ResNet-50 with the plain 7x7 stem, the encoder of PAnS",
    "resnet34": "dilated ResNet-34",
    "resnet18": "dilated ResNet-18",
    "small": "dilated ResNet-10 of at most 64 channels, for rehearsals on a CPU (0.3 M parameters)",
}

RELEASED = {
    "csail": Release(
        files=(
            ReleasedFile(
                "encoder",
                "the encoder 'resnet50dilated' of CSAIL",
                (
                    ("conv1.", "encoder.conv1.0."),
                    ("bn1.", "encoder.conv1.1."),
                    ("conv2.", "encoder.conv1.3."),
                    ("bn2.", "encoder.conv1.4."),
                    ("conv3.", "encoder.conv1.6."),
                    ("bn3.", "encoder.bn1."),
                    ("layer", "encoder.layer"),
                ),
            ),
            ReleasedFile(
                "decoder",
                "the decoder 'ppm_deepsup' of CSAIL",
                tuple((p, p) for p in ("ppm.", "conv_last.", "cbr_deepsup.", "conv_last_deepsup.")),
            ),
        ),
        source="trained with CSAILVision/semantic-segmentation-pytorch, as the networks of StreetHazards' papers are",
        license="as whoever trained them says; the code base is open source",
        network="pspnet-resnet50",
        outputs=("conv_last.4", "conv_last_deepsup"),
        dropped=SYNC_BN,
    )
}
"""``encoder_epoch_20.pth`` and ``decoder_epoch_20.pth`` or the like."""


def build(
    variant: str, classes: int, encoder_weights: Weights = "none", head: Literal["linear", "cosine"] = "linear"
) -> PSPNet:
    """A PSPNet.

    Args:
        variant: one of VARIANTS, or the name of another four-stage ResNet of timm.
        classes: number of known classes C.
        encoder_weights: what the training of the encoder begins with, random values or those of ImageNet.
        head: "linear", or "cosine" for the classifiers of PAnS.
    Raises:
        BenchmarkError: no such encoder, or it has no ImageNet weights.
    """
    if not variant:
        raise BenchmarkError(f"'pspnet' needs a variant: {', '.join(f'pspnet-{v}' for v in VARIANTS)}.")
    if head not in ("linear", "cosine"):
        raise BenchmarkError(f"The network 'pspnet-{variant}' knows head=linear and head=cosine, not head={head}.")
    return PSPNet(variant, classes, encoder_weights, head)


class PSPNet(Network):
    """PSPNet in the CSAIL layout: ``conv_last(pyramid(layer4))``, and a second classifier on layer3 in training.

    With a ResNet-50: 23,631,808 parameters in the encoder and 27,806,746 in the decoder of 13 classes. With
    narrower encoders than its 2048 channels, the pyramid's branches and the features get narrower, too.

    Taps, all (B, D, h/8, w/8): ``layer4`` the end of the encoder, ``ppm_cat`` the concatenated pyramid,
    ``conv_last.0`` the 3x3 convolution, ``conv_last.1`` its BN, ``conv_last.1.whitened`` the BN without weight and
    bias, ``conv_last.2`` the activation, ``conv_last.4`` the logits, and with the cosine head ``cosine``, the logits
    before scaling.

    Source: Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017; layout and initial values of
        CSAILVision/semantic-segmentation-pytorch (resnet50dilated, ppm_deepsup). Cosine head: Fontanel et al.,
        "Detecting Anomalies in Semantic Segmentation with Prototypes", CVPRW 2021, whose features pass a leaky ReLU.
    """

    penultimate = "conv_last.2"

    def __init__(self, encoder: str, classes: int, encoder_weights: Weights, head: str) -> None:
        begun = timm_name(encoder) if encoder_weights != "none" else ""
        if encoder_weights != "none" and not begun:
            raise BenchmarkError(f"The encoder '{encoder}' has no ImageNet weights; leave out encoder_weights.")
        super().__init__(classes, *(normalisation(begun) if begun else ()))
        self.pretrained = begun
        self.encoder = dilated_encoder(encoder)
        middle, deep = self.encoder.feature_info.channels()
        branch = min(512, deep // 4)
        width = max(64, branch)

        def activation() -> nn.Module:
            return nn.LeakyReLU(0.01) if head == "cosine" else nn.ReLU()

        def classifier() -> nn.Module:
            return CosineClassifier(width, classes) if head == "cosine" else nn.Conv2d(width, classes, 1)

        self.ppm = PyramidPooling(deep, branch)
        self.conv_last = nn.Sequential(
            nn.Conv2d(self.ppm.channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            activation(),
            nn.Dropout2d(0.1),
            classifier(),
        )
        self.cbr_deepsup = nn.Sequential(
            nn.Conv2d(middle, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), activation()
        )
        self.dropout_deepsup = nn.Dropout2d(0.1)
        self.conv_last_deepsup = classifier()
        for part in (self.ppm, self.conv_last, self.cbr_deepsup, self.conv_last_deepsup):
            initialise_decoder(part)
        self.channels = {"layer4": deep, "ppm_cat": self.ppm.channels}
        self.channels.update({f"conv_last.{i}": width for i in ("0", "1", "1.whitened", "2")})
        self.channels["conv_last.4"] = classes
        if head == "cosine":
            self.channels["cosine"] = classes

    @property
    def head(self) -> nn.Sequential:
        return self.conv_last[3:]

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        middle, deep = self.encoder(inputs)
        values = {"layer4": deep, "ppm_cat": self.ppm(deep)}
        # None of these modules works in place, so that every tap keeps what it held.
        values["conv_last.0"] = self.conv_last[0](values["ppm_cat"])
        values["conv_last.1"] = self.conv_last[1](values["conv_last.0"])
        values["conv_last.2"] = self.conv_last[2](values["conv_last.1"])
        values["conv_last.4"] = self.head(values["conv_last.2"])
        if "conv_last.1.whitened" in taps:
            values["conv_last.1.whitened"] = _whiten(self.conv_last[1], values["conv_last.0"])
        if "cosine" in taps:
            values["cosine"] = values["conv_last.4"] / self.conv_last[4].scale
        result = {tap: values[tap] for tap in taps}
        result["logits"] = values["conv_last.4"]
        if self.training:
            result["aux"] = self.conv_last_deepsup(self.dropout_deepsup(self.cbr_deepsup(middle)))
        return result


def _whiten(norm: nn.BatchNorm2d, features: Tensor) -> Tensor:
    """(f - mean) / sqrt(var + eps) with the statistics that the BN itself uses, and none of its weight and bias."""
    if norm.training:
        return F.batch_norm(features, None, None, training=True, eps=norm.eps)
    return F.batch_norm(features, norm.running_mean, norm.running_var, eps=norm.eps)
