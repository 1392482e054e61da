"""Pedestrians."""

from __future__ import annotations

import numpy as np

from .classes import Label
from .mesh import Mesh, ball, box, join, tube
from .towns import Town

_SKIN = np.array([(232, 190, 160), (198, 150, 116), (140, 98, 72), (96, 66, 50)], np.float32)
_HAIR = np.array([(40, 32, 28), (92, 64, 42), (160, 124, 76), (150, 150, 148)], np.float32)


def pedestrian(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """Somebody walking along +z, feet at the origin, 1.5 to 1.9 m tall."""
    who = Label.PEDESTRIAN
    skin, hair = _SKIN[rng.integers(4)], _HAIR[rng.integers(4)]
    coat = rng.uniform(30, 215) + rng.uniform(-55, 55, 3)
    trousers = rng.uniform(30, 130) + rng.uniform(-20, 25, 3)
    coat, trousers = np.clip(coat, 15, 240), np.clip(trousers, 15, 200)
    stride, swing = rng.uniform(0.08, 0.34), rng.uniform(0.05, 0.3)
    parts = []
    for side, step in ((-1, stride), (1, -stride)):
        hip, foot = (side * 0.1, 0.88, 0), (side * 0.12, 0.06, step)
        parts.append(tube(foot, hip, 0.085, trousers, who, end_radius=0.11))
        parts.append(
            box((side * 0.12 - 0.06, 0, step - 0.1), (side * 0.12 + 0.06, 0.1, step + 0.17), (44, 38, 36), who)
        )
        hand, shoulder = (side * 0.29, 0.84, -step * swing / stride), (side * 0.22, 1.4, 0)
        parts.append(tube(hand, shoulder, 0.055, coat * 0.92, who, end_radius=0.075, layer=1))
    long = rng.random() < 0.35
    torso = box((-0.2, 0.45 if long else 0.8, -0.13), (0.2, 1.46, 0.13), coat, who, taper=(1.12, 0.9), layer=1)
    parts += [
        torso,
        ball((0, 1.62, 0.01), (0.11, 0.14, 0.125), skin, who, rings=5, sides=7, layer=2),
        ball((0, 1.67, -0.025), (0.122, 0.12, 0.13), hair, who, rings=4, sides=7, layer=2),
    ]
    if rng.random() < 0.3:
        parts.append(box((-0.15, 0.95, -0.32), (0.15, 1.4, -0.12), rng.uniform(30, 200, 3), who, layer=1))
    return join(*parts).at(scale=rng.uniform(0.86, 1.08))
