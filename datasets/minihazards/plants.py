"""Trees, bushes, hedges: a soft body of leaves over a darker core. All are `vegetation`, trunks included."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from datasets.minihazards.classes import Label
from datasets.minihazards.mesh import Mesh, ball, join, surface, tube
from datasets.minihazards.towns import Town

_GREEN = Label.VEGETATION


def _leaves(rng: np.random.Generator, centre: np.ndarray, radii: np.ndarray, count: int, size: float) -> Mesh:
    """Leaf clusters: small quads all over an ellipsoid, tilted at random, brighter towards the top."""
    normal = rng.normal(size=(count, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    place = centre + normal * radii * rng.uniform(0.86, 1.12, (count, 1))
    facing = normal + rng.normal(0, 0.35, (count, 3))
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    # With x to the right and z forward the frame is left-handed: right = facing x up.
    right = np.cross(facing, [0.0, 1.0, 0.01])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    above = np.cross(right, facing)
    spin = rng.uniform(0, 2 * np.pi, (count, 1))
    right, above = np.cos(spin) * right + np.sin(spin) * above, np.cos(spin) * above - np.sin(spin) * right
    half = size * rng.uniform(0.6, 1.3, (count, 1))
    corners = [place - right * half, place - above * half, place + right * half, place + above * half]
    shade = 255 * rng.uniform(0.72, 1.12, (count, 1)) * (0.95 + 0.15 * normal[:, 1:2])
    return surface(np.stack(corners, 1), shade * [1.0, 1.0, rng.uniform(0.85, 1.0)], _GREEN, layer=1)


def _blob(rng: np.random.Generator, centre: list[float], radii: list[float], count: int, size: float) -> Mesh:
    c, r = np.array(centre), np.array(radii)
    core = ball(centre, r * 0.92, (178, 184, 170), _GREEN, rings=5, sides=8)
    return join(core, _leaves(rng, c, r, count, size))


@lru_cache(maxsize=64)
def _template(kind: str, variant: int) -> tuple[Mesh, Mesh | None]:
    """Crown in shades of white, to be tinted, and trunk; about as tall as in nature, in metres."""
    rng = np.random.default_rng([variant, *kind.encode()])
    bark = (96, 78, 62)
    if kind == "bush":
        return _blob(rng, [0, 0.5, 0], [0.8, 0.6, 0.8], 40, 0.16), None
    if kind == "cone":
        tiers = [
            _blob(rng, [0, 1.2 + 1.15 * i, 0], [1.5 - 0.32 * i, 0.95, 1.5 - 0.32 * i], 40 - 5 * i, 0.3) for i in range(5)
        ]
        return join(*tiers), tube([0, 0, 0], [0, 1, 0], 0.16, bark, _GREEN)
    if kind == "tall":
        tiers = [_blob(rng, [0, 2.6 + 1.5 * i, 0], [0.95 - 0.12 * i, 1.2, 0.95 - 0.12 * i], 34, 0.26) for i in range(4)]
        return join(*tiers), tube([0, 0, 0], [0, 2, 0], 0.14, bark, _GREEN)
    if kind == "palm":
        trunk = tube([0, 0, 0], [0.3, 5.2, 0], 0.2, bark, _GREEN, end_radius=0.12)
        fronds = []
        for angle in np.arange(11) * (2 * np.pi / 11) + rng.uniform(0, 1):
            c, s, droop = np.cos(angle), np.sin(angle), rng.uniform(0.2, 1.1)
            root, mid, tip = [0.3, 5.2, 0], [0.3 + 1.1 * c, 5.8, 1.1 * s], [0.3 + 2.2 * c, 5.7 - droop, 2.2 * s]
            w = np.array([-s, 0, c]) * 0.3
            blades = [[root, root, mid + w, mid - w], [mid - w, mid + w, tip, tip]]
            blades += [quad[::-1] for quad in blades]
            fronds.append(surface(np.array(blades), np.full(3, 255 * rng.uniform(0.75, 1.1)), _GREEN, layer=1))
        return join(*fronds), trunk
    crown = [_blob(rng, [0, 4.2, 0], [1.6, 1.5, 1.6], 60, 0.3)]
    for angle in np.arange(4) * 1.6 + rng.uniform(0, 1.5):
        reach, lift = rng.uniform(0.7, 1.2), rng.uniform(-0.6, 0.5)
        size = rng.uniform(0.8, 1.2)
        crown.append(
            _blob(rng, [reach * np.cos(angle), 4.2 + lift, reach * np.sin(angle)], [size, size * 0.9, size], 30, 0.28)
        )
    return join(*crown), tube([0, 0, 0], [0, 3.4, 0], 0.2, bark, _GREEN, end_radius=0.12)


def plant(kind: str, town: Town, rng: np.random.Generator, scale: float = 1.0) -> Mesh:
    """A plant of a kind in a green of the town, standing at the origin."""
    crown, trunk = _template(kind, int(rng.integers(4)))
    green = np.array(town.leaf[rng.integers(len(town.leaf))]) * rng.uniform(0.9, 1.25) * rng.uniform(0.92, 1.08, 3)
    crown = crown.tinted(green)
    whole = crown if trunk is None else join(trunk, crown)
    width = scale * rng.uniform(0.85, 1.15)
    return whole.at(yaw=rng.uniform(0, 6.28), scale=(width, scale * rng.uniform(0.9, 1.1), width))


def tree(town: Town, rng: np.random.Generator, scale: float = 1.0) -> Mesh:
    return plant(town.trees[rng.integers(len(town.trees))], town, rng, scale * rng.uniform(0.8, 1.25))
