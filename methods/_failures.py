"""What methods share that learn where the frozen segmentation network is wrong."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.method import Batch, Handle
from benchmark.training import Task
from benchmark.training.segmentation import on_one_grid, validation_scale

from ._outliers import inlying, mean_where


class Failures(Task):
    """Cross-entropy of log-odds o against the errors of a network, ``[argmax_c z_c != y]``, errors counted w times.

    A subclass says what the log-odds are (:meth:`odds`), and may change the images first (:meth:`changed`).

    Args:
        base: the network, frozen; a handle and no module, so that it is neither trained nor saved.
        taps: features of it that the log-odds are made of.
        weight: w.
        void: whether pixels without a class count, as errors.
    """

    def __init__(self, base: Handle, taps: Sequence[str], weight: float = 1.0, void: bool = False) -> None:
        super().__init__()
        self.base, self.taps, self.stride = base, tuple(taps), base.module.stride
        self.weight, self.void = weight, void

    @abstractmethod
    def odds(self, inputs: Tensor, features: Sequence[Tensor], logits: Tensor) -> Tensor:
        """Log-odds (B, 1, h, w) of an error, on any grid.

        Args:
            inputs: normalised images (B, 3, H, W).
            features: one map for each of `taps`.
            logits: of the network, (B, C, h', w').
        """

    def changed(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) as they are trained on."""
        return inputs

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        inputs = self.changed(self.base.module.prepare(batch.images).inputs, batch.labels)
        odds, wrong, counts = self.judged(inputs, batch.labels)
        weight = torch.tensor(self.weight, device=odds.device)
        losses = F.binary_cross_entropy_with_logits(odds, wrong.float(), reduction="none", pos_weight=weight)
        return {"loss": mean_where(losses, counts), "errors": mean_where(wrong.float(), counts)}

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Cross-entropy and share of errors on images as they are, and the cross-entropy of what only knows this share
        ("blind").

        Errors count once here. The weight in the loss adds its logarithm to the log-odds, which is taken off.
        """
        total = errors = count = 0.0
        for batch in batches:
            inputs = self.base.module.prepare(batch.images, *validation_scale(self.recipe)).inputs
            odds, wrong, counts = self.judged(inputs, batch.labels)
            odds, wrong = odds[counts] - math.log(self.weight), wrong[counts]
            total += float(F.binary_cross_entropy_with_logits(odds, wrong.float(), reduction="sum"))
            errors, count = errors + int(wrong.sum()), count + len(wrong)
        share = errors / max(count, 1)
        blind = -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)
        return {"cross-entropy": total / max(count, 1), "errors": share, "blind": blind}

    def exactly(self) -> torch.autocast:
        """Context in which the network makes the errors that it makes in tests, whatever the training's precision: in
        bfloat16 it would not see small changes of an image."""
        return torch.autocast(self.base.device.type, enabled=False)

    def judged(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-odds, whether the network is wrong, and whether that counts, (B, H, W) each on the grid of the loss."""
        network = self.base.module
        own = [network.tap(tap) for tap in self.taps]
        with torch.no_grad(), self.exactly():
            maps = network(inputs, tuple(dict.fromkeys(own)))
        odds = self.odds(inputs, [maps[tap] for tap in own], maps["logits"])
        odds, seen = on_one_grid(odds, labels, self.recipe.label_size)
        logits, _ = on_one_grid(maps["logits"], labels, self.recipe.label_size)
        counts = torch.ones_like(seen, dtype=torch.bool) if self.void else inlying(seen)
        return odds[:, 0], logits.argmax(dim=1) != seen, counts
