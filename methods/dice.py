"""DICE: the energy by the weights that matter on training images."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData
from benchmark.values import Fraction

from ._head import NO_CELLS, Head, needs_head
from ._moments import Moments


class DICE(Method):
    r"""Directed sparsification: ``s = -logsumexp_c(M W f + b)``, M a mask on the C x D weights of the last layer.

    It keeps the ``ceil((1 - percentile) C D)`` weights of the largest mean contribution ``W_cd mu_d`` and what equals
    the last of them; mu is the mean of the features f over the training cells that show a known class. New logits are
    upsampled and averaged over the test scales as those of `energy` are, of which this is the case ``percentile = 0``.

    Args:
        percentile: share of the weights that are dropped.

    Source: Sun and Li, "DICE: Leveraging Sparsification for Out-of-Distribution Detection", ECCV 2022. The released
        code keeps what is larger than a percentile, so that at 0 it still drops a weight.
    """

    title = "DICE"
    paper = "Sun and Li, ECCV 2022"
    score_options = frozenset({"percentile"})
    needs_classes = False

    def __init__(self, percentile: Fraction = 0.9) -> None:
        super().__init__()
        if not 0 <= percentile <= 1:
            raise ValueError("the percentile is a share from 0 to 1.")
        self.percentile = percentile
        self._moments: Moments | None = None  # while observing

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return needs_head(base)

    def build(self, networks: Networks) -> None:
        self.head = Head(networks)
        self.register_buffer("mean", torch.zeros(self.head.channels))

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._moments = self._moments or Moments(self.head.channels, squares="none", device=self.mean.device)
        for features in self.head.known(batch):
            self._moments.add(features)

    def fit(self, data: FitData, networks: Networks) -> None:
        moments, self._moments = self._moments, None
        if not moments or not moments.number:
            raise BenchmarkError(NO_CELLS)
        self.mean.copy_(moments.mean)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        weight, bias = self.head.affine()
        kept = (self.mask(weight) * weight)[:, :, None, None]
        return self.head.energy(batch, lambda features: F.conv2d(features, kept, bias))

    def mask(self, weight: Tensor) -> Tensor:
        """M of weights (C, D)."""
        contributions = (weight * self.mean).flatten()
        kept = math.ceil((1 - self.percentile) * contributions.numel() - 1e-6)  # 0.3 * 10 may be 3.0000000000000004
        least = contributions.topk(kept).values[-1] if kept else torch.inf
        return (contributions >= least).view_as(weight)
