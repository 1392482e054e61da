"""SHE: similarity to the stored pattern of the predicted class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import IGNORE
from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Networks
from benchmark.training import FitData

from ._moments import Moments
from ._per_cell import PerCell


class SHE(PerCell):
    r"""Simplified Hopfield energy: ``s = -<f, S_y>``, y the predicted class of a cell, upsampled to the image.

    The pattern ``S_c`` is the mean feature of the training cells that are labelled and predicted as c; where the
    released code divides by 0 since there is none, that of those labelled c, else predicted as c, else of all cells.
    With several test scales, scores are averaged.

    Args:
        metric: "inner" as above; "euclidean" is ``||f - S_y||``, "cosine" ``-cos(f, S_y)``.

    Source: Zhang et al., "Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with Modern
        Hopfield Energy", ICLR 2023.
    """

    title = "SHE"
    paper = "Zhang et al., ICLR 2023"
    score_options = frozenset({"metric"})

    def __init__(self, metric: str = "inner") -> None:
        super().__init__()
        if metric not in ("inner", "euclidean", "cosine"):
            raise ValueError("the metric is inner, euclidean or cosine.")
        self.metric = metric

    def build(self, networks: Networks) -> None:
        super().build(networks)
        base = networks["base"]
        self.register_buffer("patterns", torch.zeros(base.spec.classes, base.channels(PENULTIMATE)))
        self._moments: tuple[Moments, ...] = ()  # while observing: of right, labelled, predicted cells

    def observe(self, batch: Batch, networks: Networks) -> None:
        if not self._moments:
            classes, channels = self.patterns.shape
            self._moments = tuple(Moments(channels, classes, "none", self.patterns.device) for _ in range(3))
        for features, logits, labels in self.known(batch, networks):
            predicted = logits.argmax(dim=1)
            right = torch.where(predicted == labels, predicted, IGNORE)
            for moments, classes in zip(self._moments, (right, labels, predicted), strict=True):
                moments.add(features, classes)

    def fit(self, data: FitData, networks: Networks) -> None:
        if not (self._moments and self._moments[1].number):
            raise BenchmarkError("no training pixel has a class, so there are no patterns; use labelled images.")
        patterns = self._moments[1].mean.expand(self.patterns.shape)
        for moments in reversed(self._moments):
            patterns = torch.where(moments.counts[:, None] > 0, moments.means, patterns)
        self.patterns.copy_(patterns)

    def score_cells(self, features: Tensor, logits: Tensor) -> Tensor:
        own = self.patterns[logits.argmax(dim=1)]
        if self.metric == "euclidean":
            return (features - own).norm(dim=1)
        return -F.cosine_similarity(features, own) if self.metric == "cosine" else -(features * own).sum(dim=1)
