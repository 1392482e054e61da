"""Segmentation: cross-entropy training of a network, mIoU on the validation split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import IGNORE, Batch
from benchmark.network import Network
from benchmark.recipe import Recipe
from benchmark.training.task import Task, make_optimiser


class Segmentation(Task):
    """``CE(logits) + aux_weight * CE(aux)``, averaged over the pixels of known classes.

    With ``label_size="feature"`` the labels are brought to the grid of the logits by nearest neighbour (CSAIL's
    semantic-segmentation-pytorch), with "full" the logits to the labels bilinearly, with "half" both to half the
    labels' size, which costs a quarter of it and still sees thin objects.

    Args:
        network: what is trained.
        classes: names of the known classes.
    """

    def __init__(self, network: Network, classes: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.classes = tuple(classes)
        self.stride = network.stride

    def optimisers(self, recipe: Recipe) -> list[torch.optim.Optimizer]:
        """One optimiser; an encoder whose weights are pretrained learns more slowly where the recipe says so."""
        return [make_optimiser(self, recipe, encoder=self.network.encoder if self.network.pretrained else None)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        outputs = self.network(self.network.prepare(batch.images).inputs)
        losses = {"loss": self._cross_entropy(outputs["logits"], batch.labels)}
        if "aux" in outputs and self.recipe.aux_weight:
            losses["aux"] = self._cross_entropy(outputs["aux"], batch.labels)
            losses["loss"] = losses["loss"] + self.recipe.aux_weight * losses["aux"]
        return losses

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean IoU over the classes that occur in the labels, the share of pixels that are right, each class's IoU.

        A recipe with one scale is validated at that scale, as the network has seen no other; any other recipe at the
        native size. Logits are upsampled to the labels.
        """
        classes = len(self.classes)
        scale = self.recipe.scales[0] if len(self.recipe.scales) == 1 else 0
        confusion: Tensor | None = None
        for batch in batches:
            outputs = self.network.segment(batch.images, scale, self.recipe.max_size)
            predicted = outputs.upsample(outputs.logits, batch.size).max(1).indices
            known = batch.labels < classes
            cells = batch.labels[known].long() * classes + predicted[known]
            counts = torch.bincount(cells, minlength=classes**2)
            confusion = counts if confusion is None else confusion + counts
        if confusion is None:
            return {}
        table = confusion.view(classes, classes).double().cpu()
        hits, present = table.diagonal(), table.sum(1) > 0
        union = table.sum(0) + table.sum(1) - hits
        ious = hits / union
        return {
            "mIoU": float(ious[present].mean()),
            "accuracy": float(hits.sum() / table.sum()),
            **{f"IoU {name}": float(iou) for name, iou, here in zip(self.classes, ious, present, strict=True) if here},
        }

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.recipe.label_size == "feature":
            labels = nearest(labels, logits.shape[-2:])
        else:
            if self.recipe.label_size == "half":
                labels = nearest(labels, tuple(side // 2 for side in labels.shape[-2:]))
            logits = F.interpolate(logits.float(), labels.shape[-2:], mode="bilinear", align_corners=False)
        # Anomalies (254) are as unknown to the loss as ignored pixels.
        target = labels.long().masked_fill(labels >= len(self.classes), IGNORE)
        total = F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="sum")
        return total / (target != IGNORE).sum().clamp(min=1)


def nearest(labels: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Labels (B, H, W) at the centres of a grid of `size` cells, (B, *size)."""
    rows, columns = (
        ((torch.arange(cells, device=labels.device) + 0.5) * (side / cells)).long()
        for side, cells in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[:, rows[:, None], columns]
