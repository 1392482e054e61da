"""ReAct: the energy of clipped features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData
from benchmark.values import Range

from ._head import NO_CELLS, Head, needs_head
from ._sketch import QuantileSketch


class ReAct(Method):
    """Rectified activations: ``s = -logsumexp_c(W min(f, t) + b)`` with one threshold t for all channels.

    f are the features that the network's last layer sees and t a percentile of all their values over the training cells
    that show a known class, to 0.1 %. New logits are upsampled and averaged over the test scales as those of `energy`
    are, of which this is the case ``t = inf``.

    Args:
        percentile: share of the values that are not clipped, above 0 and up to 1. Behind a ReLU most values may be 0;
            a percentile below their share would clip everything to 0 and is refused. Image classifiers, whose pooled
            features hold hardly a zero, take 0.85 to 0.99.

    Source: Sun et al., "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS 2021. Some released
        evaluations clip at an absolute value (1.0) that belongs to one network; here nothing but the share is given.
    """

    title = "ReAct"
    paper = "Sun et al., NeurIPS 2021"
    score_options = frozenset({"percentile"})
    needs_classes = False

    def __init__(self, percentile: Annotated[float, Range(0, 1, above=True)] = 0.9) -> None:
        super().__init__()
        if not 0 < percentile <= 1:
            raise ValueError("the percentile is a share above 0 and up to 1.")
        self.percentile = percentile
        self.sketch = QuantileSketch()

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return needs_head(base)

    def build(self, networks: Networks) -> None:
        self.head = Head(networks)

    def observe(self, batch: Batch, networks: Networks) -> None:
        for features in self.head.known(batch):
            self.sketch.add(features)

    def fit(self, data: FitData, networks: Networks) -> None:
        if not self.sketch.counts.any():
            raise BenchmarkError(NO_CELLS)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        threshold = self.sketch.quantile(self.percentile)
        if threshold <= 0:
            raise BenchmarkError(
                f"{self.percentile:.0%} of the training features are 0 or less, and clipped there none is left; give a "
                f"larger percentile."
            )
        return self.head.energy(batch, lambda features: self.head.logits(features.clamp(max=threshold)))
