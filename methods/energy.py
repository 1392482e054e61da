"""Free energy of the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.method import Batch, Method, Networks


class Energy(Method):
    """Free energy: ``s = -T logsumexp_c(z_c / T)`` of the raw logits upsampled to the image.

    With several test scales, logits are averaged first.

    Args:
        temperature: T > 0.

    Source: Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020.
    """

    title = "Energy"
    paper = "Liu et al., NeurIPS 2020"

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError("the temperature must be positive.")
        self.temperature = float(temperature)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        logits = networks["base"](batch).logits()
        if self.temperature == 1:
            return -torch.logsumexp(logits, dim=1)
        return -self.temperature * torch.logsumexp(logits / self.temperature, dim=1)
