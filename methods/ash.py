"""ASH: the energy of the few largest features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec

from ._head import Head, largest, needs_head


class ASH(Method):
    r"""Activation shaping: ``s = -logsumexp_c(W f' + b)``, where f' has only the k largest entries of f in each cell.

    f are the D features that the network's last layer sees, never below 0, and ``k = D - round(percentile D)``. Entries
    that equal the k-th largest all survive, zeros never. With S1 the sum of f and S2 that of the survivors, these are

    - "p" left as they are; at percentile 0 this is `energy`;
    - "b" all set to S1 divided by their number;
    - "s" multiplied by ``exp(S1 / S2)``.

    New logits are upsampled and averaged over the test scales as those of `energy` are. Nothing is fitted.

    Args:
        variant: "p", "b" or "s".
        percentile: share of the channels that are pruned, below 1.

    Source: Djurisic et al., "Extremely Simple Activation Shaping for Out-of-Distribution Detection", ICLR 2023. The
        released code ranks all it is given at once, which of a map are the cells of an image against each other, and
        writes into the features.
    """

    title = "ASH"
    paper = "Djurisic et al., ICLR 2023"
    score_options = frozenset({"variant", "percentile"})

    def __init__(self, variant: Literal["p", "b", "s"] = "s", percentile: float = 0.9) -> None:
        super().__init__()
        if variant not in ("p", "b", "s"):
            raise ValueError("the variant is p, b or s.")
        if not 0 <= percentile < 1:
            raise ValueError("the percentile is a share from 0 and below 1.")
        self.variant, self.percentile = variant, percentile

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return needs_head(base)

    def build(self, networks: Networks) -> None:
        self.head = Head(networks, positive=True)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return self.head.energy(batch, lambda features: self.head.logits(self.shaped(features)))

    def shaped(self, features: Tensor) -> Tensor:
        """f' of features (B, D, h, w)."""
        least = largest(features, self.percentile).amin(dim=1, keepdim=True)
        survives = features >= least.clamp(min=torch.finfo(features.dtype).tiny)
        kept = features * survives
        if self.variant == "p":
            return kept
        total = features.sum(dim=1, keepdim=True)
        if self.variant == "b":
            return survives * (total / survives.sum(dim=1, keepdim=True).clamp(min=1))
        rest = kept.sum(dim=1, keepdim=True)
        return kept * (total / rest).where(rest > 0, 1.0).exp()
