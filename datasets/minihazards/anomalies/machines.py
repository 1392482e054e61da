"""Vehicles and machines that no town has. Each stands (or flies) at the origin and looks along +z."""

from __future__ import annotations

import numpy as np

from ..mesh import Mesh, ball, box, disc, join, lathe, panels, torus, tube
from .paint import ODD, Paint


def _wheel(x: float, z: float, radius: float, width: float, paint: Paint) -> Mesh:
    side = 1 if x > 0 else -1
    tyre = tube((x - side * width / 2, radius, z), (x + side * width / 2, radius, z), radius, paint.dark, ODD, sides=12)
    hub = disc(radius * 0.55, 10, paint.second, ODD, layer=1).at(x + side * width * 0.51, radius, z, -side * np.pi / 2)
    return join(tyre, hub)


def helicopter(paint: Paint, rng: np.random.Generator) -> Mesh:
    body = paint.patterned(ball((0, 0, 0), (0.8, 0.85, 1.5), paint.body, ODD, 7, 10))
    canopy = ball((0, 0.12, 0.62), (0.66, 0.62, 0.92), paint.glass, ODD, 6, 9)
    boom = tube((0, 0.2, -1.1), (0, 0.5, -4.0), 0.3, paint.body, ODD, end_radius=0.12, sides=7)
    fin = box((-0.05, 0.4, -4.3), (0.05, 1.3, -3.7), paint.second, ODD, taper=(1.0, 0.6))
    mast = tube((0, 0.8, 0), (0, 1.2, 0), 0.1, paint.dark, ODD)
    turn = rng.uniform(0, 1.5)
    blades = [box((-0.14, 1.18, -3.2), (0.14, 1.25, 3.2), paint.trim, ODD).at(yaw=turn + a) for a in (0, np.pi / 2)]
    skids = []
    for side in (-0.6, 0.6):
        skids.append(tube((side, -1.25, -1.2), (side, -1.25, 1.3), 0.06, paint.dark, ODD))
        skids += [tube((side, -1.25, z), (side * 0.6, -0.6, z), 0.05, paint.dark, ODD) for z in (-0.5, 0.6)]
    return join(boom, fin, *skids, body, canopy, mast, *blades)


def boat(paint: Paint, rng: np.random.Generator) -> Mesh:
    hull = box((-0.7, 0, -2.0), (0.7, 0.9, 2.2), paint.body, ODD, taper=(1.45, 1.2))
    band = [panels(hull.quads[i], (0, 1), (0.72, 0.9), paint.second, ODD) for i in range(4)]
    cabin = box((-0.6, 0.9, -1.2), (0.6, 1.8, 0.4), (232, 230, 224), ODD, taper=(0.9, 0.85))
    panes = [panels(cabin.quads[i], ((0.1, 0.45), (0.55, 0.9)), (0.4, 0.85), paint.glass, ODD) for i in range(4)]
    mast = tube((0, 1.0, 0.6), (0, 3.6, 0.6), 0.06, paint.wood, ODD)
    return join(hull, *band, cabin, *panes, mast)


def tractor(paint: Paint, rng: np.random.Generator) -> Mesh:
    hood = box((-0.4, 0.8, 0.0), (0.4, 1.5, 1.9), paint.body, ODD, taper=(0.9, 1.0))
    cabin = box((-0.65, 1.0, -1.2), (0.65, 2.5, 0.1), paint.body, ODD, taper=(0.9, 0.9))
    panes = [panels(cabin.quads[i], (0.1, 0.9), (0.35, 0.9), paint.glass, ODD) for i in range(4)]
    roof = box((-0.7, 2.5, -1.25), (0.7, 2.62, 0.15), paint.second, ODD, layer=1)
    pipe = tube((0.2, 1.4, 1.2), (0.2, 2.3, 1.2), 0.06, paint.dark, ODD)
    wheels = [_wheel(side * 0.85, -0.75, 0.85, 0.4, paint) for side in (-1, 1)]
    wheels += [_wheel(side * 0.7, 1.35, 0.5, 0.28, paint) for side in (-1, 1)]
    return join(*wheels, hood, cabin, *panes, roof, pipe)


def excavator(paint: Paint, rng: np.random.Generator) -> Mesh:
    tracks = [box((x - 0.3, 0, -1.5), (x + 0.3, 0.7, 1.5), paint.dark, ODD, taper=(1, 0.85)) for x in (-0.8, 0.8)]
    house = box((-1.0, 0.75, -1.4), (1.0, 1.7, 0.7), paint.body, ODD)
    cabin = box((-0.95, 1.0, 0.0), (-0.1, 2.5, 1.0), paint.body, ODD, taper=(0.95, 0.85))
    panes = [panels(cabin.quads[i], (0.12, 0.88), (0.4, 0.92), paint.glass, ODD) for i in range(4)]
    arm = [
        tube((0.4, 1.3, 0.5), (0.4, 3.4, 2.2), 0.2, paint.body, ODD),
        tube((0.4, 3.4, 2.2), (0.4, 1.6, 3.6), 0.15, paint.body, ODD),
        box((0.0, 0.8, 3.2), (0.8, 1.6, 4.0), paint.steel, ODD, taper=(0.9, 0.6)),
    ]
    return join(*tracks, house, cabin, *panes, *arm)


