"""Features of thousands of channels, compared without ever holding more than two sums and one scale of them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.network import ScaleOutputs

CHUNK = 256
"""Channels that are resized at a time."""


def quarter(size: tuple[int, int]) -> tuple[int, int]:
    """(H/4, W/4), rounded up: the grid on which features are compared."""
    return math.ceil(size[0] / 4), math.ceil(size[1] / 4)


def add_resized(total: Tensor | None, features: Tensor, scale: ScaleOutputs, size: tuple[int, int]) -> Tensor:
    """Add the features of one scale, resized bilinearly to the quarter grid of the image, to a running sum.

    Args:
        total: (B, D, *quarter(size)), changed in place, or None for the first scale.
        features: (B, D, h, w) of that scale.
        scale: says which part of its grid shows the image.
        size: (H, W) of the image in pixels.
    Returns:
        the sum.
    """
    grid = quarter(size)
    # At the native size the padding is cut off on a grid of exactly 4 pixels; any other scale shows nothing but image.
    target = grid if scale.covers == scale.padded else quarter(scale.padded)
    if total is None:
        total = features.new_zeros(*features.shape[:2], *grid)
    for part, chunk in zip(total.split(CHUNK, dim=1), features.split(CHUNK, dim=1), strict=True):
        resized = F.interpolate(chunk, target, mode="bilinear", align_corners=False)
        part += resized[..., : grid[0], : grid[1]]
    return total


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of two feature maps (B, D, h, w) in every place, (B, h, w); 0 where one of them is the zero vector."""
    dot = left = right = torch.zeros((), device=first.device)
    for a, b in zip(first.split(CHUNK, dim=1), second.split(CHUNK, dim=1), strict=True):
        dot = dot + (a * b).sum(dim=1)
        left = left + a.square().sum(dim=1)
        right = right + b.square().sum(dim=1)
    return (dot / (left.sqrt() * right.sqrt()).clamp(min=1e-12)).clamp(-1, 1)
