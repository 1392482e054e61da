"""NNGuide: energy, guided by the nearest neighbours among training features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Networks
from benchmark.training import FitData

from ._per_cell import PerCell
from ._sample import KeyedSample

CHUNK = 1 << 24
"""Similarities computed at a time (64 MiB)."""


class NNGuide(PerCell):
    r"""Nearest neighbour guidance: ``s = -e(z) mean_{j in top k} <g, g_j e(z_j)>`` with ``e(z) = logsumexp_c(z_c)``.

    g is the feature of a cell at length 1; the mean is over the k largest inner products with the rows ``g_j e(z_j)``
    of a bank, a uniform sample of training cells drawn as that of kNN. Computed per cell, then upsampled to the image;
    with several test scales, scores are averaged. Where e is negative the guidance would turn round, so that a network
    with more than 1 % of such cells in the bank is refused.

    Args:
        k: number of neighbours.
        bank: largest number of training features; the paper takes 1 % of the training images.

    Source: Park et al., "Nearest Neighbor Guidance for Out-of-Distribution Detection", ICCV 2023.
    """

    title = "NNGuide"
    paper = "Park et al., ICCV 2023"
    score_options = frozenset({"k"})
    needs_classes = False

    def __init__(self, k: int = 100, bank: int = 20_000) -> None:
        super().__init__()
        if not 1 <= k <= bank:
            raise ValueError("k is at least 1 and at most the size of the bank.")
        self.k, self.rows = k, bank
        self._sample = KeyedSample(bank, self.cells)  # while observing

    def build(self, networks: Networks) -> None:
        super().build(networks)
        self.register_buffer("bank", torch.zeros(self.rows, networks["base"].channels(PENULTIMATE)))
        self.register_buffer("size", torch.zeros((), dtype=torch.int64))  # rows that are filled, the first ones

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._sample.observe(batch, networks)

    def fit(self, data: FitData, networks: Networks) -> None:
        features = self._sample.taken()
        weight, bias = self.head.affine()
        energies = torch.logsumexp(features @ weight.T + bias, dim=1, keepdim=True) if len(features) else features
        if (energies <= 0).double().mean() > 0.01:
            raise BenchmarkError("logsumexp of the logits is negative on known pixels, so it guides nothing; take knn.")
        self.bank[: len(features)] = F.normalize(features, dim=1) * energies
        self.size.fill_(len(features))

    def score_cells(self, features: Tensor, logits: Tensor) -> Tensor:
        bank = self.bank[: int(self.size)]
        if len(bank) < self.k:
            raise BenchmarkError(f"the training images have {len(bank)} labelled cells; give a k of at most that.")
        parts = F.normalize(features, dim=1).split(max(1, CHUNK // len(bank)))
        guidance = torch.cat([(part @ bank.T).topk(self.k, dim=1).values.mean(dim=1) for part in parts])
        return -logits.logsumexp(dim=1) * guidance
