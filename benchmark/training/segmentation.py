"""Segmentation: cross-entropy training of a network, mIoU on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import IGNORE, Batch
from benchmark.network import Network, ScaleOutputs
from benchmark.recipe import Recipe
from benchmark.training.task import Task


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

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        outputs = self.network(self.network.prepare(batch.images).inputs)
        losses = {"loss": self._cross_entropy(outputs["logits"], batch.labels)}
        if "aux" in outputs and self.recipe.aux_weight:
            losses["aux"] = self._cross_entropy(outputs["aux"], batch.labels)
            losses["loss"] = losses["loss"] + self.recipe.aux_weight * losses["aux"]
        return losses

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """:func:`closed_set` of the network.

        A recipe with one scale is validated at that scale, as the network has seen no other; any other recipe at the
        native size.
        """
        return closed_set(
            batches, self.classes, lambda batch: self.network.segment(batch.images, *validation_scale(self.recipe))
        )

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(*on_one_grid(logits, labels, self.recipe.label_size), len(self.classes))


def validation_scale(recipe: Recipe) -> tuple[int, int]:
    """Scale and largest side at which what is trained by a recipe is validated."""
    return recipe.scales[0] if len(recipe.scales) == 1 else 0, recipe.max_size


def closed_set(
    batches: Iterable[Batch], classes: Sequence[str], segment: Callable[[Batch], ScaleOutputs]
) -> dict[str, float]:
    """Mean IoU over the classes that occur in the labels, the share of pixels that are right, each class's IoU.

    Args:
        batches: with labels, at which the upsampled logits are compared.
        classes: names of the known classes.
        segment: gives the logits of a batch.
    """
    count = len(classes)
    confusion: Tensor | None = None
    for batch in batches:
        outputs = segment(batch)
        predicted = outputs.upsample(outputs.logits, batch.size).max(1).indices
        known = batch.labels < count
        cells = batch.labels[known].long() * count + predicted[known]
        counts = torch.bincount(cells, minlength=count**2)
        confusion = counts if confusion is None else confusion + counts
    if confusion is None:
        return {}
    table = confusion.view(count, count).double().cpu()
    hits, present = table.diagonal(), table.sum(1) > 0
    union = table.sum(0) + table.sum(1) - hits
    ious = hits / union
    return {
        "mIoU": float(ious[present].mean()),
        "accuracy": float(hits.sum() / table.sum()),
        **{f"IoU {name}": float(iou) for name, iou, here in zip(classes, ious, present, strict=True) if here},
    }


def on_one_grid(maps: Tensor, labels: Tensor, label_size: str) -> tuple[Tensor, Tensor]:
    """Maps (B, D, h, w) of a network, as float32, and labels (B, H, W) at the resolution at which a loss compares them.

    Args:
        maps: logits, or what else lies on their grid.
        labels: uint8.
        label_size: as in :class:`~benchmark.recipe.Recipe`.
    """
    if label_size == "feature":
        return maps.float(), nearest(labels, maps.shape[-2:])
    if label_size == "half":
        labels = nearest(labels, tuple(side // 2 for side in labels.shape[-2:]))
    return F.interpolate(maps.float(), labels.shape[-2:], mode="bilinear", align_corners=False), labels


def cross_entropy(logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean cross-entropy of the pixels of known classes, 0 without any; logits (B, C, H, W), labels (B, H, W).

    Anomalies (254) are as unknown to it as ignored pixels (255).
    """
    target = labels.long().masked_fill(labels >= classes, IGNORE)
    total = F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
    return total / (target != IGNORE).sum().clamp(min=1)


def nearest(labels: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Labels (B, H, W) at the centres of a grid of `size` cells, (B, *size)."""
    rows, columns = (
        ((torch.arange(cells, device=labels.device) + 0.5) * (side / cells)).long()
        for side, cells in zip(labels.shape[-2:], size, strict=True)
    )
    return labels[:, rows[:, None], columns]
