"""Models put into the world, all at once: a loop over objects would cost more than the painting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .mesh import Array, Mesh


@dataclass(frozen=True)
class Placed:
    """A model in the world.

    Attributes:
        order: place in the painter's order; a greater key is painted earlier.
        position: (x, y, z) in metres.
        yaw: radians about the vertical axis, from z towards x.
        scale: factors along the axes of the model.
        tint: factors of its red, green and blue.
    """

    mesh: Mesh
    order: tuple[float, ...]
    position: tuple[float, float, float]
    yaw: float = 0.0
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


def _to_world(points: Array, objects: Sequence[Placed], owner: NDArray[np.intp] | slice) -> Array:
    """World coordinates of (N, k, 3) points of the models; `owner` names the object of each row."""
    yaw = np.array([p.yaw for p in objects], np.float32)
    rows = np.array([p.scale for p in objects], np.float32), np.array([p.position for p in objects], np.float32)
    scale, position = (row[owner][:, :, None] for row in rows)
    cos, sin = np.cos(yaw)[owner][:, None], np.sin(yaw)[owner][:, None]
    x, z = points[..., 0] * scale[:, 0], points[..., 2] * scale[:, 2]
    world = np.empty_like(points)
    world[..., 0] = x * cos + z * sin + position[:, 0]
    world[..., 1] = points[..., 1] * scale[:, 1] + position[:, 1]
    world[..., 2] = z * cos - x * sin + position[:, 2]
    return world


def outlines(objects: Sequence[Placed]) -> Array:
    """Extreme points (n, k, 3) of the objects in the world."""
    return _to_world(np.stack([p.mesh.outline for p in objects]), objects, slice(None))


def footprints(objects: Sequence[Placed]) -> Array:
    """Extreme points (n, k, 3) of what touches the ground."""
    return _to_world(np.stack([p.mesh.footprint for p in objects]), objects, slice(None))


def place(objects: Sequence[Placed]) -> tuple[Mesh, NDArray[np.intp]]:
    """All objects as one mesh in world coordinates, and the index of the object of each quad."""
    owner = np.repeat(np.arange(len(objects)), [len(p.mesh.quads) for p in objects])
    quads = np.concatenate([p.mesh.quads for p in objects])
    colours = np.concatenate([p.mesh.colours for p in objects])
    colours[:, :3] *= np.array([p.tint for p in objects], np.float32)[owner]
    labels = np.concatenate([p.mesh.labels for p in objects])
    layers = np.concatenate([p.mesh.layers for p in objects])
    return Mesh(_to_world(quads, objects, owner), colours, labels, layers), owner
