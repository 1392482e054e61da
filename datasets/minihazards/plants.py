"""Trees, bushes, hedges: a soft body of leaves over a darker core. All are `vegetation`, trunks included."""

from __future__ import annotations

import numpy as np

from .classes import Label
from .mesh import Mesh, ball, join, surface, tube
from .towns import Town

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
    core = ball(centre, r * 0.92, (178, 184, 170), _GREEN, rings=4, sides=7)
    return join(core, _leaves(rng, c, r, count, size))


def _crown(kind: str, rng: np.random.Generator, fine: bool) -> tuple[Mesh, Mesh | None]:
    """Crown in shades of white, to be tinted, and trunk; about as tall as in nature, in metres."""
    bark = (96, 78, 62)
    # Far away fewer and larger leaves make the same crown.
    many, wide = (0.62, 1.25) if fine else (0.18, 2.0)
    if kind == "bush":
        return _blob(rng, [0, 0.5, 0], [0.8, 0.6, 0.8], int(40 * many), 0.16 * wide), None
    if kind == "cone":
        tiers = []
        for i in range(5):
            girth = 1.5 - 0.32 * i
            leaves = int((38 - 5 * i) * many)
            tiers.append(_blob(rng, [0, 1.2 + 1.15 * i, 0], [girth, 0.95, girth], leaves, 0.3 * wide))
        return join(*tiers), tube([0, 0, 0], [0, 1, 0], 0.16, bark, _GREEN)
    if kind == "tall":
        tiers = []
        for i in range(4):
            girth = 0.95 - 0.12 * i
            tiers.append(_blob(rng, [0, 2.6 + 1.5 * i, 0], [girth, 1.2, girth], int(32 * many), 0.26 * wide))
        return join(*tiers), tube([0, 0, 0], [0, 2, 0], 0.14, bark, _GREEN)
    if kind == "palm":
        return _fronds(rng), tube([0, 0, 0], [0.3, 5.2, 0], 0.2, bark, _GREEN, end_radius=0.12)
    crown = [_blob(rng, [0, 4.2, 0], [1.6, 1.5, 1.6], int(50 * many), 0.3 * wide)]
    for angle in np.arange(4) * 1.6 + rng.uniform(0, 1.5):
        reach, lift, size = rng.uniform(0.7, 1.2), rng.uniform(-0.6, 0.5), rng.uniform(0.8, 1.2)
        at = [reach * np.cos(angle), 4.2 + lift, reach * np.sin(angle)]
        crown.append(_blob(rng, at, [size, size * 0.9, size], int(26 * many), 0.28 * wide))
    return join(*crown), tube([0, 0, 0], [0, 3.4, 0], 0.2, bark, _GREEN, end_radius=0.12)


def _fronds(rng: np.random.Generator) -> Mesh:
    fronds = []
    for angle in np.arange(11) * (2 * np.pi / 11) + rng.uniform(0, 1):
        c, s, droop = np.cos(angle), np.sin(angle), rng.uniform(0.2, 1.1)
        root, mid, tip = [0.3, 5.2, 0], [0.3 + 1.1 * c, 5.8, 1.1 * s], [0.3 + 2.2 * c, 5.7 - droop, 2.2 * s]
        across = np.array([-s, 0, c]) * 0.3
        blades = [[root, root, mid + across, mid - across], [mid - across, mid + across, tip, tip]]
        blades += [quad[::-1] for quad in blades]
        fronds.append(surface(np.array(blades), np.full(3, 255 * rng.uniform(0.75, 1.1)), _GREEN, layer=1))
    return join(*fronds)


def _plant(kind: str, town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    green = np.array(town.leaf[rng.integers(len(town.leaf))]) * rng.uniform(0.9, 1.25) * rng.uniform(0.92, 1.08, 3)
    crown, trunk = _crown(kind, rng, fine)
    crown = crown.tinted(green)
    return crown if trunk is None else join(trunk, crown)


def tree(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """A tree of a kind that grows in the town."""
    return _plant(town.trees[rng.integers(len(town.trees))], town, rng, fine)


def bush(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    return _plant("bush", town, rng, fine)
