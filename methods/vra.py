"""VRA: the energy of features without what is unusually small, and clipped."""

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
from ._sample import KeyedSample

CELLS = 20_000
"""Size of the sample of which the quantiles are; they are off by a share of about 0.2 %."""
STEPS = 1000
"""Quantiles that are kept of every channel."""


class VRA(Method):
    r"""Variational rectified activations: ``s = -logsumexp_c(W v(f) + b)``, per channel ``v = 0`` below a, h above h.

    In between v leaves the features f of the network's last layer as they are. a and h are percentiles of each channel
    over 20,000 training cells that show a known class, in steps of 0.1 %. New logits are upsampled and averaged over
    the test scales as those of `energy` are. Thresholds that all channels share would make this ReAct, since behind a
    ReLU the 10th percentile of all values is 0.

    Args:
        low: percentile of a as a share; 0 has no lower threshold. It does nothing in a channel that is 0 on more cells
            than that, which at 0.1 may be every channel.
        high: percentile of h, above `low`.
        below: "zero", or "clip" for ``v = a`` below a, as some released code has it.

    Source: Xu et al., "VRA: Variational Rectified Activation for Out-of-distribution Detection", NeurIPS 2023. Their
        percentiles differ between networks; 0.1 and 0.9 are those of a benchmark of image classifiers.
    """

    title = "VRA"
    paper = "Xu et al., NeurIPS 2023"
    score_options = frozenset({"low", "high", "below"})
    needs_classes = False

    def __init__(self, low: Fraction = 0.1, high: Fraction = 0.9, below: Literal["zero", "clip"] = "zero") -> None:
        super().__init__()
        if not 0 <= low < high <= 1:
            raise ValueError("low is a share below high, and high at most 1.")
        if below not in ("zero", "clip"):
            raise ValueError("below is zero or clip.")
        self.low, self.high, self.zero = low, high, below == "zero"

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return needs_head(base)

    def build(self, networks: Networks) -> None:
        self.head = Head(networks)
        self._sample = KeyedSample(CELLS, self.head.cells)  # while observing
        self.register_buffer("quantiles", torch.zeros(STEPS + 1, self.head.channels))

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._sample.observe(batch, networks)

    def fit(self, data: FitData, networks: Networks) -> None:
        values = self._sample.taken().sort(dim=0).values
        if not len(values):
            raise BenchmarkError(NO_CELLS)
        ranks = (torch.arange(STEPS + 1) * len(values) + STEPS - 1) // STEPS - 1  # ceil(q n), from 0
        self.quantiles.copy_(values[ranks.clamp(min=0).to(values.device)])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        low, high = (self.quantiles[round(q * STEPS)][:, None, None] for q in (self.low, self.high))
        return self.head.energy(batch, lambda features: self.head.logits(self._rectified(features, low, high)))

    def _rectified(self, features: Tensor, low: Tensor, high: Tensor) -> Tensor:
        clipped = features.minimum(high)
        if self.low == 0:
            return clipped
        return clipped.where(features >= low, torch.zeros_like(low) if self.zero else low)
