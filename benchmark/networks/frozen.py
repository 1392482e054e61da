"""A pretrained encoder of timm as it is: features for methods, no logits, nothing to train."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import torch
from torch import Tensor

from benchmark.encoders import Weights, normalisation, timm_encoder
from benchmark.errors import BenchmarkError
from benchmark.network import Network, Prepared
from benchmark.values import Range

VARIANTS = {
    "tf_efficientnet_lite0": "EfficientNet-Lite0 as it was pretrained: features for methods, never trained, no logits",
    "ENCODER": "any other encoder of timm, transformers included; methods ask for it by frozen(ENCODER)",
}


def build(
    variant: str, classes: int, encoder_weights: Weights = "imagenet", size: Annotated[int, Range(0, 4096)] = 0
) -> FrozenEncoder:
    """A frozen encoder; :func:`benchmark.encoders.frozen` describes one for a method.

    Args:
        variant: timm's name of the encoder.
        classes: 0, as there are no logits.
        encoder_weights: "imagenet" or "none" (random values).
        size: short side in pixels to which images are resized first; 0 leaves them as they are.
    """
    if classes:
        raise BenchmarkError(
            f"'frozen-{variant}' gives features for methods and segments nothing; take --network fpn-{variant}."
        )
    return FrozenEncoder(variant, encoder_weights, size)


class FrozenEncoder(Network):
    """Feature maps of a pretrained encoder.

    Taps of a convolutional encoder are called by their stride s, ("2", "4", "8", "16", "32"; those that it has), each
    (B, D, h/s, w/s). Those of a vision transformer are called by the block after which they are read ("blocks.0" ..
    "blocks.11"): the patch tokens as a map (B, D, h/p, w/p) with the patch size p. Images are padded to a multiple of
    the largest stride, or resized to one: for a transformer, and where their short side is not the size that is asked
    for.

    "logits" has no channels (B, 0, h/s, w/s), with s the stride 8 or the one next to it.
    """

    def __init__(self, encoder: str, weights: Weights, short_side: int) -> None:
        super().__init__(0, *normalisation(encoder))
        self.pretrained = encoder if weights != "none" else ""
        self.short_side = short_side
        self.encoder = _module(encoder)
        info = self.encoder.feature_info
        reductions = info.reduction()
        self.stride = max(reductions)
        self.patches = len(set(reductions)) == 1
        same = len(set(reductions)) < len(reductions)
        self.names = [n if same else str(r) for n, r in zip(info.module_name(), reductions, strict=True)]
        self.channels = dict(zip(self.names, info.channels(), strict=True))
        self.grid = min(range(len(reductions)), key=lambda i: abs(reductions[i] - 8))

    def prepare(self, images: Tensor, scale: int = 0, max_size: int = 0) -> Prepared:
        """As of every network; at the native size resized where another short side is asked for or patches must fit."""
        native = min(images.shape[-2:])
        wanted = self.short_side or native
        if not scale and (self.patches or wanted != native):
            scale = wanted
        return super().prepare(images, scale, max_size)

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        maps = dict(zip(self.names, self.encoder(inputs), strict=True))
        grid = maps[self.names[self.grid]]
        return {"logits": grid.new_zeros(len(grid), 0, *grid.shape[-2:]), **{tap: maps[tap] for tap in taps}}


def _module(encoder: str) -> torch.nn.Module:
    """The encoder with all its feature maps; transformers take images of any multiple of the patch size."""
    module = timm_encoder(encoder)
    transformer = getattr(module, "model", None)
    if not hasattr(transformer, "dynamic_img_size"):
        return module
    return timm_encoder(encoder, dynamic_img_size=True, out_indices=tuple(range(len(transformer.blocks))))
