"""Meshes of quadrilaterals, and the few solids from which the whole town is built.

World coordinates are metres: x to the right, y up, z along the street. A triangle is a quad with a repeated corner.
The corners of a quad run bottom left, bottom right, top right, top left as seen from outside; only quads that face the
camera are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .classes import Label

Array = NDArray[np.float32]

_AZIMUTH = np.arange(8) * (np.pi / 4)
_DIRECTIONS = np.array(
    [
        (np.cos(a) * np.cos(e), np.sin(e), np.sin(a) * np.cos(e))
        for e in (0.0, 0.6, -0.6, 1.1)
        for a in _AZIMUTH + 0.35 * (e != 0)
    ],
    np.float32,
)


@dataclass(frozen=True)
class Mesh:
    """Coloured, labelled quads.

    Attributes:
        quads: float32 (N, 4, 3), metres.
        colours: float32 (N, 4), reflectance RGB 0..255 and emission 0..1 (1: not shaded at all).
        labels: uint8 (N,).
        layers: uint8 (N,), a higher layer is drawn over a lower one of the same object (windows over a facade).
    """

    quads: Array
    colours: Array
    labels: NDArray[np.uint8]
    layers: NDArray[np.uint8]

    @cached_property
    def outline(self) -> Array:
        """Corners (32, 3) that lie furthest out in as many directions: stands for the body where its hull will do."""
        points = self.quads.reshape(-1, 3)
        return points[(points @ _DIRECTIONS.T).argmax(0)]

    @cached_property
    def footprint(self) -> Array:
        """The same for what lies within half a metre of the lowest corner."""
        points = self.quads.reshape(-1, 3)
        points = points[points[:, 1] < points[:, 1].min() + 0.5]
        return points[(points @ _DIRECTIONS[:8].T).argmax(0)]

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0, scale: ArrayLike = 1.0) -> Mesh:
        """Scaled, turned about the vertical axis (radians, from z towards x), then moved."""
        c, s = np.cos(yaw), np.sin(yaw)
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)
        quads = (self.quads * np.asarray(scale, np.float32)) @ turn.T + np.array([x, y, z], np.float32)
        return replace(self, quads=quads)

    def tilted(self, pitch: float = 0.0, roll: float = 0.0) -> Mesh:
        """Turned about the x axis (pitch) and then about the z axis (roll), radians."""
        c, s = np.cos(pitch), np.sin(pitch)
        d, t = np.cos(roll), np.sin(roll)
        turn = np.array([[d, -t, 0], [t, d, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        return replace(self, quads=(self.quads @ turn.T).astype(np.float32))

    def mirrored(self) -> Mesh:
        """Mirrored at the plane x = 0."""
        quads = self.quads[:, ::-1] * np.array([-1, 1, 1], np.float32)
        return replace(self, quads=quads)

    def tinted(self, colour: ArrayLike) -> Mesh:
        """Every reflectance multiplied by `colour` / 255."""
        colours = self.colours.copy()
        colours[:, :3] *= np.asarray(colour, np.float32) / 255
        return replace(self, colours=colours)


def join(*meshes: Mesh) -> Mesh:
    """All quads as one object."""
    return Mesh(
        np.concatenate([m.quads for m in meshes]),
        np.concatenate([m.colours for m in meshes]),
        np.concatenate([m.labels for m in meshes]),
        np.concatenate([m.layers for m in meshes]),
    )


def surface(quads: ArrayLike, colour: ArrayLike, label: Label, layer: int = 0, glow: float = 0.0) -> Mesh:
    """Quads as they are; `colour` is one RGB or one per quad."""
    quads = np.asarray(quads, np.float32).reshape(-1, 4, 3)
    colours = np.empty((len(quads), 4), np.float32)
    colours[:, :3] = colour
    colours[:, 3] = glow
    return Mesh(quads, colours, np.full(len(quads), label, np.uint8), np.full(len(quads), layer, np.uint8))


def box(
    low: Sequence[float],
    high: Sequence[float],
    colour: ArrayLike,
    label: Label,
    taper: tuple[float, float] = (1.0, 1.0),
    layer: int = 0,
) -> Mesh:
    """Box between two corners without a bottom; `taper` shrinks its top in x and z.

    Faces are in the order -z, +z, -x, +x, top; the corners of a side run bottom left, bottom right, top right,
    top left as seen from outside, as :func:`panels` expects them.
    """
    (x0, y0, z0), (x1, y1, z1) = low, high
    cx, cz = (x0 + x1) / 2, (z0 + z1) / 2
    u0, u1 = cx + (x0 - cx) * taper[0], cx + (x1 - cx) * taper[0]
    w0, w1 = cz + (z0 - cz) * taper[1], cz + (z1 - cz) * taper[1]
    a, b, c, d = (x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)
    e, f, g, h = (u0, y1, w0), (u1, y1, w0), (u1, y1, w1), (u0, y1, w1)
    quads = [[a, b, f, e], [c, d, h, g], [d, a, e, h], [b, c, g, f], [e, f, g, h]]
    return surface(quads, colour, label, layer)


def panels(
    face: ArrayLike,
    spans_u: ArrayLike,
    spans_v: ArrayLike,
    colour: ArrayLike,
    label: Label,
    layer: int = 1,
    glow: ArrayLike = 0.0,
) -> Mesh:
    """Rectangles on a face, one per pair of a span along its bottom edge and a span along its height.

    Args:
        face: (4, 3) corners: bottom left, bottom right, top right, top left.
        spans_u: (n, 2) begin and end, 0..1, along the face.
        spans_v: (m, 2) begin and end, 0..1, up the face.
        colour: one RGB, or (m * n, 3), row after row from the bottom.
    """
    p, q, r, s = np.asarray(face, np.float32)
    us = np.asarray(spans_u, np.float32).reshape(-1, 2)
    vs = np.asarray(spans_v, np.float32).reshape(-1, 2)
    u = np.broadcast_to(us[None, :, [0, 1, 1, 0]], (len(vs), len(us), 4))[..., None]
    v = np.broadcast_to(vs[:, None, [0, 0, 1, 1]], (len(vs), len(us), 4))[..., None]
    points = (p * (1 - u) + q * u) * (1 - v) + (s * (1 - u) + r * u) * v
    return surface(points, colour, label, layer, glow)


def lathe(profile: ArrayLike, sides: int, colour: ArrayLike, label: Label, layer: int = 0) -> Mesh:
    """Surface of revolution about the y axis of a profile of (radius, y), from bottom to top."""
    profile = np.asarray(profile, np.float32)
    angle = np.arange(sides + 1, dtype=np.float32) * (2 * np.pi / sides)
    ring = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], -1)
    points = ring[None] * profile[:, None, :1] + np.array([0, 1, 0], np.float32) * profile[:, None, 1:]
    quads = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], 2)
    return surface(quads, colour, label, layer)


def ball(
    centre: Sequence[float],
    radii: ArrayLike,
    colour: ArrayLike,
    label: Label,
    rings: int = 6,
    sides: int = 9,
    layer: int = 0,
) -> Mesh:
    """Ellipsoid."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    mesh = lathe(np.stack([np.cos(angle), np.sin(angle)], -1), sides, colour, label, layer)
    return mesh.at(*centre, scale=radii)


