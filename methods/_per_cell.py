"""Methods whose score of a feature cell is a function of its features and its logits alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from benchmark.data import ANOMALY
from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec, ScaleOutputs
from benchmark.training import FitData

from ._cells import Cells
from ._head import Head, needs_head
from ._moments import Moments


class PerCell(Method):
    """Scores every cell of the penultimate features, upsamples these scores and averages them over the test scales.

    Logits are those of the last layer on the grid of the features, on networks that enlarge them afterwards, too. A
    subclass says what the score of a cell is (:meth:`score_cells`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.cells = Cells(PENULTIMATE)

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return needs_head(base)

    def build(self, networks: Networks) -> None:
        self.head = Head(networks)

    @abstractmethod
    def score_cells(self, features: Tensor, logits: Tensor) -> Tensor:
        """Scores (N,) of cells with features (N, D) and logits (N, C), both float32."""

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = networks["base"](batch)
        total = 0
        for scale in outputs.scales:
            rows = self._rows(scale)
            with torch.autocast(rows[0].device.type, enabled=False):  # bfloat16 is too coarse for differences
                total = total + self.cells.map(scale, self.score_cells(*rows), outputs.size)
        return total / len(outputs.scales)

    def known(self, batch: Batch, networks: Networks) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Features (N, D), logits (N, C) and labels (N,) of the training cells that show a class, scale by scale."""
        for scale in networks["base"](batch).scales:
            labels = self.cells.labels(scale, batch.labels).flatten()
            features, logits = self._rows(scale)
            yield tuple(rows[labels < ANOMALY] for rows in (features, logits, labels))

    def _rows(self, scale: ScaleOutputs) -> tuple[Tensor, Tensor]:
        logits = self.head.logits(scale.taps[PENULTIMATE])
        return self.cells.features(scale), logits.permute(0, 2, 3, 1).flatten(0, 2)


class Centred(PerCell):
    """A method per cell that knows the mean feature of the training cells, `mean` (D,), and nothing else of them."""

    mean: Tensor
    needs_classes = False

    def build(self, networks: Networks) -> None:
        super().build(networks)
        self.register_buffer("mean", torch.zeros(networks["base"].channels(PENULTIMATE)))
        self._moments: Moments | None = None  # while observing

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._moments = self._moments or Moments(len(self.mean), squares="none", device=self.mean.device)
        for features, _, _ in self.known(batch, networks):
            self._moments.add(features)

    def fit(self, data: FitData, networks: Networks) -> None:
        if not (self._moments and self._moments.number):
            raise BenchmarkError("no training pixel has a class, so there is no mean feature; use labelled images.")
        self.mean.copy_(self._moments.mean)
