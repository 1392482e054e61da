"""fDBD: distance of a feature to the decision boundaries."""

from __future__ import annotations

import torch
from torch import Tensor

from ._per_cell import Centred


class FDBD(Centred):
    r"""Fast decision boundary distance: ``s = -1/||f - mu|| sum_{c != y} (z_y - z_c) / ||w_y - w_c||``.

    ``z = W f + b`` is the last 1x1 convolution with the rows ``w_c``, y the predicted class, mu the mean feature of the
    training cells. Every summand is the distance of f to the hyperplane on which c is as likely as y. Computed per
    cell, then upsampled to the image; with several test scales, scores are averaged.

    Classes with equal rows have no boundary between them, and their pair is left out, where the released code divides
    by 0.

    Args:
        normaliser: "centred" divides by ``||f - mu||``, "length" by ``||f||``.

    Source: Liu and Qin, "Fast Decision Boundary based Out-of-Distribution Detector", ICML 2024.
    """

    title = "fDBD"
    paper = "Liu and Qin, ICML 2024"
    score_options = frozenset({"normaliser"})

    def __init__(self, normaliser: str = "centred") -> None:
        super().__init__()
        if normaliser not in ("centred", "length"):
            raise ValueError("the normaliser is centred or length.")
        self.normaliser = normaliser

    def score_cells(self, features: Tensor, logits: Tensor) -> Tensor:
        weight, _ = self.head.affine()
        gaps = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")
        inverse = torch.where(gaps > 0, 1 / gaps, 0)
        largest, predicted = logits.max(dim=1, keepdim=True)
        total = ((largest - logits) * inverse[predicted[:, 0]]).sum(dim=1)
        origin = self.mean if self.normaliser == "centred" else 0
        return -total / (features - origin).norm(dim=1).clamp(min=1e-12)
