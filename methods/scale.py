"""SCALE: the energy of features stretched by how much of them is in the largest."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec

from ._head import Head, largest, needs_head


class Scale(Method):
    r"""Scaling of activations: ``s = -logsumexp_c(r W f + b)`` with ``r = exp(S1 / S2)`` in each cell.

    S1 is the sum of the D features f that the network's last layer sees, never below 0, S2 that of the k largest of
    them, ``k = D - round(percentile D)``; of a cell without features, r is e. So r lies between e and ``e^(D/k)``, and
    at percentile 0 this is not `energy` but that of ``e W f + b``. New logits are upsampled and averaged over the test
    scales as those of `energy` are. Nothing is fitted.

    Args:
        percentile: share of the channels that S2 leaves out, below 1.

    Source: Xu et al., "Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement", ICLR 2024.
        The released code takes the k largest of the pooled features of an image, of which a cell of a map is the like.
    """

    title = "SCALE"
    paper = "Xu et al., ICLR 2024"
    score_options = frozenset({"percentile"})

    def __init__(self, percentile: float = 0.85) -> None:
        super().__init__()
        if not 0 <= percentile < 1:
            raise ValueError("the percentile is a share from 0 and below 1.")
        self.percentile = percentile

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return needs_head(base)

    def build(self, networks: Networks) -> None:
        self.head = Head(networks, positive=True)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return self.head.energy(batch, lambda features: self.head.logits(features * self.factor(features)))

    def factor(self, features: Tensor) -> Tensor:
        """r of features (B, D, h, w), (B, 1, h, w)."""
        most = largest(features, self.percentile).sum(dim=1, keepdim=True)
        return (features.sum(dim=1, keepdim=True) / most).where(most > 0, 1.0).exp()
