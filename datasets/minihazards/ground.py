"""Road, kerbs, sidewalks, lawns and what is painted on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .classes import Label
from .light import Light
from .mesh import Array, Mesh, surface
from .towns import Town

KERB = 0.14
"""Height of the sidewalk over the road in metres."""
END = 130.0
"""Metres at which the street ends."""
LANE = 3.3


@dataclass(frozen=True)
class Profile:
    """Cross-section of a street that is the same to both sides.

    Attributes:
        lanes: per direction.
        parking: width of the parking strip, 0 for none.
        walk: width of the sidewalk.
        crossing: begin of a side street in metres, or None.
        side: width of the side street.
    """

    lanes: int
    parking: float
    walk: float
    crossing: float | None
    side: float = 9.0

    @property
    def half(self) -> float:
        """Half the width of the road."""
        return self.lanes * LANE + self.parking

    @property
    def gap(self) -> tuple[float, float] | None:
        return None if self.crossing is None else (self.crossing, self.crossing + self.side)


def _strip(x0: float, x1: float, z: Array, y: float, colour: Array, label: Label) -> Mesh:
    """A flat strip along the street, in pieces short enough to follow its bend."""
    quads = np.empty((len(z) - 1, 4, 3), np.float32)
    quads[:, 0::3, 0], quads[:, 1:3, 0], quads[..., 1] = x0, x1, y
    quads[:, :2, 2], quads[:, 2:, 2] = z[:-1, None], z[1:, None]
    return surface(quads, colour, label)


def _pieces(start: float, stop: float) -> Array:
    """Distances from start to stop, denser where the camera is near."""
    count = max(int(6 * np.log((stop + 6) / (start + 6))), 1)
    return np.geomspace(start + 6, stop + 6, count + 1).astype(np.float32) - 6


def _dashes(x: float, width: float, start: float, stop: float, dash: float, gap: float, colour: Array) -> Mesh:
    low = np.arange(start, stop, dash + gap, dtype=np.float32)
    quads = [[(x, 0, a), (x + width, 0, a), (x + width, 0, a + dash), (x, 0, a + dash)] for a in low]
    return surface(quads, colour, Label.ROAD_LINE)


def ground(street: Profile, town: Town, light: Light, rng: np.random.Generator) -> list[Mesh]:
    """All that lies flat, in the order in which it is painted."""
    half, edge = street.half, street.half + street.walk
    road = np.array(town.road) * rng.uniform(0.85, 1.12)
    walk = np.array(town.sidewalk) * rng.uniform(0.9, 1.08)
    lawn = np.array(town.lawn) * rng.uniform(0.9, 1.12)
    paint = np.array(town.line) * rng.uniform(0.88, 1.0)
    z = _pieces(0.0, END)
    meshes = []
    for side in (-1, 1):
        for inner, outer in ((edge, edge + 12), (edge + 12, edge + 150)):
            meshes.append(_strip(*sorted((side * inner, side * outer)), z, KERB, lawn, Label.VEGETATION))
    # Road before kerbs: the kerb face is seen over it.
    wet = road + (light.horizon - road) * np.clip(light.wet, 0, 0.6) * np.linspace(0.15, 1, len(z) - 1)[:, None] ** 0.7
    meshes.append(_strip(-half, half, z, 0, wet, Label.ROAD))
    parts = [(0.0, END)] if street.gap is None else [(street.gap[1], END), (0.0, street.gap[0])]
    if street.gap is not None:
        for side in (-1, 1):
            meshes.append(
                _strip(*sorted((side * half, side * 150)), np.array(street.gap, np.float32), 0, road, Label.ROAD)
            )
    for start, stop in parts:
        meshes += _sidewalks(street, _pieces(start, stop), walk)
    if street.gap is not None:
        meshes += _side_walks(street, walk)
    return meshes + _markings(street, paint, rng)


def _sidewalks(street: Profile, z: Array, colour: Array) -> list[Mesh]:
    half, meshes = street.half, []
    pale = np.clip(colour * 1.08, 0, 250)
    for side in (-1, 1):
        meshes.append(_strip(*sorted((side * half, side * (half + street.walk))), z, KERB, colour, Label.SIDEWALK))
        # Seams between slabs, and the kerb stone with its face towards the road.
        for x in np.arange(0.9, street.walk, 0.9):
            low = side * (half + x)
            meshes.append(_strip(low - 0.02, low + 0.02, z, KERB, colour * 0.86, Label.SIDEWALK))
        across = np.arange(max(z[0], 3.0), min(z[-1], 34.0), 1.35, dtype=np.float32)
        inner, outer = sorted((side * half, side * (half + street.walk)))
        if len(across):
            quads = [
                [(inner, KERB, a), (outer, KERB, a), (outer, KERB, a + 0.05), (inner, KERB, a + 0.05)] for a in across
            ]
            meshes.append(surface(quads, colour * 0.86, Label.SIDEWALK))
        meshes.append(_strip(*sorted((side * half, side * (half + 0.16))), z, KERB, pale, Label.SIDEWALK))
        stone = np.empty((len(z) - 1, 4, 3), np.float32)
        near, far = (z[:-1, None], z[1:, None]) if side < 0 else (z[1:, None], z[:-1, None])
        stone[..., 0], stone[:, :2, 1], stone[:, 2:, 1] = side * half, 0, KERB
        stone[:, 0::3, 2], stone[:, 1:3, 2] = near, far
        meshes.append(surface(stone, colour * 0.72, Label.SIDEWALK))
    return meshes


def _side_walks(street: Profile, colour: Array) -> list[Mesh]:
    """Sidewalks along the side street, on both of its sides."""
    assert street.gap is not None
    edge, meshes = street.half + street.walk, []
    for side in (-1, 1):
        for low, high in ((street.gap[0] - 2.5, street.gap[0]), (street.gap[1], street.gap[1] + 2.5)):
            span = np.array([low, high], np.float32)
            meshes.append(_strip(*sorted((side * edge, side * 150)), span, KERB, colour, Label.SIDEWALK))
    return meshes


def _markings(street: Profile, paint: Array, rng: np.random.Generator) -> list[Mesh]:
    """Centre and lane lines, edge lines, and zebra crossings where a side street comes in."""
    width, meshes = 0.18, []
    worn = rng.uniform(0.85, 1.0)
    colour = np.clip(paint * worn, 0, 250)
    double = rng.random() < 0.5
    edges = rng.random() < 0.7 or street.lanes == 1
    spans = [(0.0, END)] if street.gap is None else [(0.0, street.gap[0] - 5.2), (street.gap[1] + 5.2, END)]
    for start, stop in spans:
        if stop - start < 2:
            continue
        z = _pieces(start, stop)
        if double:
            meshes += [_strip(x, x + width, z, 0, colour, Label.ROAD_LINE) for x in (-0.28, 0.1)]
        else:
            meshes.append(_dashes(-width / 2, width, start + rng.uniform(0, 3), stop, 3.0, 3.0, colour))
        for lane in range(1, street.lanes):
            for side in (-1, 1):
                x = side * lane * LANE - width / 2
                meshes.append(_dashes(x, width, start + rng.uniform(0, 3), stop, 3.0, 4.0, colour))
        if edges:
            x = street.lanes * LANE - (0.35 if not street.parking else 0.0)
            meshes += [
                _strip(side * x - width / 2, side * x + width / 2, z, 0, colour, Label.ROAD_LINE) for side in (-1, 1)
            ]
        if street.parking:
            bays = np.arange(start + 2, stop, 6.0, dtype=np.float32)
            for side in (-1, 1):
                x0, x1 = sorted((side * (street.half - street.parking), side * street.half))
                quads = [[(x0, 0, a), (x1, 0, a), (x1, 0, a + 0.16), (x0, 0, a + 0.16)] for a in bays]
                meshes.append(surface(quads, colour, Label.ROAD_LINE))
    if street.gap is not None:
        half = street.lanes * LANE
        for low in (street.gap[0] - 4.2, street.gap[1] + 1.2):
            if low > 2:
                x = np.arange(-half + 0.3, half - 0.3, 1.0)
                quads = [[(a, 0, low), (a + 0.5, 0, low), (a + 0.5, 0, low + 3.0), (a, 0, low + 3.0)] for a in x]
                meshes.append(surface(quads, colour, Label.ROAD_LINE))
    return [m for m in meshes if len(m.quads)]
