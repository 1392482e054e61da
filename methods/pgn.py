"""PGN: norm of the gradient of the last layer, pixel by pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._per_cell import PerCell

SMALLEST = 1e-30
"""In the place of 0, which has no logarithm."""


class PGN(PerCell):
    r"""Pixel-wise gradient norm: ``s = log ||v||_r + log ||f||_r``, per feature cell, upsampled to the image.

    The gradient of the cross-entropy between the softmax p of a cell and a target t with respect to the weights of the
    last 1x1 convolution is the outer product ``(p - t) f^T`` with the features f in front of it, so that its r-norm is
    ``||p - t||_r ||f||_r`` and no backward is needed. Logarithms rank alike and do not overflow: with r = 0.1 the norm
    of 512 features reaches 1e27. With several test scales, scores are averaged.

    Args:
        target: "onehot" is the network's own prediction, "uniform" is 1/C for every class.
        form: "exact" takes ``v = p - t``; where the target is uniform, that norm is large for confident cells and the
            score is its negative (GradNorm). "released" is what the authors' code takes: ``p_k``, 0 for the predicted
            class, or ``p_k (C - 1)/C`` where the target is uniform. For "onehot" and r = 1, log 2 lies between them.
        r: exponent of the norms, > 0; the authors look at 0.1, 0.3, 0.5, 1 and 2.

    Source: Maag and Riedlinger, "Pixel-wise Gradient Uncertainty for Convolutional Neural Networks applied to
        Out-of-Distribution Segmentation", VISAPP 2024; tobiasriedlinger/uncertainty-gradients-seg.
    """

    title = "PGN"
    paper = "Maag and Riedlinger, VISAPP 2024"

    def __init__(self, target: str = "onehot", form: str = "released", r: float = 0.5) -> None:
        super().__init__()
        if target not in ("onehot", "uniform") or form not in ("exact", "released"):
            raise ValueError("the target is onehot or uniform, the form exact or released.")
        if r <= 0:
            raise ValueError("r must be positive.")
        self.target, self.form, self.r = target, form, float(r)

    def score_cells(self, features: Tensor, logits: Tensor) -> Tensor:
        powers = (self.r * features.abs().log()).logsumexp(dim=1).clamp(min=math.log(SMALLEST))
        norm = ((self.r * self._log_factor(logits.log_softmax(dim=1))).logsumexp(dim=1) + powers) / self.r
        return -norm if (self.target, self.form) == ("uniform", "exact") else norm

    def _log_factor(self, log_p: Tensor) -> Tensor:
        """``log |v|`` of log-probabilities (N, C)."""
        classes = log_p.shape[1]
        if self.target == "uniform":
            if self.form == "released":
                return log_p + math.log((classes - 1) / classes)
            return (log_p.exp() - 1 / classes).abs().clamp(min=SMALLEST).log()
        index = log_p.argmax(dim=1, keepdim=True)
        others = log_p.scatter(1, index, -torch.inf)
        if self.form == "released":
            return others
        return others.scatter(1, index, others.logsumexp(dim=1, keepdim=True))  # 1 - p of it is the sum of the others
