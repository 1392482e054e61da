"""Training labels where the features are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from benchmark.data import IGNORE
from benchmark.network import ScaleOutputs
from benchmark.training.segmentation import nearest


def cell_labels(scale: ScaleOutputs, labels: Tensor, tap: str) -> Tensor:
    """Labels (B, H, W) at the centres of the cells of a tap, (B, h, w); cells centred on padding are ignored."""
    bottom, right = (seen - shown for seen, shown in zip(scale.padded, scale.covers, strict=True))
    return nearest(F.pad(labels, (0, right, 0, bottom), value=IGNORE), scale.taps[tap].shape[-2:])


def cell_features(scale: ScaleOutputs, tap: str) -> Tensor:
    """A tap (B, D, h, w) as one row per cell, (B * h * w, D)."""
    return scale.taps[tap].permute(0, 2, 3, 1).flatten(0, 2)


def cell_map(scale: ScaleOutputs, values: Tensor, tap: str, size: tuple[int, int]) -> Tensor:
    """One value per cell of a tap (B * h * w,), in the order of :func:`cell_features`, as a map (B, *size)."""
    grid = scale.taps[tap].shape
    return scale.upsample(values.view(grid[0], 1, *grid[-2:]), size)[:, 0]
