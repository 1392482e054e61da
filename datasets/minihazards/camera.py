"""The camera on the roof of a car, and the bend of the street it drives on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR = 1.0
"""Metres in front of the camera at which everything is cut off."""


@dataclass(frozen=True)
class Camera:
    """A pinhole over a street that curves and climbs with the square of the distance.

    All objects are laid out on a straight, level street; `project` bends it, so that no other module knows of bends.

    Attributes:
        size: (width, height) in pixels.
        x: metres to the right of the middle of the road.
        height: metres over the road.
        yaw, pitch, roll: radians; positive looks right, up, and tilts to the right.
        focal: focal length in image widths.
        curve, climb: metres of sideways and upward offset per square metre of distance.
    """

    size: tuple[int, int]
    x: float
    height: float
    yaw: float
    pitch: float
    roll: float
    focal: float
    curve: float
    climb: float

    @property
    def rotation(self) -> NDArray[np.float64]:
        """World to camera axes (right, up, forward)."""
        cy, sy = np.cos(self.yaw), np.sin(self.yaw)
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        roll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        return roll @ pitch @ yaw

    @property
    def horizon(self) -> float:
        """Row of the horizon of the level street, in pixels from the top."""
        width, height = self.size
        return height / 2 + np.tan(self.pitch) * self.focal * width

    def project(self, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (..., 2) and depths (...) in metres of world points (..., 3)."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        ahead = np.square(np.maximum(z, 0))
        x = x + np.float32(self.curve) * ahead - np.float32(self.x)
        y = y + np.float32(self.climb) * ahead - np.float32(self.height)
        r = self.rotation.astype(np.float32)
        depth = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z
        scale = np.float32(self.focal * self.size[0]) / np.maximum(depth, np.float32(NEAR))
        u = np.float32(self.size[0] / 2) + scale * (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z)
        v = np.float32(self.size[1] / 2) - scale * (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z)
        return np.stack([u, v], -1), depth

    def to_ground(self, scale: float) -> NDArray[np.float64]:
        """Homography from pixels of an image `scale` times as large to metres (x, z) on the level street."""
        f = self.focal * self.size[0]
        width, height = self.size
        rays = self.rotation.T @ np.array([[1 / f, 0, -width / 2 / f], [0, -1 / f, height / 2 / f], [0, 0, 1]])
        dx, dy, dz = rays @ np.diag([1 / scale, 1 / scale, 1])
        return np.stack([self.height * dx - self.x * dy, self.height * dz, -dy])
