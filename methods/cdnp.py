"""cDNP: nearest neighbours in a feature space and the segmenter's energy, added."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData

from .knn import KNN

QUERIES = 5000
"""Features of the bank among which the largest distance is looked for; more change it little."""


class CDNP(Method):
    r"""Combined deep neighbour proximity: ``s = (e - e_min) / (e_max - e_min) + d / d_max``.

    d is the mean distance to the k nearest of a bank of training features (:mod:`benchmark.methods.knn`,
    variant "mean"), ``e = -logsumexp_c(z_c)`` the energy of the shared network's logits. The extrema of e are those of
    all pixels of the training images; d_max is the largest distance of a feature of the bank to the others. All
    three are constants of the training images, so that scores of different images compare.

    Args:
        k: number of neighbours.
        bank: largest number of training features; the paper takes 100000.
        tap: the features, as of kNN.
        encoder: timm's name of a frozen pretrained encoder in the place of the shared network, as of kNN. The paper
            takes the segmenter's own encoder.

    Source: Galesso et al., "Far Away in the Deep Space: Dense Nearest-Neighbor-Based Out-of-Distribution Detection",
        ICCV Workshops 2023. There the extrema come from 500 training images, here from all.
    """

    title = "cDNP"
    paper = "Galesso et al., ICCVW 2023"
    needs_classes = False

    def __init__(self, k: int = 3, bank: int = 20_000, tap: str = PENULTIMATE, encoder: str = "") -> None:
        super().__init__()
        self.knn = KNN("mean", k, bank, tap, encoder)
        self.register_buffer("low", torch.tensor(torch.inf))
        self.register_buffer("high", torch.tensor(-torch.inf))
        self.register_buffer("furthest", torch.zeros(()))

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"base": Need(base), **self.knn.needs(base)}

    def build(self, networks: Networks) -> None:
        self.knn.build(networks)

    def observe(self, batch: Batch, networks: Networks) -> None:
        self.knn.observe(batch, networks)
        energy = _energy(batch, networks)
        self.low.copy_(torch.minimum(self.low, energy.min()))
        self.high.copy_(torch.maximum(self.high, energy.max()))

    def fit(self, data: FitData, networks: Networks) -> None:
        self.knn.fit(data, networks)
        k, rows = self.knn.k, self.knn.bank[: min(QUERIES, int(self.knn.size))]
        if int(self.knn.size) <= k:
            raise BenchmarkError(f"the training images have {int(self.knn.size)} labelled cells; give a smaller k.")
        # Every feature's nearest neighbour is itself, at distance 0.
        self.furthest.copy_(self.knn.distances(rows, k + 1).max() * (k + 1) / k)
        if not (self.high > self.low and self.furthest > 0):
            raise BenchmarkError(
                "energy or features are the same on all training images, so that neither has a scale; "
                "train the network longer."
            )

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        energy = (_energy(batch, networks) - self.low) / (self.high - self.low)
        return energy + self.knn.score(batch, networks) / self.furthest


def _energy(batch: Batch, networks: Networks) -> Tensor:
    return -torch.logsumexp(networks["base"](batch).logits(), dim=1)
