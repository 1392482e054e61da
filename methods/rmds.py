"""RMDS: Mahalanobis distance to the nearest class, relative to that to all classes together."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from benchmark.method import PENULTIMATE, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData

from .mahalanobis import Mahalanobis
from .mahalanobis_pp import MahalanobisPP


class RMDS(Method):
    r"""Relative Mahalanobis distance: ``s = min_c d_c(f) - d_0(f)``, per feature cell, upsampled to the image.

    ``d_c`` is the squared distance to class c under the covariance that all classes share
    (:mod:`benchmark.methods.mahalanobis`), ``d_0(f) = (f - mu)^T Sigma_0^-1 (f - mu)`` that to the mean of all training
    cells under their total covariance, each with a ridge of 1e-6 of its own mean variance. What makes a feature
    unlikely under any class, such as its length, then counts for little. Negative values are normal, and with one class
    all are 0.

    Args:
        normalise: bring every feature to length 1 first, as Mahalanobis++ does.
        tap: the features, as of Mahalanobis.
        classes: "labels" or "predicted", as of Mahalanobis.
        encoder: a frozen pretrained encoder in the place of the shared network, as of Mahalanobis.

    Source: Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection", arXiv 2106.09022.
    """

    title = "RMDS"
    paper = "Ren et al., arXiv 2106.09022"

    def __init__(
        self, normalise: bool = False, tap: str = PENULTIMATE, classes: str = "labels", encoder: str = ""
    ) -> None:
        super().__init__()
        if classes not in ("labels", "predicted"):
            raise ValueError("the classes are labels or predicted.")
        kind = MahalanobisPP if normalise else Mahalanobis
        self.nearest = kind("tied", tap, classes, encoder)
        self.whole = kind("tied", tap, "one", encoder)
        self.needs_classes = self.nearest.needs_classes

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return self.nearest.needs(base)

    def build(self, networks: Networks) -> None:
        self.nearest.build(networks)
        self.whole.build(networks)

    def observe(self, batch: Batch, networks: Networks) -> None:
        self.nearest.observe(batch, networks)
        self.whole.observe(batch, networks)

    def fit(self, data: FitData, networks: Networks) -> None:
        self.nearest.fit(data, networks)
        self.whole.fit(data, networks)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return self.nearest.score(batch, networks) - self.whole.score(batch, networks)
