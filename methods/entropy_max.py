"""Entropy maximisation: the segmentation network learns to be unsure of pasted objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.method import Batch, Networks
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData, Segmentation
from benchmark.training.segmentation import cross_entropy, on_one_grid
from benchmark.values import Fraction

from ._outliers import OutlierExposure, copied, mean_where, outlying, run


class EntropyMax(OutlierExposure):
    r"""Entropy of a network that was trained on to be unsure of outliers: ``s = -(1 / log C) sum_c p_c log p_c``.

    A copy of the shared network is trained on, on images with pasted objects, by

        (1 - alpha) CE(known pixels) + alpha mean_{pasted pixels} l(p)

    - "entropy" ``l(p) = -(1/C) sum_c log p_c``, the cross-entropy against the uniform distribution, at least log C;
    - "jsd" ``l(p) = KL(p || m)/2 + KL(u || m)/2`` with u uniform and ``m = (p + u)/2``, the Jensen-Shannon divergence,
      at most log 2, so that no pixel outweighs the others: NFlowJS's loss on our objects instead of its flow's samples.

    Both are 0 respectively log C only at p = u. Each mean is over its own pixels; the released code divides both sums
    by the number of all pixels, so that the weight of an object grows with its size. With several test scales, p is
    the mean softmax. The mIoU of the copy on the validation images stands in the record's `fit`.

    Args:
        alpha: weight of the outliers.
        loss: "entropy" or "jsd".
        share: of the images that get objects; 0 is the ablation without outliers. The authors add a tenth of whole
            images of COCO, of which most pixels are outliers.
        cutouts: as of every such method (:class:`~benchmark.methods._outliers.OutlierExposure`).

    Source: Chan et al., "Entropy Maximization and Meta Classification for Out-Of-Distribution Detection in Semantic
        Segmentation", ICCV 2021, without the meta classifier; robin-chan/meta-ood. "jsd": Grcic et al., NFlowJS,
        arXiv 2112.12833.
    """

    title = "Entropy maximisation"
    paper = "Chan et al., ICCV 2021"
    recipes: Mapping[str, Recipe] = {
        # Crops of 480 pixels, batch 8 and 4 epochs are those of the released checkpoint for SegmentMeIfYouCan.
        "entropy_max": Recipe(
            task="entropy_max",
            epochs=4,
            steps_per_epoch=0,
            optimiser="adam",
            lr=1e-5,
            weight_decay=0.0,
            schedule="constant",
            crop=(480, 480),
            aux_weight=0.0,
            label_size="full",
        )
    }
    light: Mapping[str, LightRecipe] = {
        "entropy_max": LightRecipe(epochs=0.5, segmentation=True, changes={**FAST, "lr": 2e-4, "label_size": "half"})
    }

    def __init__(
        self,
        alpha: Fraction = 0.9,
        loss: Literal["entropy", "jsd"] = "entropy",
        share: Fraction = 0.5,
        cutouts: str = "",
    ) -> None:
        super().__init__(share, cutouts)
        self.alpha = alpha
        self.loss = loss

    def build(self, networks: Networks) -> None:
        self.network = copied(networks)

    def fit(self, data: FitData, networks: Networks) -> None:
        task = Unsure(self, data)
        data.train(task, data.recipes["entropy_max"])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        log_p = run(self.network, batch, networks["base"].spec).log_probabilities()
        return -(log_p.exp() * log_p).sum(dim=1) / math.log(log_p.shape[1])

    @property
    def forwards(self) -> float:
        return 1.0


class Unsure(Segmentation):
    """Cross-entropy of known pixels and what makes the network unsure of pasted ones."""

    def __init__(self, method: EntropyMax, data: FitData) -> None:
        super().__init__(method.network.requires_grad_(True), data.train_set.classes)
        self.pasting = method.pasting(data)
        self.alpha, self.outlier_loss = method.alpha, LOSSES[method.loss]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        outputs = self.network(self.network.prepare(batch.images).inputs)
        logits, labels = on_one_grid(outputs["logits"], batch.labels, self.recipe.label_size)
        known = cross_entropy(logits, labels, len(self.classes))
        outliers = mean_where(self.outlier_loss(logits), outlying(labels))
        return {"loss": (1 - self.alpha) * known + self.alpha * outliers, "known": known, "outliers": outliers}


def cross_entropy_of_uniform(logits: Tensor) -> Tensor:
    """``-(1/C) sum_c log p_c`` of logits (B, C, H, W), (B, H, W); log C where they are equal, else more."""
    return -F.log_softmax(logits, dim=1).mean(dim=1)


def divergence_from_uniform(logits: Tensor) -> Tensor:
    """Jensen-Shannon divergence of p and the uniform distribution, (B, H, W); 0 where they are equal, below log 2."""
    log_p = F.log_softmax(logits, dim=1)
    log_u = torch.full_like(log_p, -math.log(logits.shape[1]))
    log_m = torch.logaddexp(log_p, log_u) - math.log(2)
    return ((log_p.exp() * (log_p - log_m)).sum(dim=1) + (log_u.exp() * (log_u - log_m)).sum(dim=1)) / 2


LOSSES = {"entropy": cross_entropy_of_uniform, "jsd": divergence_from_uniform}
