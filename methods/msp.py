"""Maximum softmax probability, the baseline of the field."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.method import Batch, Method, Networks

from ._confidence import negative_log_max


class MSP(Method):
    r"""Maximum softmax probability: ``s = -log max_c p_c``.

    The logarithm ranks like ``1 - max p``, without the ties where float32 rounds the maximum to 1. With several test
    scales, ``p`` is their mean softmax.

    Args:
        double_softmax: apply the softmax a second time, to the probabilities, as the released evaluation of
            StreetHazards does: ``s = 1 - max_c softmax(p)_c``. It depends on all probabilities, not only the largest.

    Source: Hendrycks and Gimpel, ICLR 2017; for pixels: Hendrycks et al., ICML 2022 (StreetHazards).
    """

    title = "MSP"
    paper = "Hendrycks and Gimpel, ICLR 2017"
    paper_variants = ("msp:double_softmax=true",)

    def __init__(self, double_softmax: bool = False) -> None:
        super().__init__()
        self.double_softmax = double_softmax

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = networks["base"](batch)
        log_probabilities = outputs.log_probabilities()
        if self.double_softmax:
            return 1 - torch.softmax(log_probabilities.exp(), dim=1).amax(dim=1)
        return negative_log_max(log_probabilities.exp())
