"""KL-matching: divergence from the typical class distributions of the training images."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Networks
from benchmark.training import FitData

STEP = 8  # of the rows and columns that are looked at in a training image


class KLMatching(Method):
    r"""KL-matching: ``s = min_k KL(p || d_k) = min_k sum_c p_c log(p_c / d_kc)``.

    ``d_k`` is the mean softmax over the pixels (every 8th row and column) of the training images that are predicted as
    class k, whatever their label. It comes from full-size maps as p does, since upsampled logits are flatter than those
    of the cells. A class that is never predicted has no part in the minimum, where the released code puts a one-hot.
    A pixel that is sure of k does not score 0 but ``-log d_kk``. With several test scales, p is their mean softmax.

    Args:
        match: "min", or "predicted" for ``d_k`` of the pixel's own prediction (pytorch-ood; there made of labels).

    Source: Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022.
    """

    title = "KL-matching"
    paper = "Hendrycks et al., ICML 2022"
    score_options = frozenset({"match"})
    needs_classes = False

    def __init__(self, match: str = "min") -> None:
        super().__init__()
        if match not in ("min", "predicted"):
            raise ValueError("match is min or predicted.")
        self.match = match
        self._sums: Tensor | None = None  # while observing: of p by predicted class, (C, C), float64

    def build(self, networks: Networks) -> None:
        classes = networks["base"].spec.classes
        self.register_buffer("log_typical", torch.zeros(classes, classes))  # log d_kc
        self.register_buffer("present", torch.zeros(classes, dtype=torch.bool))

    def observe(self, batch: Batch, networks: Networks) -> None:
        seen = networks["base"](batch).log_probabilities()[..., STEP // 2 :: STEP, STEP // 2 :: STEP]
        p = seen.permute(0, 2, 3, 1).flatten(0, 2).double().exp()
        if self._sums is None:
            self._sums = torch.zeros(self.log_typical.shape, dtype=torch.float64, device=p.device)
        self._sums.index_add_(0, p.argmax(dim=1), p)

    def fit(self, data: FitData, networks: Networks) -> None:
        if self._sums is None or not self._sums.any():
            raise BenchmarkError("no training image has 5 pixels a side, so there are no typical predictions.")
        mass = self._sums.sum(dim=1, keepdim=True)  # every p has sum 1, so that this is the number of pixels
        self.present.copy_(mass[:, 0] > 0)
        self.log_typical.copy_((self._sums / mass.clamp(min=1)).clamp(min=torch.finfo(torch.float32).tiny).log())

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = networks["base"](batch)
        log_p, p = outputs.log_probabilities(), outputs.log_probabilities().exp()
        with torch.autocast(p.device.type, enabled=False):  # bfloat16 is too coarse for a difference
            cross = torch.einsum("kc,bchw->bkhw", self.log_typical, p)
        cross = torch.where(self.present.view(-1, 1, 1), cross, -torch.inf)
        nearest = cross.amax(dim=1)
        if self.match == "predicted":
            own = cross.gather(1, outputs.prediction()[:, None])[:, 0]
            nearest = torch.where(own.isinf(), nearest, own)
        return (p * log_p).sum(dim=1) - nearest