def tube(
    start: Sequence[float],
    end: Sequence[float],
    radius: float,
    colour: ArrayLike,
    label: Label,
    end_radius: float | None = None,
    sides: int = 6,
    layer: int = 0,
) -> Mesh:
    """Closed cylinder or cone between two points."""
    top = radius if end_radius is None else end_radius
    a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
    length = float(np.linalg.norm(b - a))
    body = lathe([(0, 0), (radius, 0), (top, length), (0, length)], sides, colour, label, layer)
    axis = (b - a) / length
    helper = np.array([1, 0, 0], np.float32) if abs(axis[0]) < 0.9 else np.array([0, 0, 1], np.float32)
    side = np.cross(axis, helper)
    side /= np.linalg.norm(side)
    frame = np.stack([side, axis, np.cross(side, axis)])
    return replace(body, quads=body.quads @ frame + a)


def disc(radius: float, corners: int, colour: ArrayLike, label: Label, turn: float = 0.0, layer: int = 0) -> Mesh:
    """Regular polygon around the origin that looks along -z; `turn` is the angle of its first corner."""
    angle = np.arange(corners + 1) * (2 * np.pi / corners) + turn
    rim = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(corners + 1)], -1)
    middle = np.zeros((corners, 3))
    return surface(np.stack([middle, middle, rim[:-1], rim[1:]], 1), colour, label, layer)


def torus(radius: float, thickness: float, colour: ArrayLike, label: Label, sides: int = 14, around: int = 7) -> Mesh:
    """Ring about the y axis, centred at the origin."""
    angle = np.linspace(0, 2 * np.pi, around + 1)
    profile = np.stack([radius - thickness * np.cos(angle), thickness * np.sin(-angle)], -1)
    return lathe(profile, sides, colour, label)
