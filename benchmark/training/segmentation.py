"""Segmentation: cross-entropy training of a network, mIoU on the validation split."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import IGNORE, Batch
from benchmark.network import Network
from benchmark.recipe import Recipe
from benchmark.training.task import Task


class Segmentation(Task):
    """``CE(logits) + aux_weight * CE(aux)``, averaged over the pixels of known classes.

    With ``label_size="feature"`` the labels are brought to the grid of the logits by nearest neighbour (CSAIL's
    semantic-segmentation-pytorch), with "full" the logits to the labels bilinearly.

    Args:
        network: what is trained.
        recipe: its aux_weight and label_size. A recipe with one scale is also validated at that scale, as the network
            will have seen no other; any other recipe at the native size.
    """

    def __init__(self, network: Network, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.stride = network.stride
        self._aux_weight = recipe.aux_weight
        self._full = recipe.label_size == "full"
        self._scale = recipe.scales[0] if len(recipe.scales) == 1 else 0
        self._max_size = recipe.max_size

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        outputs = self.network(self.network.normalise(batch.images))
        losses = {"loss": self._cross_entropy(outputs["logits"], batch.labels)}
        if "aux" in outputs and self._aux_weight:
            losses["aux"] = self._cross_entropy(outputs["aux"], batch.labels)
            losses["loss"] = losses["loss"] + self._aux_weight * losses["aux"]
        return losses

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean IoU over the classes that occur in the labels, and the share of pixels that are right."""
        classes = self.network.classes
        confusion: Tensor | None = None
        for batch in batches:
            outputs = self.network.segment(batch.images, self._scale, self._max_size)
            predicted = outputs.upsample(outputs.logits, batch.size).argmax(1)
            known = batch.labels < classes
            cells = batch.labels[known].long() * classes + predicted[known]
            counts = torch.bincount(cells, minlength=classes**2)
            confusion = counts if confusion is None else confusion + counts
        if confusion is None:
            return {}
        table = confusion.view(classes, classes).double().cpu()
        hits, present = table.diagonal(), table.sum(1) > 0
        union = table.sum(0) + table.sum(1) - hits
        return {"mIoU": float((hits / union)[present].mean()), "accuracy": float(hits.sum() / table.sum())}

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self._full:
            logits = F.interpolate(logits.float(), labels.shape[-2:], mode="bilinear", align_corners=False)
        else:
            labels = nearest(labels, logits.shape[-2:])
        # Anomalies (254) are as unknown to the loss as ignored pixels.
        target = labels.long().masked_fill(labels >= self.network.classes, IGNORE)
        total = F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="sum")
        return total / (target != IGNORE).sum().clamp(min=1)


def nearest(labels: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Labels (B, H, W) at the centres of a grid of `size` cells, (B, *size)."""
    rows, columns = (
        ((torch.arange(cells, device=labels.device) + 0.5) * (side / cells)).long()
        for side, cells in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[:, rows[:, None], columns]
