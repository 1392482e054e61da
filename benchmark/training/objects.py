"""Objects that exist nowhere, to be pasted into images: those of validation sets, and others for trainings.

A method that learns from pasted objects would be chosen on what it was trained on if the two were drawn alike. So no
outline and no material of :func:`object_to_train_on` is of a kind that :func:`object_to_validate_on` draws; colours and
light are drawn alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_MARGIN = 2


@dataclass(frozen=True)
class Cutout:
    """An object to be laid over an image.

    Attributes:
        rgb: float32 (h, w, 3) in [0, 1].
        alpha: float32 (h, w) in [0, 1], 0 at the border, soft at the edge.
    """

    rgb: np.ndarray
    alpha: np.ndarray


def object_to_validate_on(rng: np.random.Generator, height: int, surroundings: np.ndarray) -> Cutout:
    """An object about `height` pixels high: an outline of one to four parts, textured and lit from above.

    Args:
        rng: decides everything.
        height: in pixels.
        surroundings: (n, 3) colours in [0, 1] of the place; most objects are painted in variations of them.
    """
    width = max(4, round(height * np.exp(rng.normal(0.0, 0.45))))
    mask = _outline(rng, height, width)
    texture = _texture(rng, *mask.shape, _colours(rng, surroundings))
    return _lit(rng, mask, texture)


def object_to_train_on(rng: np.random.Generator, height: int, surroundings: np.ndarray) -> Cutout:
    """An object about `height` pixels high: limbs or a cloud, of cells, bands or tiles; arguments as above."""
    width = max(4, round(height * np.exp(rng.normal(0.0, 0.45))))
    mask = (_limbs if rng.random() < 0.5 else _cloud)(rng, height, width)
    material = (_cells, _bands, _tiles)[rng.integers(3)]
    share, patch = material(rng, *mask.shape)
    first, second, third = _colours(rng, surroundings)
    share, patch = share[..., None], patch[..., None]
    texture = (first * (1 - share) + second * share) * (1 - patch) + third * patch
    grain = rng.normal(0, rng.uniform(0.02, 0.2), mask.shape).astype(np.float32)
    return _lit(rng, mask, texture * (1 + grain[..., None]))


def _lit(rng: np.random.Generator, mask: np.ndarray, texture: np.ndarray) -> Cutout:
    """An outline (h, w) filled with a material (h, w, 3), under light from above and soft at the edge."""
    shading = _shading(rng, mask)
    alpha = cv2.GaussianBlur(mask, (0, 0), 0.7)
    return Cutout(np.clip(texture * shading[..., None], 0, 1).astype(np.float32), alpha)


def _outline(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One to four contours that hang together."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [_contour(rng, (width / 2, height / 2), (width / 2, height / 2))], 1)
    for _ in range(rng.integers(0, 4)):
        on = np.argwhere(mask)
        y, x = on[rng.integers(len(on))]  # parts grow out of the shape, so it stays connected
        radii = rng.uniform(0.12, 0.4, 2) * (width, height)
        cv2.fillPoly(mask, [_contour(rng, (x, y), radii)], 1)
        mask[y, x] = 1
    return _largest_part(mask)


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a shape as 0 and 1, float32, cut to its bounds with a margin."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) if count > 1 else 0
    x, y, w, h = stats[largest, :4]
    shape = (parts[y : y + h, x : x + w] == largest).astype(np.float32)
    return np.pad(shape, _MARGIN)


def _limbs(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Two to six crooked limbs of different thickness that leave one place."""
    mask = np.zeros((height, width), np.uint8)
    side = min(height, width)
    start = rng.uniform(0.3, 0.7, 2) * (width, height)
    for _ in range(rng.integers(2, 7)):
        place, heading = start, rng.uniform(0, 2 * np.pi)
        thickness = rng.uniform(0.08, 0.35) * side
        for _ in range(rng.integers(2, 5)):
            heading += rng.normal(0, 0.6)
            end = place + rng.uniform(0.12, 0.35) * np.array([width * np.cos(heading), height * np.sin(heading)])
            points = (tuple(int(v) for v in np.round(p)) for p in (place, end))
            cv2.line(mask, *points, 1, max(2, round(thickness)))
            place, thickness = end, 0.85 * thickness
    return _largest_part(mask)


