"""Street furniture: poles, traffic signs, and all that the dataset calls `other`."""

from __future__ import annotations

import numpy as np

from .classes import Label
from .mesh import Mesh, ball, box, disc, join, lathe, panels, tube
from .towns import Town

_RED, _BLUE, _WHITE, _YELLOW, _BLACK = (198, 32, 38), (30, 84, 168), (240, 240, 236), (240, 196, 40), (34, 34, 36)


def lamp_post(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """A street lamp whose arm reaches towards -x."""
    height, reach, pole = rng.uniform(5.0, 6.5), rng.uniform(0.9, 1.6), Label.POLE
    parts = [
        tube((0, 0, 0), (0, height, 0), 0.12, town.pole, pole, end_radius=0.08, sides=7),
        tube((0, 0, 0), (0, 0.9, 0), 0.17, np.array(town.pole) * 0.85, pole, sides=7),
        tube((0, height - 0.1, 0), (-reach, height + 0.25, 0), 0.06, town.pole, pole),
        box((-reach - 0.5, height + 0.15, -0.14), (-reach + 0.1, height + 0.32, 0.14), (206, 204, 190), pole),
    ]
    return join(*parts)


def traffic_light(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """A traffic light on a post; lamps look along -z. As in CARLA's older labels it counts as pole."""
    pole, lit = Label.POLE, rng.integers(3)
    head = box((-0.2, 2.5, -0.2), (0.2, 3.55, 0.12), _BLACK, pole)
    parts = [tube((0, 0, 0), (0, 3.5, 0), 0.1, town.pole, pole, sides=7), head]
    for i, colour in enumerate(((60, 220, 110), (250, 190, 50), (240, 50, 44))):
        shade = np.array(colour) * (1.0 if i == lit else 0.28)
        spot = (0.06 + 0.31 * i, 0.3 + 0.31 * i)
        parts.append(panels(head.quads[0], (0.22, 0.78), spot, shade, pole, 2, 0.9 if i == lit else 0))
    return join(*parts)


def traffic_sign(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """A sign on its post (the post is `pole`); it looks along -z."""
    y, size = rng.uniform(2.2, 2.7), rng.uniform(0.42, 0.56)
    post = tube((0, 0, 0), (0, y + size * 0.8, 0.05), 0.065, (150, 152, 152), Label.POLE)
    layers: list[tuple[float, int, float, tuple[int, int, int]]]
    kind = rng.integers(6)
    up, flat = np.pi / 2, np.pi / 4
    if kind == 0:
        layers = [(size, 12, 0, _RED), (size * 0.72, 12, 0, _WHITE), (size * 0.3, 4, flat, _BLACK)]
    elif kind == 1:
        layers = [(size * 1.15, 3, up, _RED), (size * 0.78, 3, up, _WHITE), (size * 0.2, 4, flat, _BLACK)]
    elif kind == 2:
        layers = [(size, 12, 0, _WHITE), (size * 0.92, 12, 0, _BLUE), (size * 0.4, 3, up, _WHITE)]
    elif kind == 3:
        layers = [(size * 1.1, 4, up, _WHITE), (size * 0.85, 4, up, _YELLOW)]
    elif kind == 4:
        layers = [(size, 8, np.pi / 8, _WHITE), (size * 0.93, 8, np.pi / 8, _RED), (size * 0.3, 4, flat, _WHITE)]
    else:
        layers = [(size * 1.1, 4, flat, _WHITE), (size * 1.02, 4, flat, _BLUE), (size * 0.5, 4, flat, _WHITE)]
    sign = Label.TRAFFIC_SIGN
    faces = [disc(r, n, colour, sign, turn, 2 + i).at(0, y, -0.03) for i, (r, n, turn, colour) in enumerate(layers)]
    radius, corners, turn, _ = layers[0]
    back = disc(radius, corners, (140, 142, 144), sign, -turn, 1).at(0, y, -0.02, yaw=np.pi)
    return join(post, back, *faces)


def bench(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    other, wood = Label.OTHER, rng.uniform(0.8, 1.1) * np.array((150, 104, 66))
    seat = box((-0.25, 0.42, -0.9), (0.25, 0.5, 0.9), wood, other)
    back = box((0.2, 0.5, -0.9), (0.28, 0.95, 0.9), wood, other)
    slats = panels(back.quads[2], (0.0, 1.0), ((0.25, 0.33), (0.6, 0.68)), wood * 0.55, other)
    legs = [box((-0.22, 0, z), (0.26, 0.42, z + 0.08), (60, 62, 64), other) for z in (-0.8, 0.72)]
    return join(*legs, seat, back, slats)


def bin_(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    colour = ((58, 92, 70), (90, 92, 96), (176, 96, 44), (70, 84, 110))[rng.integers(4)]
    body = lathe([(0.26, 0), (0.33, 0.85), (0.35, 0.9), (0.3, 1.0), (0, 1.04)], 8, colour, Label.OTHER)
    return join(body, tube((0, 0.6, 0), (0, 0.68, 0), 0.335, np.array(colour) * 0.6, Label.OTHER, sides=8, layer=1))


def hydrant(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    colour = ((196, 44, 36), (214, 168, 40))[rng.integers(2)]
    body = lathe(
        [(0.2, 0), (0.2, 0.08), (0.14, 0.1), (0.14, 0.62), (0.18, 0.66), (0.1, 0.84), (0, 0.88)], 8, colour, Label.OTHER
    )
    return join(body, tube((-0.24, 0.48, 0), (0.24, 0.48, 0), 0.075, colour, Label.OTHER))


def mailbox(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    colour = ((226, 180, 40), (186, 44, 40), (44, 80, 150))[rng.integers(3)]
    body = box((-0.3, 0.35, -0.25), (0.3, 1.35, 0.25), colour, Label.OTHER, taper=(0.8, 1.0))
    slot = panels(body.quads[2], (0.2, 0.8), (0.72, 0.8), _BLACK, Label.OTHER)
    return join(box((-0.2, 0, -0.2), (0.2, 0.35, 0.2), (70, 70, 72), Label.OTHER), body, slot)


def cabinet(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    colour = np.array((150, 152, 140)) * rng.uniform(0.7, 1.15)
    body = box((-0.25, 0, -0.6), (0.25, 1.25, 0.6), colour, Label.OTHER)
    return join(body, panels(body.quads[2], ((0.06, 0.47), (0.53, 0.94)), (0.1, 0.92), colour * 0.85, Label.OTHER))


def bus_stop(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """A shelter open towards -x."""
    other, steel, pane = Label.OTHER, (96, 102, 108), (156, 178, 186)
    roof = box((-0.75, 2.3, -1.7), (0.75, 2.45, 1.7), steel, other, layer=4)
    back = box((0.6, 0.2, -1.6), (0.66, 2.3, 1.6), pane, other)
    frames = panels(back.quads[2], ((0.0, 0.04), (0.31, 0.35), (0.65, 0.69), (0.96, 1.0)), (0.0, 1.0), steel, other)
    side = box((-0.5, 0.2, 1.55), (0.6, 2.3, 1.62), pane, other)
    poster = box((-0.5, 0.3, -1.64), (0.6, 2.2, -1.56), rng.uniform(60, 230, 3), other, layer=2)
    stripe = panels(poster.quads[0], (0.15, 0.85), ((0.15, 0.3), (0.5, 0.85)), rng.uniform(60, 240, 3), other, 3)
    seat = box((0.15, 0.5, -1.0), (0.5, 0.58, 1.0), (150, 110, 70), other)
    return join(back, frames, side, seat, poster, stripe, roof)


def planter(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    tub = box((-0.4, 0, -0.8), (0.4, 0.55, 0.8), np.array((166, 140, 116)) * rng.uniform(0.7, 1.1), Label.OTHER)
    bloom = np.clip(rng.uniform(60, 240, 3), 0, 240)
    heads = [
        ball((0.15 * (i % 2) - 0.1, 0.68, -0.6 + 0.3 * i), (0.22, 0.2, 0.2), colour, Label.VEGETATION, 4, 6)
        for i, colour in enumerate([(86, 120, 60), bloom, (96, 130, 64), bloom, (90, 124, 60)])
    ]
    return join(tub, *heads)


OTHERS = (bench, bin_, hydrant, mailbox, cabinet, bus_stop, planter)
