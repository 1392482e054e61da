"""From meshes to pixels: a painter that lays colour and label down in the same stroke.

The canvas has four channels, RGB and label, at twice the size of the image: whatever hides a colour hides its label.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import NEAR, Camera
from .light import Light
from .mesh import Array, Mesh, join
from .placing import Placed, outlines, place

SUPERSAMPLING = 2
SUBPIXEL_BITS = 4
SMALLEST = 3.0
"""Area, in canvas pixels of a 640 pixel wide canvas, below which a quad is not worth a stroke."""


def _cross(a: Array, b: Array) -> Array:
    out = np.empty_like(a)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        out[:, i] = a[:, j] * b[:, k] - a[:, k] * b[:, j]
    return out


def _in_view(u: Array, v: Array, depths: Array, width: int, height: int) -> NDArray[np.bool_]:
    """Of (N, k) points, whether the box around each row touches the picture."""
    across = (u > 0).any(1) & (u < width).any(1)
    return across & (v > 0).any(1) & (v < height).any(1) & (depths > NEAR).any(1)


def fixed_point(pixels: Array) -> NDArray[np.int32]:
    """Pixel coordinates as OpenCV's fixed-point numbers, kept within its range."""
    return np.rint(np.clip(pixels, -16000, 16000) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def _strokes(canvas: NDArray[np.uint8], mesh: Mesh, camera: Camera, light: Light) -> tuple:
    """Index, corner points, RGB + label and depth of the quads that face the camera and lie in the picture."""
    pixels, depths = camera.project(mesh.quads)
    height, width = canvas.shape[:2]
    # Winding in the picture decides what faces the camera: that also holds where the street bends.
    a, b = pixels[:, 2] - pixels[:, 0], pixels[:, 3] - pixels[:, 1]
    facing = a[:, 1] * b[:, 0] - a[:, 0] * b[:, 1] > 2 * SMALLEST * (width / 640) ** 2
    u, v = pixels[..., 0], pixels[..., 1]
    keep = np.flatnonzero(facing & _in_view(u, v, depths, width, height))
    quads, depth = mesh.quads[keep], depths[keep].mean(1)
    normals = _cross(quads[:, 3] - quads[:, 1], quads[:, 2] - quads[:, 0])
    normals /= np.sqrt(np.square(normals).sum(1, keepdims=True)) + np.float32(1e-9)
    colours = light.shade(mesh.colours[keep], normals, quads[:, :, 1].mean(1))
    strokes = np.empty((len(keep), 4), np.uint8)
    strokes[:, :3] = np.clip(light.fade(colours, depth), 0, 255)
    strokes[:, 3] = mesh.labels[keep]
    return keep, fixed_point(pixels[keep]), strokes, depth


def _paint(canvas: NDArray[np.uint8], points: NDArray[np.int32], strokes: NDArray[np.uint8]) -> None:
    fill = cv2.fillConvexPoly
    for polygon, stroke in zip(points, zip(*strokes.T.tolist())):
        fill(canvas, polygon, stroke, cv2.LINE_8, SUBPIXEL_BITS)


def paint_ground(canvas: NDArray[np.uint8], meshes: Sequence[Mesh], camera: Camera, light: Light) -> None:
    """Paint in the order that is given."""
    _, points, strokes, _ = _strokes(canvas, join(*meshes), camera, light)
    _paint(canvas, points, strokes)


def paint_objects(canvas: NDArray[np.uint8], objects: Sequence[Placed], camera: Camera, light: Light) -> None:
    """Paint objects from far to near, and the quads of each by layer, then from far to near."""
    height, width = canvas.shape[:2]
    pixels, depths = camera.project(outlines(objects))
    u, v = pixels[..., 0], pixels[..., 1]
    seen = _in_view(u, v, depths, width, height)
    objects = [placed for placed, visible in zip(objects, seen) if visible]
    objects.sort(key=lambda placed: placed.order, reverse=True)
    mesh, owner = place(objects)
    keep, points, strokes, depth = _strokes(canvas, mesh, camera, light)
    order = np.lexsort((-depth, mesh.layers[keep], owner[keep]))
    _paint(canvas, points[order], strokes[order])
