"""Geometric solids, furniture and toys. Each stands at the origin, its front towards -z."""

from __future__ import annotations

import numpy as np

from ..mesh import Mesh, ball, box, join, lathe, panels, torus, tube
from .paint import ODD, Paint


def sphere(paint: Paint, rng: np.random.Generator) -> Mesh:
    return paint.patterned(ball((0, 0.6, 0), (0.6, 0.6, 0.6), paint.body, ODD, 9, 14))


def cube(paint: Paint, rng: np.random.Generator) -> Mesh:
    body = box((-0.5, 0, -0.5), (0.5, 1, 0.5), paint.body, ODD)
    if rng.random() < 0.5:
        return body
    return join(body, *(panels(face, (0.2, 0.8), (0.2, 0.8), paint.second, ODD) for face in body.quads))


def cone(paint: Paint, rng: np.random.Generator) -> Mesh:
    sides = (3, 4, 5, 16)[rng.integers(4)]
    levels = np.linspace(0, 1, 6)
    profile = [(0.0, 0.0), *((0.65 * (1 - t), 1.6 * t) for t in levels)]
    return paint.patterned(lathe(profile, sides, paint.body, ODD))


def ring(paint: Paint, rng: np.random.Generator) -> Mesh:
    thickness = rng.uniform(0.12, 0.28)
    upright = torus(0.75, thickness, paint.body, ODD, sides=18).tilted(np.pi / 2)
    return paint.patterned(upright).at(0, 0.75 + thickness, 0)


def gem(paint: Paint, rng: np.random.Generator) -> Mesh:
    sides = int(rng.integers(4, 8))
    body = lathe([(0, 0), (0.7, 0.9), (0.45, 1.3), (0, 1.35)], sides, paint.body, ODD)
    body.colours[:, :3] *= rng.uniform(0.75, 1.2, (len(body.quads), 1)).astype(np.float32)
    return body


def column(paint: Paint, rng: np.random.Generator) -> Mesh:
    """A leaning pile of discs or of boxes."""
    parts, y = [], 0.0
    for i in range(int(rng.integers(3, 6))):
        size, tall = rng.uniform(0.3, 0.65), rng.uniform(0.2, 0.5)
        colour = (paint.body, paint.second, paint.trim)[i % 3]
        shift, turn = rng.uniform(-0.12, 0.12), rng.uniform(0, 1.5)
        if rng.random() < 0.5:
            parts.append(box((-size, 0, -size), (size, tall, size), colour, ODD, layer=i).at(shift, y, 0, turn))
        else:
            parts.append(tube((shift, y, 0), (shift, y + tall, 0), size, colour, ODD, sides=12, layer=i))
        y += tall
    return join(*parts)


def sofa(paint: Paint, rng: np.random.Generator) -> Mesh:
    cloth = np.array(paint.body)
    parts = [
        box((-1.0, 0.1, 0.25), (1.0, 0.95, 0.5), cloth * 0.92, ODD),
        box((-1.0, 0.1, -0.45), (1.0, 0.4, 0.3), cloth * 0.85, ODD),
        box((-0.95, 0.4, -0.45), (-0.02, 0.55, 0.25), cloth, ODD),
        box((0.02, 0.4, -0.45), (0.95, 0.55, 0.25), cloth, ODD),
    ]
    parts += [box((x - 0.12, 0.1, -0.45), (x + 0.12, 0.7, 0.45), cloth * 0.9, ODD) for x in (-1.0, 1.0)]
    parts += [
        box((x - 0.05, 0, z), (x + 0.05, 0.1, z + 0.1), paint.wood, ODD) for x in (-0.9, 0.9) for z in (-0.4, 0.3)
    ]
    return join(*parts)


def chair(paint: Paint, rng: np.random.Generator) -> Mesh:
    legs = [
        tube((x, 0, z), (x * 0.95, 0.45, z * 0.95), 0.035, paint.wood, ODD) for x in (-0.2, 0.2) for z in (-0.2, 0.2)
    ]
    seat = box((-0.25, 0.45, -0.25), (0.25, 0.52, 0.25), paint.body, ODD)
    back = box((-0.25, 0.52, 0.2), (0.25, 1.05, 0.26), paint.body, ODD)
    return join(*legs, back, seat)


def table(paint: Paint, rng: np.random.Generator) -> Mesh:
    legs = [tube((x, 0, z), (x, 0.72, z), 0.05, paint.wood, ODD) for x in (-0.65, 0.65) for z in (-0.35, 0.35)]
    top = box((-0.8, 0.72, -0.5), (0.8, 0.8, 0.5), paint.wood, ODD, layer=1)
    pot = lathe([(0.1, 0.8), (0.2, 0.95), (0.08, 1.2), (0.14, 1.3)], 9, paint.body, ODD, layer=2)
    return join(*legs, top, pot)


def wardrobe(paint: Paint, rng: np.random.Generator) -> Mesh:
    body = box((-0.6, 0, -0.3), (0.6, 1.9, 0.3), paint.wood, ODD)
    doors = panels(body.quads[0], ((0.04, 0.48), (0.52, 0.96)), (0.06, 0.95), np.array(paint.wood) * 1.18, ODD)
    knobs = panels(body.quads[0], ((0.43, 0.46), (0.54, 0.57)), (0.48, 0.54), paint.steel, ODD, layer=2)
    return join(body, doors, knobs)


