"""Segmentation networks of torchvision behind the same interface; trained from scratch like the others."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn
from torchvision.models import segmentation

from benchmark.errors import BenchmarkError
from benchmark.network import Network

VARIANTS = {
    "deeplabv3_resnet50": "DeepLabV3 on a dilated ResNet-50",
    "deeplabv3_resnet101": "DeepLabV3 on a dilated ResNet-101",
    "fcn_resnet50": "fully convolutional network on a dilated ResNet-50",
    "lraspp_mobilenet_v3_large": "lite reduced ASPP on MobileNetV3 (no penultimate features, no auxiliary loss)",
}


def build(variant: str, classes: int) -> Network:
    """A torchvision network with random initial values.

    Args:
        variant: one of VARIANTS.
        classes: number of known classes C.
    """
    if variant not in VARIANTS:
        raise BenchmarkError(f"There is no network 'tv-{variant}'; known are {', '.join(f'tv-{v}' for v in VARIANTS)}.")
    make = getattr(segmentation, variant)
    if variant.startswith("lraspp"):
        return LiteASPP(make(weights=None, weights_backbone=None, num_classes=classes), classes)
    return ClassifierChain(make(weights=None, weights_backbone=None, num_classes=classes, aux_loss=True), classes)


class ClassifierChain(Network):
    """A network whose classifier is a chain of layers: DeepLabV3 (Chen et al. 2017) and FCN (Long et al. 2015).

    Taps: ``classifier.i``, the output of every layer of the chain before the dropout, and of the last, the logits.
    """

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__(classes)
        self.backbone = model.backbone
        self.classifier = model.classifier
        self.aux_classifier = model.aux_classifier
        last = len(self.classifier) - 1
        dropouts = [i for i, layer in enumerate(self.classifier) if isinstance(layer, nn.Dropout)]
        self._head_start = dropouts[0] if dropouts else last
        self.penultimate = f"classifier.{self._head_start - 1}"
        width = self.classifier[last].in_channels
        self.channels = {f"classifier.{i}": width for i in range(self._head_start)}
        self.channels[f"classifier.{last}"] = classes

    @property
    def head(self) -> nn.Sequential:
        return nn.Sequential(*list(self.classifier)[self._head_start :])  # a slice would be of torchvision's class

    @property
    def dropout(self) -> tuple[str, nn.Sequential] | None:
        """DeepLabV3's is the end of its pyramid of dilated convolutions, the first layer of the chain."""
        first, *others = self.classifier
        last = next(reversed(list(first.modules())))
        return ("classifier.0", nn.Sequential(last, *others)) if isinstance(last, nn.Dropout) else super().dropout

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        features = self.backbone(inputs)
        value = features["out"]
        result = {}
        for i, layer in enumerate(self.classifier):  # none of them works in place
            value = layer(value)
            if f"classifier.{i}" in taps:
                result[f"classifier.{i}"] = value
        result["logits"] = value
        if self.training:
            result["aux"] = self.aux_classifier(features["aux"])
        return result


class LiteASPP(Network):
    """Lite reduced ASPP (Howard et al., "Searching for MobileNetV3", ICCV 2019): a sum of two classifiers, no taps."""

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__(classes)
        self.backbone = model.backbone
        self.classifier = model.classifier

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        return {"logits": self.classifier(self.backbone(inputs))}
