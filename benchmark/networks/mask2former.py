"""Mask2Former through the package transformers, as a folder of weights holds it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from benchmark.blocks import MASKS, QUERIES
from benchmark.network import Network
from benchmark.networks._masks import class_names, from_folder, last, normalisation, outputs, preparation
from benchmark.released import Release

VARIANTS = {"": "Mask2Former of any size, from a folder: --weights FOLDER (extra `masks`)"}
RELEASED = {
    "mask2former-swin-large": Release(
        files=(),
        hub="facebook/mask2former-swin-large-cityscapes-semantic",
        source="the authors' weights (Swin-L, 100 queries, Cityscapes fine), converted for transformers",
        license="CC BY-NC 4.0, as the model zoo of facebookresearch/Mask2Former says; not for commercial use",
        network="mask2former",
        trained_on="cityscapes",
    )
}


def build(classes: int, weights_folder: Path | None = None) -> Mask2Former:
    """A Mask2Former with the weights of a folder.

    Args:
        classes: K, the number of outputs.
        weights_folder: as ``save_pretrained`` writes it.
    Raises:
        BenchmarkError: as of :func:`benchmark.networks._masks.from_folder`.
    """
    return Mask2Former(classes, weights_folder)


class Mask2Former(Network):
    """Mask2Former: queries with a class and a mask each, ``S_k = sum_q P_qk sigmoid(m_q)`` as its logits.

    Images keep their size, padded to a multiple of 32, as the authors test. The library's own segmentation is not used:
    it resizes all masks to 384x384 before it adds them up. Taps: ``masks`` (B, Q, h/4, w/4) and ``queries``
    (B, Q, 1, K + 1), the raw logits.

    Source: Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation", CVPR 2022.
    """

    stride = 32
    memory_format = torch.contiguous_format
    """The library calls ``view`` on its activations, which fails in the other layout."""

    def __init__(self, classes: int, folder: Path | None) -> None:
        model = from_folder("Mask2FormerForUniversalSegmentation", "mask2former", folder, classes)
        super().__init__(classes, **normalisation(folder))
        self.model, self.class_names = model, class_names(model)
        self.channels = dict.fromkeys((MASKS, QUERIES), model.config.num_queries)
        self.preparation = preparation(self, stride=self.stride)

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        found = self.model(pixel_values=inputs.contiguous())
        masks, queries = last(found.masks_queries_logits), last(found.class_queries_logits)
        return outputs(masks, queries[:, :, None], tuple(inputs.shape[-2:]), taps)
