"""Sky, shadows and the texture of the ground: what covers the canvas rather than standing in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from . import noise
from .camera import NEAR, Camera
from .light import Light
from .mesh import Array
from .placing import Placed, footprints, outlines
from .raster import SUBPIXEL_BITS, SUPERSAMPLING, fixed_point

SHADOW_REACH = 60.0
"""Metres beyond which no object casts a shadow."""


def paint_sky(canvas: NDArray[np.uint8], camera: Camera, light: Light, at: tuple[int, int]) -> None:
    """Gradient and clouds, at an eighth of the size of the canvas: both are smooth."""
    height, width = max(canvas.shape[0] // 8, 1), max(canvas.shape[1] // 8, 1)
    horizon = camera.horizon / camera.size[1]
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height
    up = np.clip(1 - rows / max(horizon, 0.1), 0, 1)[:, None, None]
    sky = light.horizon * (1 - up**0.7) + light.zenith * up**0.7
    field = noise.cut(noise.tile(3, (8, 16, 32, 64, 128)), 320, 120, at)
    view = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
    cover = np.clip((view.astype(np.float32) - 168 + 100 * light.clouds) / 70, 0, 1)[..., None]
    white = light.horizon * 0.35 + 160
    sky = sky + (white - sky) * cover * (0.25 + 0.45 * up)
    small = np.zeros((height, width, 4), np.uint8)
    small[..., :3] = np.clip(sky, 0, 255)
    cv2.resize(small, (canvas.shape[1], canvas.shape[0]), dst=canvas, interpolation=cv2.INTER_LINEAR)


def cast_shadows(canvas: NDArray[np.uint8], objects: Sequence[Placed], camera: Camera, light: Light) -> None:
    """Darken the ground around the feet of objects and where they stand between it and the sun.

    A shadow is the convex hull of the model projected along the light: true for most things, close for the others.
    """
    width, height = canvas.shape[1] // SUPERSAMPLING, canvas.shape[0] // SUPERSAMPLING
    near = [p for p in objects if -8 < p.position[2] < SHADOW_REACH]
    standing = [p for p in near if p.position[1] < 0.5]
    slope = -light.sun / max(float(light.sun[1]), 0.25)
    cast = _hulls(outlines(near), slope, camera, (width, height), light.shadow)
    contact = _hulls(footprints(standing), np.zeros(3, np.float32), camera, (width, height), 0.5 - 0.2 * light.shadow)
    mask = cv2.GaussianBlur(cast, (0, 0), 0.8 * width / 320)
    mask = np.maximum(mask, cv2.GaussianBlur(contact, (0, 0), 1.6 * width / 320))
    large = cv2.resize(mask, (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_LINEAR)
    _darken(canvas, 255 - large)


def _hulls(
    points: Array, direction: Array, camera: Camera, size: tuple[int, int], strength: float
) -> NDArray[np.uint8]:
    """Mask, 0..255 times strength, of the hulls of (n, k, 3) points dropped to the ground along a direction."""
    ground = points.copy()
    ground[..., 0] += direction[0] * points[..., 1]
    ground[..., 2] += direction[2] * points[..., 1]
    ground[..., 1] = 0
    pixels, depths = camera.project(ground)
    u, v = pixels[..., 0], pixels[..., 1]
    ahead = depths > NEAR
    seen = ahead.any(1) & (u.max(1) > 0) & (u.min(1) < camera.size[0]) & (v.min(1) < camera.size[1])
    corners = fixed_point(pixels / SUPERSAMPLING)
    mask = np.zeros((size[1], size[0]), np.uint8)
    for hull, front in zip(corners[seen], ahead[seen]):
        cv2.fillConvexPoly(mask, cv2.convexHull(hull[front]), int(255 * strength), cv2.LINE_8, SUBPIXEL_BITS)
    return mask


def _darken(canvas: NDArray[np.uint8], factor: NDArray[np.uint8]) -> None:
    """Multiply RGB by factor / 255 and leave the labels."""
    whole = np.full_like(factor, 255)
    cv2.multiply(canvas, cv2.merge([factor, factor, factor, whole]), dst=canvas, scale=1 / 255)


def roughen_ground(canvas: NDArray[np.uint8], camera: Camera, at: tuple[int, int]) -> None:
    """Grain, stains and patches that lie on the ground in perspective."""
    top = int(np.clip(camera.horizon, 0, canvas.shape[0] - 2)) // 2 * 2
    below = canvas[top:]
    size = (below.shape[1] // 2, below.shape[0] // 2)
    start = np.array([[1, 0, 0], [0, 1, top // 2], [0, 0, 1]])
    factor = np.full(size[::-1], 242, np.float32)
    for field, per_metre, strength in (
        (noise.tile(1, (128, 256)), 24.0, 0.26),
        (noise.tile(2, (8, 16, 32, 64, 128)), 9.0, 0.3),
    ):
        to_tile = np.array([[per_metre, 0, at[0]], [0, per_metre, at[1]], [0, 0, 1]])
        warp = to_tile @ camera.to_ground(1 / 2) @ start
        view = cv2.warpPerspective(
            field, warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
        )
        factor += (view.astype(np.float32) - 128) * np.float32(strength)
    large = cv2.resize(np.clip(factor, 0, 255).astype(np.uint8), (below.shape[1], below.shape[0]))
    _darken(below, large)
