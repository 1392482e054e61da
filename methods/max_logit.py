"""Maximum logit."""

from __future__ import annotations

from torch import Tensor

from benchmark.method import Batch, Method, Networks


class MaxLogit(Method):
    """Maximum logit: ``s = -max_c z_c`` of the raw logits upsampled to the image.

    With several test scales, logits are averaged before the maximum.

    Source: Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022.
    """

    title = "Max-logit"
    paper = "Hendrycks et al., ICML 2022"

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return -networks["base"](batch).max_logits()[0]
