"""NCI: closeness of a feature to the weights of its predicted class."""

from __future__ import annotations

from torch import Tensor

from ._per_cell import Centred


class NCI(Centred):
    r"""Neural collapse inspired: ``s = -(<w_y, f - mu> / ||f - mu|| + alpha ||f||_1)``.

    ``w_y`` is the row of the last 1x1 convolution for the predicted class y, not normalised, mu the mean feature of the
    training cells: towards the end of a training, centred features point along the weights of their class. Computed per
    cell, then upsampled to the image; with several test scales, scores are averaged.

    Args:
        alpha: weight of the L1 norm. It grows with the number of channels: the released code's 1e-4 is for 2048, and it
            looks at values up to 0.1; others belong chosen on validation images.

    Source: Liu and Qin, "Detecting Out-of-Distribution through the Lens of Neural Collapse", CVPR 2025.
    """

    title = "NCI"
    paper = "Liu and Qin, CVPR 2025"
    score_options = frozenset({"alpha"})

    def __init__(self, alpha: float = 1e-4) -> None:
        super().__init__()
        if alpha < 0:
            raise ValueError("alpha must not be negative.")
        self.alpha = float(alpha)

    def score_cells(self, features: Tensor, logits: Tensor) -> Tensor:
        weight, _ = self.head.affine()
        centred = features - self.mean
        along = (weight[logits.argmax(dim=1)] * centred).sum(dim=1) / centred.norm(dim=1).clamp(min=1e-12)
        return -(along + self.alpha * features.abs().sum(dim=1))
