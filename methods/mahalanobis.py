"""Mahalanobis distance to the nearest class in feature space."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData

from ._cells import Cells

RIDGE = 1e-6
"""Added to the diagonal, as a share of the mean variance: features behind a ReLU hardly vary in some directions."""


class Mahalanobis(Method):
    r"""Mahalanobis distance: ``s = min_c (f - mu_c)^T Sigma^-1 (f - mu_c)``, per feature cell, upsampled to the image.

    f are the features that the classifier sees, ``mu_c`` the mean over the training cells of class c (labels by nearest
    neighbour). Sums are gathered in float64 in one pass; classes without a cell have no part in the minimum. With
    several test scales, the statistics are those of all scales together, and the distances are averaged.

    Args:
        covariance: "tied" shares one, ``Sigma = sum_c S_c / (N - C) + lambda I`` (Lee et al.); "class" has one for each
            class, ``Sigma_c = S_c / (n_c - 1) + lambda I`` (SegmentMeIfYouCan; without the log-determinant, as there),
            and takes C times the work. ``S_c`` is the scatter around ``mu_c``, and lambda is 1e-6 of the mean
            tied variance.
        tap: the features; the default is what the network's classifier sees. Several, joined by "+", are brought to the
            grid of the first and each to length 1 per cell.
        encoder: timm's name of a frozen pretrained encoder ("tf_efficientnet_lite0"), whose features are taken instead
            of the shared network's; `tap` is then "16+8+32" where it is not stated.
        classes: whose classes tell the cells apart, those of the "labels", or those that the network has "predicted"
            for the cells with a known label, for images on which nobody has labelled the network's classes; "one" has a
            single mean.

    Source: Lee et al., NeurIPS 2018; for segmentation: Chan et al., "SegmentMeIfYouCan", NeurIPS 2021.
    """

    title = "Mahalanobis"
    paper = "Lee et al., NeurIPS 2018"

    def __init__(
        self, covariance: str = "tied", tap: str = PENULTIMATE, classes: str = "labels", encoder: str = ""
    ) -> None:
        super().__init__()
        if classes not in ("labels", "predicted", "one"):
            raise ValueError("the classes are labels, predicted or one.")
        self.classes = classes
        self.needs_classes = classes == "labels"
        if covariance not in ("tied", "class"):
            raise ValueError("the covariance is tied or class.")
        self.tied = covariance == "tied"
        self.cells = Cells(tap, encoder)
        self._sums: tuple[Tensor, Tensor, Tensor] | None = None  # while observing: n_c, sum f, sum f f^T

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"base": Need(base), **self.cells.needs(base)}  # an encoder does not know how many classes there are

    def build(self, networks: Networks) -> None:
        classes, channels = networks["base"].spec.classes, self.cells.channels(networks)
        self.register_buffer("present", torch.zeros(classes, dtype=torch.bool))
        self.register_buffer("means", torch.zeros(classes, channels))
        # W with W^T W = Sigma^-1, one in all or one per class.
        self.register_buffer("whitening", torch.zeros(1 if self.tied else classes, channels, channels))

    def observe(self, batch: Batch, networks: Networks) -> None:
        if self._sums is None:
            self._sums = tuple(
                torch.zeros(size, dtype=torch.float64, device=self.means.device)
                for size in (len(self.means), self.means.shape, self.whitening.shape)
            )
        counts, sums, squares = self._sums
        for scale in self.cells.outputs(batch, networks).scales:
            labels = self.cells.labels(scale, batch.labels)
            if self.classes != "labels":
                predicted = self.classes == "predicted"
                told = self.cells.labels(scale, networks["base"](batch).prediction()) if predicted else 0
                labels = torch.where(labels < ANOMALY, told, IGNORE)
            labels = labels.flatten()
            features = self.cells.features(scale)
            for c in labels.unique().tolist():
                if c < len(counts):
                    rows = features[labels == c].double()
                    counts[c] += len(rows)
                    sums[c] += rows.sum(dim=0)
                    squares[0 if self.tied else c] += rows.T @ rows

    def fit(self, data: FitData, networks: Networks) -> None:
        if self._sums is None or not self._sums[0].any():
            raise BenchmarkError("no training pixel has a class, so there are no class means; use labelled images.")
        (counts, sums, squares), self._sums = self._sums, None
        present, number = counts > 0, int((counts > 0).sum())
        means = sums / counts.clamp(min=1)[:, None]
        outer = counts[:, None, None] * means[:, :, None] * means[:, None, :]
        tied = (squares.sum(dim=0) - outer.sum(dim=0)) / (counts.sum() - number).clamp(min=1)
        covariance = tied[None] if self.tied else (squares - outer) / (counts - 1).clamp(min=1)[:, None, None]
        identity = torch.eye(len(tied), dtype=tied.dtype, device=tied.device)
        factor, failed = torch.linalg.cholesky_ex(covariance + RIDGE * tied.trace() / len(tied) * identity)
        if failed.any():
            raise BenchmarkError(
                f"the features '{'+'.join(self.cells.taps)}' do not vary within the classes, so there is no distance; "
                f"train the network longer or take another tap."
            )
        self.present.copy_(present)
        self.means.copy_(means)
        self.whitening.copy_(torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False))

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = self.cells.outputs(batch, networks)
        total = 0
        for scale in outputs.scales:
            distances = self.distances(self.cells.features(scale))
            total = total + self.cells.map(scale, distances, outputs.size)
        return total / len(outputs.scales)

    def distances(self, features: Tensor) -> Tensor:
        """Squared distance of features (N, D) to the nearest class, (N,)."""
        means = self.means[self.present]
        # Distances are small differences of large numbers, for which bfloat16 is too coarse.
        with torch.autocast(features.device.type, enabled=False):
            if self.tied:
                centre, whitening = means.mean(dim=0), self.whitening[0].T
                pairs = torch.cdist((features - centre) @ whitening, (means - centre) @ whitening)
                return pairs.amin(dim=1).square()
            best = torch.full_like(features[:, 0], torch.inf)
            for mean, whitening in zip(means, self.whitening[self.present], strict=True):
                best = torch.minimum(best, ((features - mean) @ whitening.T).square().sum(dim=1))
            return best
