"""EAM: a pixel that no mask explains is unknown."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.methods._masks import masks_of
from torch import Tensor

from benchmark.blocks import Masks
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec


class EAM(Method):
    """Ensemble over anomaly scores of masks: ``s = 1 - sum_q G_q max_k P_qk`` with ``G_q = sigmoid(m_q)``.

    P is the softmax over the K classes and "no object", which is left out of the maximum only. Every query counts with
    its own favourite class, so that ``s <= 1 - max_k S_k``; where several masks lie over each other it is negative.

    Source: Grcic et al., "On Advantages of Mask-level Recognition for Outlier-aware Segmentation", CVPRW 2023, without
        its training on negative data; as in matejgrcic/Open-set-M2F.
    """

    title = "EAM"
    paper = "Grcic et al., CVPRW 2023"

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return masks_of(base)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return 1 - networks["base"](batch).over_masks(explained)[:, 0]


def explained(masks: Masks) -> Tensor:
    """``sum_q G_q max_k P_qk``, (B, 1, H, W)."""
    return masks.weighted(masks.classes[..., :-1].amax(dim=-1, keepdim=True))
