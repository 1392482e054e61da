"""NECO: how much of a feature lies in the principal directions of training features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData
from benchmark.values import Fraction

from ._head import NO_CELLS, Head, needs_head
from ._moments import Moments

DOUBTFUL = 0.01
"""Largest share of training cells whose factor may be 0 or less."""


class NECO(Method):
    r"""Neural collapse: ``s = -||V^T x|| / ||x|| * factor`` with ``x = (f - mu) / sigma``, per feature cell.

    mu and sigma are mean and deviation of every channel of the features f over the training cells that show a known
    class (a channel that never varies has deviation 1), V the first principal axes of x over the same cells. Maps of
    the cells are upsampled, and averaged over the test scales.

    Args:
        factor: what the ratio is multiplied by, "max_logit" ``max_c z_c``, "energy" ``logsumexp_c(z_c)``, or "none".
            A factor below 0 would turn the order round: one that is so on over 1 % of the training cells is refused.
        explained: V are the fewest axes with this share of the variance.
        dim: number of axes instead; all of them give the ratio 1.

    Source: Ben Ammar et al., "NECO: Neural Collapse Based Out-of-distribution detection", ICLR 2024, who take the
        factor for some networks and "none" for ResNets, and a dimension for each. The share of the variance is that of
        a later evaluation.
    """

    title = "NECO"
    paper = "Ben Ammar et al., ICLR 2024"
    score_options = frozenset({"factor", "explained", "dim"})
    needs_classes = False

    def __init__(
        self,
        factor: Literal["max_logit", "energy", "none"] = "max_logit",
        explained: Fraction = 0.9,
        dim: int | None = None,
    ) -> None:
        super().__init__()
        if factor not in ("max_logit", "energy", "none"):
            raise ValueError("the factor is max_logit, energy or none.")
        if not 0 < explained <= 1 or (dim is not None and dim < 1):
            raise ValueError("explained is a share above 0, and dim at least 1.")
        self.factor, self.explained, self.dim = factor, explained, dim
        self._moments: Moments | None = None  # while observing

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return needs_head(base)

    def build(self, networks: Networks) -> None:
        self.head = Head(networks)
        channels = self.head.channels
        if self.dim and self.dim > channels:
            raise BenchmarkError(f"there are {channels} channels; give a dim of at most that.")
        for name in ("mean", "std", "variances"):
            self.register_buffer(name, torch.zeros(channels))
        self.register_buffer("axes", torch.zeros(channels, channels))  # largest variance first
        self.register_buffer("below", torch.zeros(2, dtype=torch.float64))  # share of cells with a factor of 0 or less

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._moments = self._moments or Moments(self.head.channels, device=self.mean.device)
        weight, bias = self.head.affine()
        for features in self.head.known(batch):
            self._moments.add(features)
            logits = torch.addmm(bias, features, weight.T)
            self.below += torch.stack([(logits.amax(dim=1) <= 0).sum(), (logits.logsumexp(dim=1) <= 0).sum()])

    def fit(self, data: FitData, networks: Networks) -> None:
        moments, self._moments = self._moments, None
        if not moments or not moments.number:
            raise BenchmarkError(NO_CELLS)
        covariance = moments.second(moments.mean)
        std = covariance.diagonal().clamp(min=0).sqrt()
        std = torch.where(std > 1e-6 * moments.mean.abs().clamp(min=1e-6), std, 1.0)
        variances, axes = torch.linalg.eigh(covariance / std[:, None] / std)
        self.mean.copy_(moments.mean)
        self.std.copy_(std)
        self.variances.copy_(variances.flip(0).clamp(min=0))
        self.axes.copy_(axes.flip(1))
        self.below /= moments.number

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        if self.factor != "none" and (below := float(self.below[int(self.factor == "energy")])) > DOUBTFUL:
            raise BenchmarkError(
                f"on {below:.0%} of the training cells the factor {self.factor} is below 0; take factor=none."
            )
        return self.head.averaged(batch, self._cells)

    def ratio(self, features: Tensor) -> Tensor:
        """``||V^T x|| / ||x||`` of features (N, D), (N,)."""
        share = self.variances.double().cumsum(dim=0) / self.variances.double().sum()
        dim = self.dim or 1 + int((share < self.explained - 1e-9).sum())
        x = (features - self.mean) / self.std
        return (x @ self.axes[:, :dim]).norm(dim=-1) / x.norm(dim=-1).clamp(min=1e-12)

    def _cells(self, features: Tensor) -> Tensor:
        logits = self.head.logits(features)
        with torch.autocast(features.device.type, enabled=False):
            ratio = self.ratio(features.movedim(1, -1))
        if self.factor == "none":
            return -ratio
        return -ratio * (logits.amax(dim=1) if self.factor == "max_logit" else logits.logsumexp(dim=1))
