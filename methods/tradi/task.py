"""Segmentation training under a weight tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from benchmark.data import Batch
from benchmark.network import Network
from benchmark.training import Segmentation

from .tracker import WeightTracker


class TrackedSegmentation(Segmentation):
    """Segmentation whose weights are tracked after every step; the tracking changes nothing in the training.

    Args:
        network: what is trained.
        classes: names of the known classes.
        tracker: of that network.
        lr_floor: share of the initial learning rate below which the schedule does not fall.
    """

    def __init__(self, network: Network, classes: Sequence[str], tracker: WeightTracker, lr_floor: float) -> None:
        super().__init__(network, classes)
        self.tracker = tracker
        self.lr_floor = lr_floor

    def step(self, batch: Batch, optimisers: list[torch.optim.Optimizer]) -> Mapping[str, Tensor]:
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = max(group["lr"], self.lr_floor * group["initial_lr"])
        return super().step(batch, optimisers)

    def after_step(self, step: int, lr: float) -> None:
        self.tracker.update(max(lr, self.lr_floor * self.recipe.lr))
