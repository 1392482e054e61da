"""Features and training labels where the features are: of the shared network, or of a frozen pretrained encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import IGNORE
from benchmark.encoders import frozen
from benchmark.method import PENULTIMATE, Batch, Need, Networks
from benchmark.network import NetworkSpec, Outputs, ScaleOutputs
from benchmark.training.segmentation import nearest

LEVELS = "16+8+32"
"""Taps of a frozen encoder where nobody says otherwise, chosen on CamVid's validation images with pasted objects."""


class Cells:
    """Where a method takes its features from: a role among its networks, and taps that are joined cell by cell.

    Several taps are joined on the grid of the first: each is averaged or bilinearly resized to it and brought to length
    1 per cell, so that none outweighs the others, and all are concatenated. A single tap stays as it is.

    Args:
        tap: names joined by "+"; of an encoder PENULTIMATE, which it does not have, stands for :data:`LEVELS`.
        encoder: timm's name of a frozen pretrained encoder; empty is the shared network.
    """

    def __init__(self, tap: str, encoder: str = "") -> None:
        self.taps = tuple((LEVELS if encoder and tap == PENULTIMATE else tap).split("+"))
        if not all(self.taps) or len(set(self.taps)) < len(self.taps):
            raise ValueError("tap is one feature or different ones joined by '+'.")
        self.encoder = encoder
        self.role = "encoder" if encoder else "base"

    def needs(self, base: NetworkSpec) -> dict[str, Need]:
        """The network that holds the features, by its role."""
        return {self.role: Need(frozen(self.encoder) if self.encoder else base, self.taps)}

    def outputs(self, batch: Batch, networks: Networks) -> Outputs:
        """What that network says of a batch."""
        return networks[self.role](batch)

    def channels(self, networks: Networks) -> int:
        """D, the number of channels of all taps together."""
        return sum(networks[self.role].channels(tap) for tap in self.taps)

    def features(self, scale: ScaleOutputs) -> Tensor:
        """One row per cell, (B * h * w, D)."""
        first, *others = (scale.taps[tap] for tap in self.taps)
        if others:
            size = first.shape[-2:]
            first = torch.cat([F.normalize(x, dim=1) for x in (first, *(_on_grid(x, size) for x in others))], dim=1)
        return first.permute(0, 2, 3, 1).flatten(0, 2)

    def labels(self, scale: ScaleOutputs, labels: Tensor) -> Tensor:
        """Labels (B, H, W) at the centres of the cells, (B, h, w); cells centred on padding are ignored."""
        return cell_labels(scale, labels, self.taps[0])

    def map(self, scale: ScaleOutputs, values: Tensor, size: tuple[int, int]) -> Tensor:
        """One value per cell (B * h * w,), in the order of :meth:`features`, as a map (B, *size)."""
        grid = scale.taps[self.taps[0]].shape
        return scale.upsample(values.view(grid[0], 1, *grid[-2:]), size)[:, 0]


def cell_labels(scale: ScaleOutputs, labels: Tensor, tap: str) -> Tensor:
    """Labels (B, H, W) at the centres of the cells of a tap, (B, h, w); cells centred on padding are ignored."""
    bottom, right = (seen - shown for seen, shown in zip(scale.padded, scale.covers, strict=True))
    return nearest(F.pad(labels, (0, right, 0, bottom), value=IGNORE), scale.taps[tap].shape[-2:])


def _on_grid(features: Tensor, size: Sequence[int]) -> Tensor:
    """Averages where the grid gets coarser, bilinear values where it gets finer."""
    if features.shape[-1] > size[-1]:
        return F.adaptive_avg_pool2d(features, tuple(size))
    return F.interpolate(features, tuple(size), mode="bilinear", align_corners=False)
