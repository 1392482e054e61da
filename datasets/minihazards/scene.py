"""One image: a pure function of version, split, index and size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import raster, surroundings
from .anomalies import add_anomalies
from .camera import Camera
from .classes import Label
from .develop import develop
from .ground import LANE, Profile, ground
from .light import Light
from .mesh import Mesh
from .placing import Placed
from .street import Street
from .towns import SPLIT_TOWNS, TOWNS, Town

VERSION = "1"
"""Changes whenever a pixel changes; part of the seed and of the fingerprint."""


REFERENCE = (320, 180)
"""Size at which a test image is checked for anomalies that can be seen."""
FEWEST, MOST = 30, 6000
"""Anomaly pixels at that size."""
ATTEMPTS = 20


def town_of(split: str, index: int) -> Town:
    names = SPLIT_TOWNS[split]
    return TOWNS[names[index % len(names)]]


@dataclass(frozen=True)
class Scene:
    """A finished world, ready to be looked at in any size."""

    camera: Camera
    light: Light
    ground: list[Mesh]
    objects: list[Placed]
    seed: int

    def render(self, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Image uint8 (H, W, 3) and labels uint8 (H, W)."""
        rng = np.random.default_rng(self.seed)
        camera = replace(self.camera, size=size)
        large = replace(camera, size=(size[0] * raster.SUPERSAMPLING, size[1] * raster.SUPERSAMPLING))
        canvas = np.empty((large.size[1], large.size[0], 4), np.uint8)
        at = tuple(int(v) for v in rng.integers(0, 512, 2))
        surroundings.paint_sky(canvas, large, self.light, at)
        raster.paint_ground(canvas, self.ground, large, self.light)
        surroundings.roughen_ground(canvas, large, at)
        surroundings.cast_shadows(canvas, self.objects, large, self.light)
        raster.paint_objects(canvas, self.objects, large, self.light)
        return develop(canvas, rng)


def _seed(split: str, index: int, attempt: int) -> int:
    key = f"minihazards/{VERSION}/{split}/{index}/{attempt}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")


def _draw_street(town: Town, rng: np.random.Generator) -> tuple[Camera, Light, Street]:
    lanes = int(rng.integers(town.lanes[0], town.lanes[1] + 1))
    profile = Profile(
        lanes=lanes,
        parking=2.2 if rng.random() < 0.65 else 0.0,
        walk=rng.uniform(2.4, 3.8),
        crossing=rng.uniform(14, 40) if rng.random() < 0.55 else None,
    )
    camera = Camera(
        size=(0, 0),
        x=(lanes - 0.5) * LANE + rng.uniform(-0.5, 0.3),
        height=rng.uniform(1.6, 2.1),
        yaw=rng.uniform(-0.1, 0.07),
        pitch=rng.uniform(-0.06, 0.02),
        roll=rng.uniform(-0.008, 0.008),
        focal=rng.uniform(0.6, 0.72),
        curve=rng.uniform(-0.0016, 0.0016),
        climb=rng.uniform(-0.0001, 0.0005),
    )
    light = Light.draw(town.weather, rng)
    street = Street(profile, town, rng)
    street.furnish()
    return camera, light, street


def compose(split: str, index: int, attempt: int = 0) -> Scene:
    """The world of one image, without a size yet."""
    seed = _seed(split, index, attempt)
    rng = np.random.default_rng(seed)
    town = town_of(split, index)
    camera, light, street = _draw_street(town, rng)
    if split == "test":
        add_anomalies(street, camera, REFERENCE[1] / REFERENCE[0], rng)
    return Scene(camera, light, ground(street.profile, town, light, rng), street.objects, seed)


def render(split: str, index: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image uint8 (H, W, 3) and labels uint8 (H, W) of one sample.

    Of the worlds that the seed offers for a test image, the first is taken whose anomalies are neither hidden nor
    overwhelming at the reference size, whatever the size asked for.
    """
    if split != "test":
        return compose(split, index).render(size)
    for attempt in range(ATTEMPTS):
        scene = compose(split, index, attempt)
        image, labels = scene.render(REFERENCE)
        pixels = int((labels == Label.ANOMALY).sum())
        if FEWEST <= pixels <= MOST:
            return (image, labels) if size == REFERENCE else scene.render(size)
    raise AssertionError(f"{ATTEMPTS} worlds for test image {index} and no anomaly in sight")
