"""DMLNet: a network whose outputs are drawn to one fixed point per class; what is unknown stays between them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from benchmark.data import Batch
from benchmark.method import Method, Networks
from benchmark.recipe import LIGHT_SEGMENTATION, LightRecipe, Recipe
from benchmark.training import FitData, Segmentation, seeded
from benchmark.training.segmentation import cross_entropy, on_one_grid

from ._confidence import negative_log_max

DISTANCE = 3.0
"""Of the prototypes from the origin, each on an axis of its own."""
VARIANCE = 0.01
LARGEST = 400.0


class DMLNet(Method):
    r"""Deep metric learning: ``s = -min(D, 400)``, ``D = sum_c ||z - 3 e_c||^2``, z a network's own outputs.

    A network like the shared one, but without a softmax at its end, is trained from the start by

        CE(-||z - 3 e_c||^2) + 0.01 mean ||z - 3 e_y||^2     over the pixels of known classes

    so that the pixels of class c come to lie at its prototype ``3 e_c``, where D is 18 (C - 1), and what belongs to
    none in the middle, where it is about half of that. z is upsampled, and with several test scales D is averaged over
    them. No outliers are used. The network's own mIoU on the validation images stands in the record's `fit`.

    Args:
        criterion: "eds", the sum of distances above, or "mmsp", -log of the largest softmax of the same network. The
            paper mixes the two after dividing D by its largest value in the image, which would make scores of different
            images incomparable; so here each stands alone.

    Source: Cen et al., "Deep Metric Learning for Open World Semantic Segmentation", ICCV 2021;
        Jun-CEN/Open-World-Semantic-Segmentation.
    """

    title = "DMLNet"
    paper = "Cen et al., ICCV 2021"
    score_options = frozenset({"criterion"})
    recipes: Mapping[str, Recipe] = {
        "dmlnet": Recipe(
            task="dmlnet", steps_per_epoch=1500, scales=(300, 375, 450, 525, 600), max_size=1000, aux_weight=0.0
        )
    }
    light: Mapping[str, LightRecipe] = {"dmlnet": LIGHT_SEGMENTATION}

    def __init__(self, criterion: Literal["eds", "mmsp"] = "eds") -> None:
        super().__init__()
        self.criterion = criterion

    def build(self, networks: Networks) -> None:
        self.network = copy.deepcopy(networks["base"].module)

    def fit(self, data: FitData, networks: Networks) -> None:
        recipe = data.recipes["dmlnet"]
        with seeded(recipe):
            self.network.load_state_dict(networks["base"].untrained().state_dict())
        self.network.requires_grad_(True)
        data.train(Metric(self.network, data.train_set.classes), recipe)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        spec = networks["base"].spec
        scales = [self.network.segment(batch.images, scale, spec.max_size) for scale in spec.scales or (0,)]
        if self.criterion == "mmsp":
            # Their softmax is that of 6 z: what else is in the squared distances is the same for all classes.
            logits = (2 * DISTANCE * scale.upsample(scale.logits, batch.size) for scale in scales)
            return negative_log_max(torch.stack([z.softmax(dim=1) for z in logits]).mean(dim=0))
        distances = [distance(scale.upsample(scale.logits, batch.size)) for scale in scales]
        return -torch.stack(distances).mean(dim=0).clamp(max=LARGEST)

    @property
    def forwards(self) -> float:
        return 1.0


class Metric(Segmentation):
    """Cross-entropy of the distances to the prototypes, and the distance to the own one."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        outputs = self.network(self.network.prepare(batch.images).inputs)
        z, labels = on_one_grid(outputs["logits"], batch.labels, self.recipe.label_size)
        squares = to_prototypes(z)
        known = labels < len(self.classes)
        own = squares.gather(1, labels.long().masked_fill(~known, 0)[:, None])[:, 0]
        variance = own[known].sum() / known.sum().clamp(min=1)
        entropy = cross_entropy(-squares, labels, len(self.classes))
        return {"loss": entropy + VARIANCE * variance, "entropy": entropy, "variance": variance}


def to_prototypes(z: Tensor) -> Tensor:
    """``||z - 3 e_c||^2`` for every class, (B, C, H, W) like z."""
    return z.square().sum(dim=1, keepdim=True) - 2 * DISTANCE * z + DISTANCE**2


def distance(z: Tensor) -> Tensor:
    """``sum_c ||z - 3 e_c||^2`` of outputs (B, C, H, W), (B, H, W)."""
    return to_prototypes(z).sum(dim=1)
