"""Mahalanobis++: Mahalanobis distance of features of length 1."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from benchmark.method import PENULTIMATE
from benchmark.network import ScaleOutputs

from ._cells import Cells
from .mahalanobis import Mahalanobis


class MahalanobisPP(Mahalanobis):
    r"""Mahalanobis++: ``s = min_c (g - mu_c)^T Sigma^-1 (g - mu_c)`` of ``g = f / ||f||``, per feature cell, upsampled.

    It is :mod:`benchmark.methods.mahalanobis` in every other respect: means and covariance are those of g over the
    training cells, and the ridge is a share of g's mean variance. Scores do not change where features are multiplied by
    a positive number.

    Args:
        covariance: as of Mahalanobis; the paper's is "tied".
        tap: the features, as of Mahalanobis.
        classes: as of Mahalanobis.
        encoder: as of Mahalanobis.

    Source: Mueller and Hein, "Mahalanobis++: Improving OOD Detection via Feature Normalization", ICML 2025. The form
        relative to all classes together is ``rmds:normalise=true``.
    """

    title = "Mahalanobis++"
    paper = "Mueller and Hein, ICML 2025"

    def __init__(
        self, covariance: str = "tied", tap: str = PENULTIMATE, classes: str = "labels", encoder: str = ""
    ) -> None:
        super().__init__(covariance, tap, classes, encoder)
        self.cells = _Unit(tap, encoder)


class _Unit(Cells):
    """Cells whose features have length 1; a cell without any feature keeps 0."""

    def features(self, scale: ScaleOutputs) -> Tensor:
        return F.normalize(super().features(scale), dim=1)
