"""pNML: regret of the last layer against a learner that knows the answer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Networks
from benchmark.training import FitData

from ._moments import Moments
from ._per_cell import PerCell

RCOND = 1e-10  # share of the largest eigenvalue up to which a direction is one that no training feature has


class PNML(PerCell):
    r"""Predictive normalised maximum likelihood: ``s = log sum_c p_c / (p_c + (1 - p_c) p_c^a) / log C``.

    p is the softmax of a cell, ``a = max(x_o^2, x_i^2 / (1 + x_i^2))`` the leverage of ``x = [1, f/||f||]`` among the
    rows X of the training cells: ``x_i^2 = x^T (X^T X)^+ x``, and ``x_o`` is the part of x that no row has. The score
    lies in 0..1, and is upsampled to the image and averaged over the test scales. Millions of cells make a so small
    that the released sum is 1 but for rounding; here its difference from 1 is summed, and the score is about
    ``a sum_c p_c (1 - p_c) (-log p_c) / log C``.

    Source: Bibas et al., "Single Layer Predictive Normalized Maximum Likelihood for Out-of-Distribution Detection",
        NeurIPS 2021; kobybibas/pnml_ood_detection.
    """

    title = "pNML"
    paper = "Bibas et al., NeurIPS 2021"
    needs_classes = False

    def build(self, networks: Networks) -> None:
        super().build(networks)
        size = networks["base"].channels(PENULTIMATE) + 1
        self.register_buffer("inside", torch.zeros(size, size))  # R with R R^T = (X^T X)^+
        self.register_buffer("outside", torch.zeros(size, size))  # projection on what no row of X has
        self._moments: Moments | None = None  # while observing

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._moments = self._moments or Moments(len(self.inside), device=self.inside.device)
        for features, _, _ in self.known(batch, networks):
            self._moments.add(_rows(features))

    def fit(self, data: FitData, networks: Networks) -> None:
        if not (self._moments and self._moments.number):
            raise BenchmarkError("no training pixel has a class, so there is no leverage; use labelled images.")
        values, vectors = torch.linalg.eigh(self._moments.squares[0])
        kept = values > RCOND * values[-1]
        self.inside.copy_(torch.where(kept, vectors * values.clamp(min=1e-300).rsqrt(), 0))
        self.outside.copy_(vectors * ~kept)

    def score_cells(self, features: Tensor, logits: Tensor) -> Tensor:
        x, log_p = _rows(features), logits.log_softmax(dim=1)
        within, beyond = ((x @ factor).square().sum(dim=1) for factor in (self.inside, self.outside))
        return regret(log_p, torch.maximum(beyond, within / (1 + within)))


def regret(log_p: Tensor, leverage: Tensor) -> Tensor:
    """The score (N,) of log-probabilities (N, C) and leverages a (N,)."""
    a, index = leverage[:, None], log_p.argmax(dim=1, keepdim=True)
    # log(1 - p), of the largest p from the sum of the others.
    rest = log_p.scatter(1, index, -torch.inf).logsumexp(dim=1, keepdim=True)
    log_q = torch.log1p(-log_p.exp().scatter(1, index, 0)).scatter(1, index, rest)
    beyond = log_q.exp() * -torch.expm1(a * log_p) / (1 + (log_q + (a - 1) * log_p).exp())
    return torch.log1p(beyond.sum(dim=1)) / math.log(log_p.shape[1])


def _rows(features: Tensor) -> Tensor:
    return F.pad(F.normalize(features, dim=1), (1, 0), value=1.0)