def _cloud(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Where smooth noise, lowered towards the border, is above its own median or higher."""
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    field = _noise(rng, height, width, rng.uniform(0.15, 0.5)) - 2.5 * (x**2 + y**2)
    return _largest_part((field > np.quantile(field, rng.uniform(0.5, 0.75))).astype(np.uint8))


def _contour(
    rng: np.random.Generator, centre: tuple[float, float], radii: np.ndarray | tuple[float, float]
) -> np.ndarray:
    """A closed outline as int32 points (n, 1, 2): wavy, angular, or a superellipse."""
    kind = rng.integers(3)
    if kind == 1:  # a polygon of few corners
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        radius = rng.uniform(0.6, 1.0, angle.size)
    else:
        angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
        if kind == 0:
            waves = np.arange(2, 8)
            size = rng.normal(0, 0.45, waves.size) / waves
            radius = 1 + (size[:, None] * np.cos(waves[:, None] * angle + rng.uniform(0, 6.3, (waves.size, 1)))).sum(0)
            radius = np.clip(radius, 0.25, None) / radius.max()
        else:  # |x|^p + |y|^p = 1, between a diamond and a box
            power = rng.uniform(1.0, 6.0)
            radius = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    turn = rng.uniform(0, 2 * np.pi) if kind != 2 else rng.normal(0, 0.15)
    points = np.stack([radius * np.cos(angle + turn), radius * np.sin(angle + turn)], 1)
    return np.round(points * radii + centre).astype(np.int32)[:, None]


def _colours(rng: np.random.Generator, surroundings: np.ndarray) -> np.ndarray:
    """Three colours (3, 3): the place's own, brighter or darker and tinted, or now and then any."""
    if rng.random() < 0.25:
        return rng.uniform(0.04, 0.9, (3, 3))
    own = surroundings[rng.integers(len(surroundings), size=3)]
    return np.clip(own * np.exp(rng.normal(0, 0.5, (3, 1)) + rng.normal(0, 0.18, (3, 3))) + 0.04, 0, 1)


def _texture(rng: np.random.Generator, height: int, width: int, colours: np.ndarray) -> np.ndarray:
    """A material (h, w, 3): spots, stripes or patches in three colours, under grain or fur of all sizes."""
    turn = rng.uniform(0, np.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    along = x * np.cos(turn) + y * np.sin(turn)
    kind = rng.integers(4)
    if kind == 0:  # one colour that fades into another
        share = 0.5 + along * rng.normal(0, 0.5)
    elif kind == 1:
        share = 3 * (_noise(rng, height, width, rng.uniform(0.05, 0.25)) - rng.normal(0.3, 0.4))
    elif kind == 2:
        waves = np.sin(2 * np.pi * rng.uniform(2, 9) * along + 1.2 * _noise(rng, height, width, 0.3))
        share = 3 * (waves - rng.uniform(-0.6, 0.6))
    else:
        share = np.float32(0)
    mix = np.clip(share, 0, 1)[..., None] if np.ndim(share) else 0.0
    patches = np.clip(_noise(rng, height, width, 0.35), 0, 1)[..., None] * 0.6
    texture = (colours[0] * (1 - mix) + colours[1] * mix) * (1 - patches) + colours[2] * patches
    fur = rng.uniform(1, 4)  # how much longer than wide the grain is
    rough = sum(_noise(rng, height, width, size, fur) * size**0.5 for size in (0.3, 0.12, 0.05, 0.02))
    return texture * (1 + rng.uniform(0.1, 0.6) * rough[..., None])


def _cells(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the second and of the third colour (h, w): constant around each of some random points (Voronoi)."""
    count = int(rng.integers(4, 25))
    points = rng.uniform(0, 1, (count, 2)) * (height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    nearest = np.argmin([(y - v) ** 2 + (x - u) ** 2 for v, u in points], axis=0)
    return rng.uniform(0, 1, count)[nearest], (rng.uniform(0, 1, count) < 0.3)[nearest].astype(np.float32)


def _bands(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for lines of equal height of smooth noise, as on a map or in agate."""
    field = _noise(rng, height, width, rng.uniform(0.2, 0.5)) * rng.uniform(1, 4)
    return np.mod(field, 1), (np.mod(field, 3) < 0.5).astype(np.float32)


def _tiles(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for a turned board of two alternating colours, some of its tiles in the third."""
    turn, size = rng.uniform(0, np.pi), rng.uniform(0.06, 0.3) * height
    y, x = np.mgrid[:height, :width].astype(np.float32)
    row = np.floor((y * np.cos(turn) - x * np.sin(turn)) / size).astype(int)
    column = np.floor((y * np.sin(turn) + x * np.cos(turn)) / size / rng.uniform(0.5, 2)).astype(int)
    odd = rng.uniform(0, 1, (16, 16)) < 0.2
    return ((row + column) % 2).astype(np.float32), odd[row % 16, column % 16].astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int, scale: float, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise (h, w) of about mean 0 and deviation 1; a bump is `scale` heights wide, `stretch` times as high."""
    step = max(1.0, scale * height)
    grid = rng.normal(0, 1, (int(height / step / stretch) + 3, int(width / step) + 3)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def _shading(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Brightness (h, w): Lambert on the surface that a pillow of this outline would have."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    reach = max(float(distance.max()), 1.0)
    bulge = np.sqrt(np.clip(distance / (reach * rng.uniform(0.4, 1.0)), 0, 1))
    bulge = cv2.GaussianBlur(bulge, (0, 0), max(0.5, 0.06 * reach)) * reach * rng.uniform(0.4, 1.0)
    dy, dx = np.gradient(bulge)
    light = np.array([rng.uniform(-0.7, 0.7), -rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0)])
    light /= np.linalg.norm(light)
    lambert = (light[2] - dx * light[0] - dy * light[1]) / np.sqrt(1 + dx * dx + dy * dy)
    return rng.uniform(0.35, 0.5) + rng.uniform(0.5, 0.8) * np.clip(lambert, 0, None)
