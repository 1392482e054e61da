"""RbA: a pixel that every class rejects is unknown."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.methods._masks import masks_of
from torch import Tensor

from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec


class RbA(Method):
    """Rejected by all: ``s = -sum_k tanh(S_k)`` of the class map ``S_k = sum_q P_qk sigmoid(m_q)``, in [-K, 0].

    The tanh comes after the sum over queries; without it ``s`` is minus the sum of all masks, their "no object" left
    out. Trained on known classes only. The authors' checkpoints have one decoder layer; those of nine layers that
    others publish are not theirs, and their published numbers do not hold for them.

    Source: Nayal et al., "RbA: Segmenting Unknown Regions Rejected by All", ICCV 2023; as in NazirNayal8/RbA.
    """

    title = "RbA"
    paper = "Nayal et al., ICCV 2023"

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return masks_of(base)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return -networks["base"](batch).logits().tanh().sum(dim=1)
