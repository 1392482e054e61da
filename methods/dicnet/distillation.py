"""Training the student: regress the teacher's features on normal images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.data import Batch
from benchmark.network import Network
from benchmark.training import Task

from .student import on_grid_of


class Distillation(Task):
    """Mean squared error between the student's and the frozen teacher's features; labels are not used.

    Args:
        teacher: trained network; stays in eval mode and is not part of the training state.
        student: normalised images to features of the teacher's shape.
        tap: the teacher's feature to regress.
    """

    def __init__(self, teacher: Network, student: nn.Module, tap: str) -> None:
        super().__init__()
        self.student = student
        self.tap = tap
        self.stride = teacher.stride
        self._teacher = (teacher,)  # in a tuple: a child module would be trained, saved and put in training mode

    def targets(self, batch: Batch, scale: int = 0) -> tuple[Tensor, Tensor]:
        """Network inputs and the teacher's features for them."""
        (teacher,) = self._teacher
        with torch.no_grad():
            inputs = teacher.prepare(batch.images, scale, self.recipe.max_size).inputs
            return inputs, teacher(inputs, (self.tap,))[self.tap].float()

    def loss(self, batch: Batch) -> Tensor:
        inputs, target = self.targets(batch)
        return F.mse_loss(on_grid_of(target, self.student(inputs).float()), target)

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Unexplained share of the teacher's variance, and the loss itself, on validation images.

        "unexplained" is ``MSE / mean_k Var(T_k)``, the variance of each channel taken over all positions of all images:
        1 is a student that only knows each channel's mean, 0 a perfect copy (which would find no anomaly either). A
        recipe with one scale is validated at that scale, any other at the native size.
        """
        scale = self.recipe.scales[0] if len(self.recipe.scales) == 1 else 0
        errors = total = squares = 0.0
        count = 0
        for batch in batches:
            inputs, target = self.targets(batch, scale)
            target = target.double()
            student = on_grid_of(target, self.student(inputs).double())
            errors += float((student - target).square().mean(dim=1).sum())
            total = total + target.sum(dim=(0, 2, 3))
            squares = squares + target.square().sum(dim=(0, 2, 3))
            count += target[:, 0].numel()
        variance = float((squares / count - (total / count) ** 2).mean())
        return {"unexplained": errors / count / max(variance, 1e-12), "mse": errors / count}
