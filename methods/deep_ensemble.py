"""Deep ensemble: networks that differ by their seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.values import Range

from ._confidence import negative_log_max


class DeepEnsemble(Method):
    """Deep ensemble: ``p = 1/M sum_m softmax(z_m)``, then a criterion on p.

    Member 0 is the network that all methods share; the others follow the same recipe with seeds one apart.

    Args:
        members: M. The published StreetHazards row does not state its own.
        criterion: "msp" ``-log max_c p_c`` (as in the published row), "entropy" ``H(p) / log C``, or
            "mutual_information" ``H(p) - 1/M sum_m H(p_m)``.

    Source: Lakshminarayanan et al., NeurIPS 2017; the StreetHazards row stems from the comparison in TRADI
        (Franchi et al., ECCV 2020).
    """

    title = "Deep Ensemble"
    paper = "Lakshminarayanan et al., NeurIPS 2017"
    version = 2  # 1 took the logarithm of the maximum, in which the surest pixels are ties

    def __init__(self, members: Annotated[int, Range(1, 100)] = 4, criterion: str = "msp") -> None:
        super().__init__()
        if members < 1:
            raise ValueError("an ensemble has at least one member.")
        if criterion not in ("msp", "entropy", "mutual_information"):
            raise ValueError("the criterion is msp, entropy or mutual_information.")
        self.members = members
        self.criterion = criterion

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"base" if m == 0 else f"member{m}": Need(base.member(m)) for m in range(self.members)}

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        total = entropies = None
        for handle in networks.values():
            log_p = handle(batch).log_probabilities()
            total = log_p if total is None else torch.logaddexp(total, log_p)
            if self.criterion == "mutual_information":
                entropies = _entropy(log_p) + (0 if entropies is None else entropies)
        mean = total - math.log(self.members)
        if self.criterion == "msp":
            return negative_log_max(mean.exp())
        if self.criterion == "entropy":
            return _entropy(mean) / math.log(mean.shape[1])
        return _entropy(mean) - entropies / self.members


def _entropy(log_p: Tensor) -> Tensor:
    return -(log_p.exp() * log_p).sum(dim=1)
