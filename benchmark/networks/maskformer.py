"""A small mask-classification network that needs nothing but torch, to try methods on masks with."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from benchmark.blocks import MASKS, QUERIES, dilated_encoder
from benchmark.errors import BenchmarkError
from benchmark.network import Network
from benchmark.networks._masks import outputs

VARIANTS = {"small": "queries with masks on a dilated ResNet-10, for rehearsals on a CPU (0.3 M parameters)"}


def build(variant: str, classes: int) -> MaskFormer:
    """A MaskFormer in small.

    Args:
        variant: "small".
        classes: number of known classes K.
    """
    if variant != "small":
        raise BenchmarkError(f"There is no network 'maskformer-{variant}'; there is maskformer-small.")
    return MaskFormer(classes)


class MaskFormer(Network):
    """Queries look at the features once, then each has a class and a mask: ``m_q = <e(q), f> / sqrt(D)``.

    Its logits are the class map ``S_k = sum_q P_qk sigmoid(m_q)``, on which cross-entropy trains it: a rehearsal of
    mask classification, not its published training, which matches queries with regions. Taps: ``masks``
    (B, Q, h/8, w/8) and ``queries`` (B, Q, 1, K + 1), the raw logits.

    Source of the idea: Cheng et al., "Per-Pixel Classification is Not All You Need for Semantic Segmentation", NeurIPS
        2021.
    """

    def __init__(self, classes: int, queries: int = 16, width: int = 64) -> None:
        super().__init__(classes)
        self.encoder = dilated_encoder("small", (4,))
        self.pixels = nn.Conv2d(self.encoder.feature_info.channels()[-1], width, 1)
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.embedding = nn.Linear(width, width)
        self.classifier = nn.Linear(width, classes + 1)
        self.channels = {MASKS: queries, QUERIES: queries}

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        features = self.pixels(self.encoder(inputs)[-1])
        cells = features.flatten(2).transpose(1, 2)
        asked = self.queries.repeat(len(inputs), 1, 1)
        queries = self.norm(asked + self.attention(asked, cells, cells, need_weights=False)[0])
        masks = torch.einsum("bqd,bdhw->bqhw", self.embedding(queries), features) / math.sqrt(features.shape[1])
        return outputs(masks, self.classifier(queries)[:, :, None], tuple(inputs.shape[-2:]), taps)
