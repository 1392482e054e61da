"""What stands in the test towns and in no other: one to three objects of families that no network was trained on."""

from __future__ import annotations

import numpy as np

from ..camera import Camera
from ..street import Street
from . import creatures, machines, things
from .paint import Paint

GROUND = (*things.GROUND, *creatures.GROUND, *machines.GROUND)
AIR = (*creatures.AIR, *machines.AIR)

MEDIAN_SHARE = 0.0040
"""Median share of the image that an anomaly is meant to cover, before others hide part of it."""
SPREAD = 0.85
"""Standard deviation of the logarithm of that share."""


def add_anomalies(street: Street, camera: Camera, aspect: float, rng: np.random.Generator) -> None:
    """Put one to three anomalies where they can be seen: on road, sidewalk or lawn, or in the air.

    An object keeps a size that suits it; how much of the image it covers is set by its distance.

    Args:
        aspect: height over width of the image.
    """
    for _ in range(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2])):
        flies = rng.random() < 0.16
        families = AIR if flies else GROUND
        mesh = families[rng.integers(len(families))](Paint(rng), rng)
        share = MEDIAN_SHARE * np.exp(SPREAD * np.clip(rng.normal(), -2.2, 2.2))
        size = rng.uniform(0.75, 1.5) * (0.6 if flies else 1.0)
        extent = mesh.outline.max(0) - mesh.outline.min(0)
        area = 0.55 * size**2 * extent[1] * (extent[0] + extent[2]) / 2
        distance = float(np.clip(camera.focal * np.sqrt(area / (share * aspect)), 5.5, 55))
        x = _place(street, camera, distance, size * float(max(extent[0], extent[2])) / 2, rng)
        lift = None
        if flies:
            lift = camera.height + distance * rng.uniform(0.02, 0.26) + size * float(extent[1]) / 2
        street.stand(mesh, x, distance, rng.uniform(0, 2 * np.pi), (size, size, size), y=lift)


def _place(street: Street, camera: Camera, z: float, radius: float, rng: np.random.Generator) -> float:
    """A place across the street, in view and, if one is found, clear of what already stands there."""
    reach = 0.42 * z / camera.focal
    middle = camera.x + z * np.tan(camera.yaw) - camera.curve * z * z
    edge = street.profile.half + street.profile.walk
    taken = [(p.position[0], p.position[2]) for p in street.objects if p.order[1] < 5]
    x = middle
    for _ in range(12):
        x = float(np.clip(middle + rng.uniform(-reach, reach), -edge - 1.5, edge + 1.5))
        if all((x - a) ** 2 + (z - b) ** 2 > (radius + 1.2) ** 2 for a, b in taken):
            break
    return x