def bathtub(paint: Paint, rng: np.random.Generator) -> Mesh:
    tub = box((-0.32, 0.15, -0.75), (0.32, 0.65, 0.75), (232, 232, 228), ODD, taper=(1.25, 1.15))
    water = panels(tub.quads[4], (0.1, 0.9), (0.06, 0.94), paint.second, ODD)
    feet = [ball((x, 0.08, z), (0.08, 0.09, 0.08), paint.steel, ODD, 4, 6) for x in (-0.25, 0.25) for z in (-0.6, 0.6)]
    return join(*feet, tub, water)


def pawn(paint: Paint, rng: np.random.Generator) -> Mesh:
    foot = [(0, 0), (0.42, 0), (0.42, 0.12), (0.28, 0.22), (0.16, 0.5), (0.12, 0.85), (0.24, 0.9), (0.1, 0.96)]
    angle = np.linspace(-1.2, np.pi / 2, 6)
    head = [(0.22 * np.cos(a), 1.15 + 0.22 * np.sin(a)) for a in angle]
    return paint.patterned(lathe(foot + head, 12, paint.body, ODD))


def snowman(paint: Paint, rng: np.random.Generator) -> Mesh:
    white = (232, 234, 238)
    parts = [ball((0, y, 0), (r, r, r), white, ODD, 7, 11) for y, r in ((0.5, 0.52), (1.2, 0.38), (1.72, 0.26))]
    hat = lathe([(0.34, 1.9), (0.34, 1.94), (0.2, 1.95), (0.2, 2.25), (0, 2.25)], 10, paint.dark, ODD, layer=1)
    nose = tube((0, 1.72, -0.24), (0, 1.7, -0.55), 0.06, (236, 130, 40), ODD, end_radius=0.01, layer=1)
    return join(*parts, hat, nose)


def duck(paint: Paint, rng: np.random.Generator) -> Mesh:
    """A bath duck, of whatever colour."""
    body = ball((0, 0.45, 0), (0.5, 0.45, 0.7), paint.body, ODD, 7, 11)
    tail = tube((0, 0.55, 0.5), (0, 0.85, 0.85), 0.22, paint.body, ODD, end_radius=0.04)
    head = ball((0, 1.05, -0.35), (0.33, 0.33, 0.33), paint.body, ODD, 7, 10)
    beak = box((-0.16, 0.95, -0.85), (0.16, 1.05, -0.6), paint.second, ODD, layer=1)
    eyes = [ball((side * 0.15, 1.15, -0.62), (0.06, 0.07, 0.05), paint.dark, ODD, 4, 6, layer=1) for side in (-1, 1)]
    return join(tail, body, head, beak, *eyes)


def mushroom(paint: Paint, rng: np.random.Generator) -> Mesh:
    stem = lathe([(0.28, 0), (0.2, 0.4), (0.22, 0.8)], 9, (226, 214, 190), ODD)
    cap = lathe([(0.0, 0.72), (0.75, 0.7), (0.7, 0.95), (0.4, 1.25), (0.0, 1.35)], 12, paint.body, ODD, layer=1)
    spots = [
        ball((0.5 * np.cos(a), 1.08, 0.5 * np.sin(a)), (0.12, 0.1, 0.12), (240, 236, 226), ODD, 4, 6, layer=1)
        for a in np.arange(6) * 1.05
    ]
    return join(stem, cap, *spots)


def umbrella(paint: Paint, rng: np.random.Generator) -> Mesh:
    stick = tube((0, 0, 0), (0, 2.0, 0), 0.04, paint.wood, ODD)
    shade = lathe([(1.15, 1.7), (0.7, 2.05), (0.0, 2.2)], 10, paint.body, ODD, layer=1)
    shade.colours[np.arange(len(shade.colours)) % 2 == 1, :3] = paint.second
    return join(stick, shade)


def teddy(paint: Paint, rng: np.random.Generator) -> Mesh:
    fur = np.array(paint.fur)
    parts = [
        ball((0, 0.5, 0), (0.36, 0.45, 0.32), fur, ODD, 7, 10),
        ball((0, 1.15, 0), (0.3, 0.28, 0.28), fur, ODD, 7, 10),
    ]
    parts.append(ball((0, 1.08, -0.25), (0.13, 0.1, 0.1), fur * 1.25, ODD, 4, 7, layer=1))
    for side in (-1, 1):
        parts.append(ball((side * 0.24, 1.4, 0), (0.11, 0.11, 0.07), fur * 0.85, ODD, 5, 7))
        parts.append(ball((side * 0.4, 0.65, -0.12), (0.13, 0.3, 0.14), fur * 0.95, ODD, 5, 7))
        parts.append(ball((side * 0.24, 0.15, -0.32), (0.16, 0.15, 0.32), fur * 0.95, ODD, 5, 7))
    return join(*parts)


GROUND = (
    sphere,
    cube,
    cone,
    ring,
    gem,
    column,
    sofa,
    chair,
    table,
    wardrobe,
    bathtub,
    pawn,
    snowman,
    duck,
    mushroom,
    umbrella,
    teddy,
)
