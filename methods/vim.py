"""ViM: the energy, and what of the features lies outside the space of training features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData

from ._head import NO_CELLS, Head, needs_head
from ._moments import Moments
from ._sample import KeyedSample

CELLS = 20_000
"""Size of the sample over which the two parts of the score are brought to one scale."""


class ViM(Method):
    r"""Virtual-logit matching: ``s = alpha ||R^T (f - o)|| - logsumexp_c(z_c)``, per feature cell, then upsampled.

    ``z = W f + b`` are the logits of the cell and ``o = -W^+ b`` the point from which they are linear. R are the
    eigenvectors of ``E (f - o)(f - o)^T`` over the training cells that show a known class, without those of the `dim`
    largest eigenvalues. ``alpha = mean max_c z_c / mean ||R^T (f - o)||`` over 20,000 of these cells is a constant of
    the training images. With several test scales the maps are averaged. Energy is that of the cells, here and not of
    the upsampled logits, since both parts belong to one virtual softmax.

    Args:
        dim: dimension of the space that is normal; none is half of the channels.

    Source: Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022. Released code takes the
        eigenvectors by a routine for any matrix, which may return complex ones, or cuts the logits at 100.
    """

    title = "ViM"
    paper = "Wang et al., CVPR 2022"
    score_options = frozenset({"dim"})
    needs_classes = False

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if dim is not None and dim < 1:
            raise ValueError("dim is at least 1.")
        self.dim = dim or 0
        self._moments: Moments | None = None  # while observing

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return needs_head(base)

    def build(self, networks: Networks) -> None:
        self.head = Head(networks)
        channels = self.head.channels
        if self.dim >= channels:
            raise BenchmarkError(f"there are {channels} channels, so that nothing is left beyond {self.dim} of them.")
        self.dim = self.dim or channels // 2
        self.register_buffer("origin", torch.zeros(channels))
        self.register_buffer("axes", torch.zeros(channels, channels))  # largest eigenvalue first
        self.register_buffer("alphas", torch.zeros(channels))  # by dim
        self._sample = KeyedSample(CELLS, self.head.cells)

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._sample.observe(batch, networks)
        self._moments = self._moments or Moments(self.head.channels, device=self.origin.device)
        for features in self.head.known(batch):
            self._moments.add(features)

    def fit(self, data: FitData, networks: Networks) -> None:
        moments, self._moments = self._moments, None
        if not moments or not moments.number:
            raise BenchmarkError(NO_CELLS)
        weight, bias = (each.double() for each in self.head.affine())
        origin = -torch.linalg.pinv(weight) @ bias
        axes = torch.linalg.eigh(moments.second(origin)).eigenvectors.flip(1)
        features = self._sample.taken().double()
        squares = ((features - origin) @ axes).square()
        residuals = squares.flip(1).cumsum(dim=1).flip(1).sqrt().mean(dim=0)
        top = F.linear(features, weight, bias).amax(dim=1).mean()
        if top <= 0:
            raise BenchmarkError(
                "the largest logit is below 0 on average and gives no scale; train the network longer."
            )
        self.origin.copy_(origin)
        self.axes.copy_(axes)
        # Where nothing is left over, rounding would be taken for a residual.
        self.alphas.copy_((top / residuals).where(residuals > 1e-6 * residuals[0], torch.nan))

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        if self.alphas[self.dim].isnan():
            raise BenchmarkError(f"training features have no more than {self.dim} dimensions; give a smaller dim.")
        return self.head.averaged(batch, self._cells)

    def _cells(self, features: Tensor) -> Tensor:
        energy = -torch.logsumexp(self.head.logits(features), dim=1)
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 is too coarse for small differences
            rest = (features.movedim(1, -1) - self.origin) @ self.axes[:, self.dim :]
            return energy + self.alphas[self.dim] * rest.norm(dim=-1)
