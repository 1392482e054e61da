"""EoMT, a plain vision transformer that segments by masks, through the package transformers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.blocks import MASKS, QUERIES, window_starts
from benchmark.errors import BenchmarkError
from benchmark.network import Network, Prepared
from benchmark.networks._masks import class_names, from_folder, last, normalisation, outputs, preparation
from benchmark.released import Release

VARIANTS = {"": "EoMT of any size, from a folder: --weights FOLDER (extra `masks`)"}
RELEASED = {
    "eomt-large": Release(
        files=(),
        hub="tue-mps/cityscapes_semantic_eomt_large_1024",
        source="the authors' weights (ViT-L of DINOv2, Cityscapes fine, squares of 1024 pixels)",
        license="MIT, as the authors' code; the encoder that it began with Apache-2.0",
        network="eomt",
        trained_on="cityscapes",
    )
}


def build(classes: int, weights_folder: Path | None = None) -> EoMT:
    """An EoMT with the weights of a folder.

    Args:
        classes: K, the number of outputs.
        weights_folder: as ``save_pretrained`` writes it.
    Raises:
        BenchmarkError: as of :func:`benchmark.networks._masks.from_folder`, or its answers are random.
    """
    return EoMT(classes, weights_folder)


class EoMT(Network):
    """Encoder-only Mask Transformer: queries join the patches of a vision transformer in its last blocks.

    It takes squares of the size on which it was trained. As its authors test, an image is resized until its short side
    has that size, as few squares as cover its long side are cut, and their class maps averaged where they overlap. A
    query of one square is none of another: the taps hold the squares one below the other, ``masks`` (B, Q, N * h, w)
    and ``queries`` (B, Q, N, K + 1).

    Source: Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", CVPR 2025.
    """

    memory_format = torch.contiguous_format
    """The library calls ``view`` on its activations, which fails in the other layout."""

    def __init__(self, classes: int, folder: Path | None) -> None:
        model = from_folder("EomtForUniversalSegmentation", "eomt", folder, classes)
        super().__init__(classes, **normalisation(folder))
        if not model.attn_mask_probs.is_meta and bool(((model.attn_mask_probs % 1) != 0).any()):
            raise BenchmarkError(f"{folder} is of a training that had not ended: its masks hide features at random.")
        self.model, self.class_names = model, class_names(model)
        self.side = int(model.config.image_size)
        self.channels = dict.fromkeys((MASKS, QUERIES), model.config.num_queries)
        self.preparation = preparation(self, window=self.side)

    def prepare(self, images: Tensor, scale: int = 0, max_size: int = 0) -> Prepared:
        if scale:
            raise BenchmarkError(
                f"The network takes squares of {self.side} pixels and has no other scales; leave out --scales."
            )
        short, long = sorted(images.shape[-2:])
        reached = max(self.side, int(self.side * long / short))
        size = (self.side, reached) if images.shape[-1] >= images.shape[-2] else (reached, self.side)
        inputs = self.normalise(images)
        if tuple(inputs.shape[-2:]) != size:
            inputs = F.interpolate(inputs, size, mode="bilinear", align_corners=False, antialias=True)
        return Prepared(inputs, size, size)

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        size = tuple(inputs.shape[-2:])
        axis, starts = 2 if size[0] > size[1] else 3, window_starts(size)
        windows = torch.stack([inputs.narrow(axis, start, self.side) for start in starts], dim=1)
        found = self.model(pixel_values=windows.flatten(0, 1).contiguous())
        masks = last(found.masks_queries_logits).unflatten(0, (len(inputs), len(starts))).transpose(1, 2).flatten(2, 3)
        queries = last(found.class_queries_logits).unflatten(0, (len(inputs), len(starts))).transpose(1, 2)
        return outputs(masks, queries, size, taps)
