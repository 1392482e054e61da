"""UNO: how much more a pixel's masks look like a class than like what was pasted into the training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from benchmark.methods._masks import masks_of
from torch import Tensor

from benchmark.blocks import Masks
from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec


class UNO(Method):
    """Uncertainty with negative objectness: ``s = -sum_q G_q (max_k P_qk - P_q,out)`` with ``G_q = sigmoid(m_q)``.

    P is the softmax over the K known classes, the class "out" of objects that are none of them, and "no object"; the
    maximum is over the K. The network must have been trained with such a class, on objects pasted into its images;
    nothing of that is done here. Without the class "out", the score is that of EAM less 1.

    Args:
        index: output of the class "out"; -1 is the one beyond the classes of the dataset, as of ``--classes NAME+1``.

    Source: Delic et al., "Outlier detection by ensembling uncertainty with negative objectness", BMVC 2024; as in
        matejgrcic/Open-set-M2F.
    """

    title = "UNO"
    paper = "Delic et al., BMVC 2024"
    auxiliary_data = True
    trial: Mapping[str, Any] = {"index": 1}

    def __init__(self, index: int = -1) -> None:
        super().__init__()
        if index < -1:
            raise ValueError("the index is an output, 0 or more, or -1.")
        self.index = index

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return masks_of(base)

    def build(self, networks: Networks) -> None:
        outputs, names = networks["base"].spec.classes, networks["base"].class_names
        self.out = outputs - 1 if self.index == -1 else self.index
        if self.index == -1 and (names is None or outputs != len(names) + 1):
            raise BenchmarkError(
                f"needs an output for objects of no class, and none of the {outputs} is known to be it; say so by "
                f"--classes NAME+1, or give index=N."
            )
        if self.out >= outputs:
            raise BenchmarkError(f"there is no output {self.out} among {outputs}; give index=0..{outputs - 1}.")

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return -networks["base"](batch).over_masks(self.known)[:, 0]

    def known(self, masks: Masks) -> Tensor:
        """``sum_q G_q (max_k P_qk - P_q,out)``, (B, 1, H, W)."""
        out = masks.classes[..., self.out : self.out + 1]
        known = torch.cat([masks.classes[..., : self.out], masks.classes[..., self.out + 1 : -1]], dim=-1)
        return masks.weighted(known.amax(dim=-1, keepdim=True) - out)
