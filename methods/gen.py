"""GEN: generalised entropy of the class distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.method import Batch, Method, Networks


class GEN(Method):
    r"""Generalised entropy: ``s = sum_{i <= M} p_(i)^gamma (1 - p_(i))^gamma`` over the M largest probabilities.

    p is the softmax, with several test scales their mean. For ``gamma <= 1`` and M = C the score lies between 0, where
    one class has all the probability, and ``C^(1 - 2 gamma) (C - 1)^gamma``, where all have the same.

    The released code takes ``1 - p`` from the rounded p: with gamma = 0.1 the term of the largest class then jumps from
    0.19 to 0 where float32 rounds p to 1, and all pixels beyond are ties. Here ``1 - p`` of that class is the sum of
    the others, and everything stays in log space.

    Args:
        gamma: exponent > 0; the authors take 0.1.
        top: M; 0 is all classes. The authors' 100 of ImageNet's 1000 are more than a segmentation network has.

    Source: Liu et al., "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection", CVPR 2023.
    """

    title = "GEN"
    paper = "Liu et al., CVPR 2023"

    def __init__(self, gamma: float = 0.1, top: int = 0) -> None:
        super().__init__()
        if gamma <= 0:
            raise ValueError("gamma must be positive.")
        if top < 0:
            raise ValueError("top is a number of classes, or 0 for all of them.")
        self.gamma = float(gamma)
        self.top = top

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        log_p = networks["base"](batch).log_probabilities()
        largest, index = log_p.max(dim=1, keepdim=True)
        others = log_p.scatter(1, index, -torch.inf)
        total = (self.gamma * (largest + others.logsumexp(dim=1, keepdim=True))).exp()[:, 0]
        if 0 < self.top < log_p.shape[1]:
            others = others.topk(self.top - 1, dim=1).values
        # None of the others is above 1/2, so that their complements keep all digits.
        return total + (self.gamma * (others + torch.log1p(-others.exp()))).exp().sum(dim=1)
