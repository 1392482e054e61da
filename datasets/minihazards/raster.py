"""From meshes to pixels: a painter that lays colour and label down in the same stroke.

The canvas has four channels, RGB and label, at twice the size of the image: whatever hides a colour hides its label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.minihazards import noise
from datasets.minihazards.camera import NEAR, Camera
from datasets.minihazards.light import Light
from datasets.minihazards.mesh import Mesh, join

SUPERSAMPLING = 2
SUBPIXEL_BITS = 4
SHADOW_REACH = 70.0
"""Metres beyond which no object casts a shadow."""


@dataclass(frozen=True)
class Placed:
    """A mesh in the world and its place in the painter's order: a greater key is painted earlier."""

    mesh: Mesh
    order: tuple[float, ...]


def paint_sky(canvas: NDArray[np.uint8], camera: Camera, light: Light, at: tuple[int, int]) -> None:
    """Gradient and clouds, at a quarter of the size of the canvas: both are smooth."""
    height, width = canvas.shape[0] // 4, canvas.shape[1] // 4
    horizon = camera.horizon / camera.size[1]
    up = np.clip(1 - (np.arange(height, dtype=np.float32) + 0.5) / height / max(horizon, 0.1), 0, 1)[:, None, None]
    sky = light.horizon * (1 - up**0.7) + light.zenith * up**0.7
    field = noise.tile(3, (4, 8, 16, 32, 64))
    view = cv2.resize(noise.cut(field, 320, 120, at), (width, height), interpolation=cv2.INTER_LINEAR)
    cover = np.clip((view.astype(np.float32) - 168 + 100 * light.clouds) / 70, 0, 1)[..., None]
    white = light.horizon * 0.35 + 160
    sky = sky + (white - sky) * cover * (0.25 + 0.45 * up)
    canvas[..., :3] = cv2.resize(
        np.clip(sky, 0, 255).astype(np.uint8), (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_LINEAR
    )
    canvas[..., 3] = 0


def _strokes(canvas: NDArray[np.uint8], mesh: Mesh, camera: Camera, light: Light) -> tuple:
    """Corner points, RGB + label, and depths of the quads that face the camera and lie in the picture."""
    quads = mesh.quads
    normals = np.cross(quads[:, 3] - quads[:, 1], quads[:, 2] - quads[:, 0])
    pixels, depths = camera.project(quads)
    height, width = canvas.shape[:2]
    # Winding in the picture decides what faces the camera: it also holds for bent streets.
    a, b = pixels[:, 2] - pixels[:, 0], pixels[:, 3] - pixels[:, 1]
    facing = a[:, 1] * b[:, 0] - a[:, 0] * b[:, 1] > 0.3
    low, high = pixels.min(1), pixels.max(1)
    inside = (high[:, 0] > 0) & (high[:, 1] > 0) & (low[:, 0] < width) & (low[:, 1] < height)
    keep = np.flatnonzero(facing & inside & (depths.max(1) > NEAR))
    quads, normals, pixels, depths = quads[keep], normals[keep], pixels[keep], depths[keep]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    middle = depths.mean(1)
    colours = light.shade(mesh.colours[keep], normals, quads[:, :, 1].mean(1))
    strokes = np.empty((len(keep), 4), np.float32)
    strokes[:, :3] = np.clip(light.fade(colours, middle), 0, 255)
    strokes[:, 3] = mesh.labels[keep]
    points = np.rint(np.clip(pixels, -16000, 16000) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    return keep, points, np.rint(strokes).tolist(), middle


def paint_flat(canvas: NDArray[np.uint8], meshes: Sequence[Mesh], camera: Camera, light: Light) -> None:
    """Paint ground in the order it is given."""
    _, points, strokes, _ = _strokes(canvas, join(*meshes), camera, light)
    for polygon, stroke in zip(points, strokes):
        cv2.fillConvexPoly(canvas, polygon, stroke, cv2.LINE_8, SUBPIXEL_BITS)


def paint_objects(canvas: NDArray[np.uint8], objects: Sequence[Placed], camera: Camera, light: Light) -> None:
    """Paint objects from far to near, and the quads of each by layer, then from far to near."""
    objects = sorted(objects, key=lambda placed: placed.order, reverse=True)
    mesh = join(*(placed.mesh for placed in objects))
    keep, points, strokes, depths = _strokes(canvas, mesh, camera, light)
    rank = np.repeat(np.arange(len(objects)), [len(placed.mesh.quads) for placed in objects])[keep]
    for i in np.lexsort((-depths, mesh.layers[keep], rank)).tolist():
        cv2.fillConvexPoly(canvas, points[i], strokes[i], cv2.LINE_8, SUBPIXEL_BITS)


def cast_shadows(canvas: NDArray[np.uint8], objects: Sequence[Placed], camera: Camera, light: Light) -> None:
    """Darken the ground where objects stand between it and the sun, or, under clouds, just around their feet.

    A shadow is the convex hull of the mesh projected along the light: true for most things, close for the others.
    """
    width, height = canvas.shape[1] // 2, canvas.shape[0] // 2
    mask = np.zeros((height, width), np.uint8)
    slope = -light.sun / max(float(light.sun[1]), 0.25)
    contact = np.zeros(3, np.float32)
    near = [p.mesh.quads.reshape(-1, 3) for p in objects if p.mesh.quads[0, 0, 2] < SHADOW_REACH]
    bounds = np.cumsum([len(p) for p in near])[:-1]
    points = np.concatenate(near)
    for direction, strength in ((contact, 0.16 + 0.2 * (1 - light.shadow)), (slope, light.shadow)):
        ground = np.stack(
            [points[:, 0] + direction[0] * points[:, 1], np.zeros(len(points)), points[:, 2] + direction[2] * points[:, 1]],
            -1,
        ).astype(np.float32)
        pixels, depths = camera.project(ground)
        pixels = np.rint(np.clip(pixels / 2, -16000, 16000) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        layer = np.zeros_like(mask)
        for part, depth in zip(np.split(pixels, bounds), np.split(depths, bounds)):
            part = part[depth > NEAR]
            if len(part) > 2:
                cv2.fillConvexPoly(layer, cv2.convexHull(part), 255, cv2.LINE_8, SUBPIXEL_BITS)
        mask = np.maximum(mask, (layer * strength).astype(np.uint8))
    spread = width / 320
    mask = cv2.GaussianBlur(mask, (0, 0), 1.3 * spread)
    mask = cv2.resize(mask, (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_LINEAR)
    _darken(canvas, 255 - mask)


def _darken(canvas: NDArray[np.uint8], factor: NDArray[np.uint8]) -> None:
    whole = np.full_like(factor, 255)
    cv2.multiply(canvas, cv2.merge([factor, factor, factor, whole]), dst=canvas, scale=1 / 255)


def roughen_ground(canvas: NDArray[np.uint8], camera: Camera, light: Light, at: tuple[int, int]) -> None:
    """Grain, stains and patches that lie on the ground in perspective; a wet road mirrors the sky further away."""
    top = int(np.clip(camera.horizon * SUPERSAMPLING, 0, canvas.shape[0] - 1))
    below = canvas[top:]
    size = (below.shape[1], below.shape[0])
    start = np.array([[1, 0, 0], [0, 1, top], [0, 0, 1]])
    factor = np.full(below.shape[:2], 232, np.float32)
    for field, per_metre, strength in (
        (noise.tile(1, (128, 256)), 24.0, 0.22),
        (noise.tile(2, (8, 16, 32, 64, 128)), 9.0, 0.3),
    ):
        to_tile = np.array([[per_metre, 0, at[0]], [0, per_metre, at[1]], [0, 0, 1]])
        warp = to_tile @ camera.to_ground(SUPERSAMPLING) @ start
        view = cv2.warpPerspective(
            field, warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP
        )
        factor += (view.astype(np.float32) - 128) * strength
    _darken(below, np.clip(factor, 0, 255).astype(np.uint8))
