"""DenseHybrid: what the network thinks likely, and a second head that tells known from outlier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.data import IGNORE
from benchmark.method import PENULTIMATE, Batch, Handle, Need, Networks
from benchmark.network import Network, NetworkSpec, Outputs
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData, Task
from benchmark.training.segmentation import closed_set, cross_entropy, on_one_grid, validation_scale
from benchmark.values import Amount, Fraction

from ._outliers import OutlierExposure, copied, inlying, mean_where, outlying, run, with_logits


class DenseHybrid(OutlierExposure):
    r"""Unnormalised likelihood and dataset posterior: ``s = -logsumexp_c z_c + log softmax(o)_out``.

    o are two logits (in, out) of a head BN - ReLU - 1x1 convolution on the penultimate features. A copy of the shared
    network and the head are trained on, on images with pasted objects, by

        CE(known pixels) + beta mean_{pasted pixels} logsumexp_c z_c + 10 beta NLL(o; in or out, all pixels)

    so that the logits of outliers fall and the head learns to tell them. The head begins at o = 0, where s is the
    energy minus log 2. With several test scales, z and o are averaged over them at full size. The mIoU of the copy on
    the validation images stands in the record's `fit`.

    Args:
        beta: weight of both outlier terms, the authors'.
        head_only: train the head alone, on the features of the shared network, which then stays as it is and is run
            once for all methods; z is its own.
        share: of the images that get objects; 0 is the ablation without outliers, whose head stays at o = 0.
        cutouts: as of every such method (:class:`~benchmark.methods._outliers.OutlierExposure`).

    The mean of logsumexp is not bounded from below: watch the mIoU where beta is raised.

    Source: Grcic et al., "DenseHybrid: Hybrid Anomaly Detection for Dense Open-set Recognition", ECCV 2022
        (arXiv 2207.02606); matejgrcic/DenseHybrid.
    """

    title = "DenseHybrid"
    paper = "Grcic et al., ECCV 2022"
    recipes: Mapping[str, Recipe] = {
        # As for Cityscapes: crops of 512 pixels, 10 epochs.
        "densehybrid": Recipe(
            task="densehybrid",
            epochs=10,
            steps_per_epoch=0,
            batch_size=12,
            optimiser="adam",
            lr=1e-6,
            weight_decay=0.0,
            schedule="constant",
            crop=(512, 512),
            aux_weight=0.0,
            label_size="full",
        ),
        # The head begins at random values, so it learns faster; the authors do not train it alone.
        "densehybrid_head": Recipe(
            task="densehybrid_head",
            epochs=3,
            steps_per_epoch=0,
            optimiser="adam",
            lr=1e-3,
            weight_decay=0.0,
            schedule="cosine",
            crop=(512, 512),
            aux_weight=0.0,
            label_size="full",
        ),
    }
    light: Mapping[str, LightRecipe] = {
        "densehybrid": LightRecipe(epochs=0.5, segmentation=True, changes={**FAST, "lr": 2e-4, "label_size": "half"}),
        "densehybrid_head": LightRecipe(
            epochs=0.25, segmentation=True, changes={**FAST, "lr": 3e-3, "label_size": "half"}
        ),
    }

    def __init__(self, beta: Amount = 0.03, head_only: bool = False, share: Fraction = 1.0, cutouts: str = "") -> None:
        super().__init__(share, cutouts)
        self.beta = beta
        self.head_only = head_only
        self.needs_classes = not head_only
        self.task = "densehybrid_head" if head_only else "densehybrid"
        self.recipes, self.light = ({self.task: each[self.task]} for each in (type(self).recipes, type(self).light))

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"base": Need(base, (PENULTIMATE,))}

    def build(self, networks: Networks) -> None:
        channels = networks["base"].channels(PENULTIMATE)
        self.network = None if self.head_only else copied(networks)
        self.posterior = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 2, 1))
        for parameter in self.posterior[-1].parameters():
            nn.init.zeros_(parameter)

    def fit(self, data: FitData, networks: Networks) -> None:
        task = Hybrid(self, networks["base"], data)
        data.train(task, data.recipes[self.task])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        base = networks["base"]
        outputs = run(self.network, batch, base.spec, (PENULTIMATE,)) if self.network else base(batch)
        return -torch.logsumexp(outputs.logits(), dim=1) + self._log_outlying(outputs)

    def _log_outlying(self, outputs: Outputs) -> Tensor:
        posterior = with_logits(outputs, (self.posterior(scale.taps[PENULTIMATE]) for scale in outputs.scales))
        return F.log_softmax(posterior.logits(), dim=1)[:, 1]

    @property
    def forwards(self) -> float:
        return 0.0 if self.head_only else 1.0


class Hybrid(Task):
    """The three terms; the last alone where only the head is trained."""

    def __init__(self, method: DenseHybrid, base: Handle, data: FitData) -> None:
        super().__init__()
        self.posterior = method.posterior
        self.network = method.network.requires_grad_(True) if method.network else None
        self.pasting = method.pasting(data)
        self.classes, self.beta, self.share = data.train_set.classes, method.beta, method.share
        self._base, self.stride = base, base.module.stride

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        with torch.set_grad_enabled(self.network is not None):
            network: Network = self.network or self._base.module
            maps = network(network.prepare(batch.images).inputs, (network.tap(PENULTIMATE),))
        features, size = maps[network.tap(PENULTIMATE)], self.recipe.label_size
        posterior, labels = on_one_grid(self.posterior(features), batch.labels, size)
        target = torch.where(inlying(labels), 0, torch.where(outlying(labels), 1, IGNORE))
        told = F.cross_entropy(posterior, target, ignore_index=IGNORE, reduction="none")
        told = mean_where(told, target != IGNORE)
        if self.network is None:
            return {"loss": told if self.share else 0 * told}
        logits, _ = on_one_grid(maps["logits"], batch.labels, size)
        known = cross_entropy(logits, labels, len(self.classes))
        outliers = mean_where(torch.logsumexp(logits, dim=1), outlying(labels))
        loss = known + self.beta * outliers + (10 * self.beta * told if self.share else 0 * told)
        return {"loss": loss, "known": known, "outliers": outliers, "posterior": told}

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean IoU of the copy; nothing where it is the shared network."""
        network = self.network
        if network is None:
            return {}
        return closed_set(
            batches, self.classes, lambda batch: network.segment(batch.images, *validation_scale(self.recipe))
        )
