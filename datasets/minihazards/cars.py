"""Cars: four bodies, any paint."""

from __future__ import annotations

import itertools

import numpy as np

from .classes import Label
from .mesh import Array, Mesh, box, disc, join, panels, surface, tube
from .towns import Town

_CAR = Label.CAR
_GLASS = (58, 70, 82)
_DARK = (40, 40, 42)

PAINTS = np.array(
    [
        (206, 208, 210),
        (170, 174, 178),
        (60, 62, 66),
        (34, 36, 40),
        (150, 40, 38),
        (44, 74, 130),
        (86, 110, 96),
        (190, 160, 90),
        (120, 84, 64),
        (228, 226, 220),
        (92, 128, 168),
        (168, 96, 40),
    ],
    np.float32,
)

_BODIES = {
    # length, width, belt height, roof height, cabin from and to (share of the length, from the rear), front slope
    "hatch": (3.9, 1.7, 0.92, 1.48, 0.03, 0.68, 0.20),
    "sedan": (4.6, 1.8, 0.92, 1.44, 0.14, 0.68, 0.18),
    "estate": (4.7, 1.85, 1.02, 1.66, 0.02, 0.70, 0.15),
    "van": (4.9, 1.95, 1.10, 2.05, 0.01, 0.84, 0.12),
}


def _loft(sections: list[tuple[float, float, float, float]], colour: tuple[int, int, int]) -> Mesh:
    """Skin around rectangles (z, half width, bottom, top) that follow each other along z."""
    rings = np.array(
        [[(-w, low, z), (w, low, z), (w, high, z), (-w, high, z)] for z, w, low, high in sections], np.float32
    )
    quads: list[Array] = [rings[0], rings[-1][[1, 0, 3, 2]]]
    for near, far in itertools.pairwise(rings):
        quads.append(np.stack([near[1], far[1], far[2], near[2]]))
        quads.append(np.stack([far[0], near[0], near[3], far[3]]))
        quads.append(np.stack([near[3], near[2], far[2], far[3]]))
    return surface(np.stack(quads), colour, _CAR)


def _body(kind: str) -> tuple[Mesh, Mesh]:
    """Painted parts in white, to be tinted, and all the rest. The car looks along +z."""
    length, width, belt, roof, rear, front, slope = _BODIES[kind]
    back, nose, w = -length / 2, length / 2, width / 2
    shell = _loft(
        [
            (back, w * 0.9, 0.42, belt * 0.86),
            (back + 0.18, w, 0.24, belt),
            (nose - 0.9, w, 0.24, belt * 0.93),
            (nose - 0.2, w * 0.97, 0.26, belt * 0.8),
            (nose, w * 0.84, 0.38, belt * 0.62),
        ],
        (255, 255, 255),
    )
    z0, z1 = back + rear * length, back + front * length
    cabin = box((-w * 0.93, belt * 0.96, z0), (w * 0.93, roof, z1), (255, 255, 255), _CAR, taper=(0.8, 1 - slope))
    screen, rear_window, left, right = cabin.quads[1], cabin.quads[0], cabin.quads[2], cabin.quads[3]
    pane, doors = (0.12, 0.88), ((0.07, 0.36), (0.4, 0.66), (0.7, 0.95))
    parts = [
        panels(screen, (0.06, 0.94), pane, _GLASS, _CAR, 2),
        panels(rear_window, (0.1, 0.9), (0.2, 0.85), _GLASS, _CAR, 2),
        panels(left, doors, pane, _GLASS, _CAR, 2),
        panels(right, doors, pane, _GLASS, _CAR, 2),
        box((-w * 0.92, 0.3, back - 0.06), (w * 0.92, 0.5, back + 0.1), (84, 84, 86), _CAR),
        box((-w * 0.86, 0.28, nose - 0.1), (w * 0.86, 0.46, nose + 0.05), (84, 84, 86), _CAR),
    ]
    for side in (-1, 1):
        for z in (back + 0.19 * length, nose - 0.19 * length):
            parts.append(tube((side * (w - 0.22), 0.33, z), (side * w, 0.33, z), 0.33, _DARK, _CAR, sides=8))
            for layer, radius, colour in ((2, 0.34, _DARK), (3, 0.2, (150, 152, 154))):
                wheel = disc(radius, 9, colour, _CAR, layer=layer)
                parts.append(wheel.at(side * (w + 0.02), 0.33, z, -side * np.pi / 2))
    tail, face = shell.quads[0], shell.quads[1]
    parts.append(panels(tail, ((0.02, 0.2), (0.8, 0.98)), (0.5, 0.88), (196, 34, 30), _CAR, 2, 0.25))
    parts.append(panels(tail, (0.36, 0.64), (0.28, 0.6), (232, 230, 216), _CAR, 2))
    parts.append(panels(face, ((0.0, 0.24), (0.76, 1.0)), (0.3, 0.98), (240, 240, 226), _CAR, 2, 0.3))
    parts.append(panels(face, (0.3, 0.7), (0.2, 0.8), (46, 46, 48), _CAR, 2))
    return join(shell, cabin), join(*parts)


def car(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """A car on the ground at the origin, looking along +z."""
    paint, rest = _body(list(_BODIES)[rng.choice(4, p=(0.32, 0.32, 0.22, 0.14))])
    colour = np.clip(PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.85, 1.1) + rng.uniform(-12, 12, 3), 8, 245)
    return join(paint.tinted(colour), rest).at(scale=rng.uniform(0.95, 1.05))