def rocket(paint: Paint, rng: np.random.Generator) -> Mesh:
    body = lathe([(0.0, 0.3), (0.3, 0.3), (0.5, 1.0), (0.5, 2.4), (0.34, 3.2), (0.0, 4.0)], 12, paint.body, ODD)
    fins = [box((0.3, 0.0, -0.05), (0.95, 1.1, 0.05), paint.second, ODD, (0.3, 1)).at(yaw=a) for a in (0.5, 2.6, 4.7)]
    return join(*fins, paint.patterned(body))


def robot(paint: Paint, rng: np.random.Generator) -> Mesh:
    steel = paint.steel
    parts = [box((-0.45, 0.95, -0.3), (0.45, 1.8, 0.3), paint.body, ODD, taper=(1.15, 1.0))]
    parts.append(panels(parts[0].quads[1], (0.2, 0.8), (0.35, 0.8), paint.second, ODD))
    head = box((-0.28, 1.9, -0.25), (0.28, 2.4, 0.25), steel, ODD)
    parts += [head, panels(head.quads[1], ((0.15, 0.4), (0.6, 0.85)), (0.5, 0.75), (250, 220, 90), ODD, 1, 0.6)]
    parts.append(tube((0, 2.4, 0), (0, 2.75, 0), 0.03, paint.dark, ODD))
    for side in (-1, 1):
        lift = rng.uniform(-0.5, 0.9)
        parts.append(tube((side * 0.25, 0.1, 0), (side * 0.25, 0.95, 0), 0.14, steel, ODD))
        parts.append(box((side * 0.25 - 0.18, 0, -0.2), (side * 0.25 + 0.18, 0.16, 0.3), paint.dark, ODD))
        hand = (side * 0.95, 1.3 + lift * 0.6, 0.2)
        parts.append(tube((side * 0.58, 1.65, 0), hand, 0.1, steel, ODD))
        parts.append(ball(hand, (0.15, 0.15, 0.15), paint.second, ODD, 4, 7))
    return join(*parts)


def washing_machine(paint: Paint, rng: np.random.Generator) -> Mesh:
    body = box((-0.4, 0, -0.4), (0.4, 1.1, 0.4), np.clip(np.array(paint.body) * 0.4 + 130, 0, 240), ODD)
    ring = disc(0.29, 14, paint.steel, ODD, layer=1).at(0, 0.5, -0.401)
    door = disc(0.22, 14, paint.glass, ODD, layer=2).at(0, 0.5, -0.402)
    return join(body, panels(body.quads[0], (0.05, 0.95), (0.84, 0.95), paint.trim, ODD), ring, door)


def aeroplane(paint: Paint, rng: np.random.Generator) -> Mesh:
    body = lathe([(0.0, -2.2), (0.3, -1.8), (0.55, 0.2), (0.5, 1.4), (0.0, 2.2)], 9, paint.body, ODD).tilted(np.pi / 2)
    wing = box((-3.2, -0.06, -0.3), (3.2, 0.08, 0.75), paint.second, ODD)
    tail = box((-1.1, 0.15, -2.2), (1.1, 0.25, -1.7), paint.second, ODD)
    fin = box((-0.05, 0.1, -2.3), (0.05, 0.95, -1.6), paint.second, ODD, taper=(1, 0.6))
    return join(wing, tail, fin, body).tilted(0.0, rng.uniform(-0.4, 0.4))


def balloon(paint: Paint, rng: np.random.Generator) -> Mesh:
    bag = lathe([(0.35, -1.9), (0.9, -1.2), (1.6, 0.0), (1.55, 0.8), (1.0, 1.5), (0.0, 1.8)], 14, paint.body, ODD)
    stripes = bag.colours
    stripes[np.arange(len(stripes)) % 14 % 2 == 1, :3] = paint.second
    basket = box((-0.35, -3.2, -0.35), (0.35, -2.6, 0.35), paint.wood, ODD)
    ropes = [tube((x, -2.6, z), (x, -1.85, z), 0.03, paint.dark, ODD) for x in (-0.3, 0.3) for z in (-0.3, 0.3)]
    return join(basket, *ropes, bag)


def saucer(paint: Paint, rng: np.random.Generator) -> Mesh:
    dish = lathe([(0.0, -0.35), (0.7, -0.3), (1.7, 0.0), (0.9, 0.3), (0.6, 0.36)], 16, paint.steel, ODD)
    dome = ball((0, 0.3, 0), (0.62, 0.55, 0.62), paint.glass, ODD, 6, 10)
    rim = torus(1.55, 0.12, paint.second, ODD)
    return join(dome, paint.patterned(dish), rim).tilted(rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25))


GROUND = (boat, tractor, excavator, rocket, robot, washing_machine)
AIR = (helicopter, aeroplane, balloon, saucer)
