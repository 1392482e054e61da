"""Animals. Each stands on the ground (or floats) at the origin and looks along +z, in metres as in nature."""

from __future__ import annotations

import numpy as np

from ..mesh import Mesh, ball, box, join, surface, tube
from .paint import ODD, Paint


def _legged(
    paint: Paint,
    rng: np.random.Generator,
    height: float,
    length: float,
    girth: float,
    neck: tuple[float, float],
    head: float,
    leg: float,
) -> list[Mesh]:
    """A four-legged body; `neck` is how far the head is up and ahead of the shoulder."""
    fur = np.array(paint.fur)
    top, half = height - girth, length / 2
    parts = [paint.patterned(ball((0, top, 0), (girth * 0.85, girth, half), fur, ODD, 7, 10))]
    for side in (-1, 1):
        for z in (-half * 0.62, half * 0.62):
            x, step = side * girth * 0.5, rng.uniform(-0.12, 0.12) * height
            parts.append(tube((x, 0, z + step), (x, top, z), leg * 0.8, fur * 0.9, ODD, end_radius=leg * 1.3))
    shoulder = (0, top + girth * 0.3, half * 0.75)
    face = (0, top + girth * 0.3 + neck[0], half * 0.75 + neck[1])
    parts.append(tube(shoulder, face, girth * 0.55, fur, ODD, end_radius=head * 0.7))
    parts.append(ball((0, face[1], face[2] + head * 0.4), (head * 0.75, head * 0.8, head * 1.25), fur, ODD))
    muzzle = (0, face[1] - head * 0.2, face[2] + head * 1.5)
    parts.append(ball(muzzle, (head * 0.45, head * 0.4, head * 0.5), fur * 0.75, ODD, 4, 6))
    for side in (-1, 1):
        ear = (side * head * 0.6, face[1] + head * 0.6, face[2])
        parts.append(tube(ear, (ear[0] * 1.3, ear[1] + head * 0.7, ear[2]), head * 0.28, fur * 0.85, ODD, 0.01))
    tail = (0, top + girth * 0.4, -half * 0.95)
    parts.append(tube(tail, (0, top - girth * 0.6, -half * 1.3), leg * 0.6, fur * 0.9, ODD, end_radius=leg * 0.3))
    return parts


def dog(paint: Paint, rng: np.random.Generator) -> Mesh:
    return join(*_legged(paint, rng, 0.75, 1.0, 0.2, (0.22, 0.12), 0.15, 0.05))


def cow(paint: Paint, rng: np.random.Generator) -> Mesh:
    return join(*_legged(paint, rng, 1.5, 2.2, 0.42, (0.2, 0.4), 0.24, 0.1))


def horse(paint: Paint, rng: np.random.Generator) -> Mesh:
    return join(*_legged(paint, rng, 1.65, 2.1, 0.36, (0.75, 0.45), 0.22, 0.09))


def giraffe(paint: Paint, rng: np.random.Generator) -> Mesh:
    return join(*_legged(paint, rng, 2.6, 2.0, 0.45, (1.9, 0.6), 0.22, 0.11))


def elephant(paint: Paint, rng: np.random.Generator) -> Mesh:
    parts = _legged(paint, rng, 2.6, 3.2, 0.85, (0.25, 0.5), 0.48, 0.26)
    parts.append(tube((0, 1.9, 2.5), (0, 0.4, 2.8), 0.22, np.array(paint.fur) * 0.9, ODD, end_radius=0.1))
    for side in (-1, 1):
        parts.append(ball((side * 0.75, 2.3, 1.6), (0.5, 0.6, 0.1), np.array(paint.fur) * 0.85, ODD, 5, 8))
        parts.append(
            tube((side * 0.25, 1.8, 2.3), (side * 0.35, 1.4, 3.0), 0.08, (232, 226, 210), ODD, end_radius=0.03)
        )
    return join(*parts)


def bird(paint: Paint, rng: np.random.Generator) -> Mesh:
    """A long-legged bird."""
    parts = [paint.patterned(ball((0, 1.05, 0), (0.26, 0.28, 0.46), paint.body, ODD, 6, 9))]
    for side in (-1, 1):
        parts.append(tube((side * 0.1, 0, 0.04), (side * 0.1, 0.9, 0), 0.035, paint.second, ODD))
        parts.append(box((side * 0.1 - 0.07, 0, -0.05), (side * 0.1 + 0.07, 0.04, 0.22), paint.second, ODD))
    parts.append(tube((0, 1.15, 0.35), (0, 1.75, 0.5), 0.08, paint.body, ODD, end_radius=0.05))
    parts.append(ball((0, 1.82, 0.54), (0.1, 0.11, 0.14), paint.body, ODD, 5, 7))
    parts.append(tube((0, 1.8, 0.64), (0, 1.72, 0.9), 0.05, paint.trim, ODD, end_radius=0.01))
    return join(*parts)


def turtle(paint: Paint, rng: np.random.Generator) -> Mesh:
    parts = [paint.patterned(ball((0, 0.3, 0), (0.55, 0.42, 0.68), paint.body, ODD, 7, 11))]
    skin = np.array(paint.second) * 0.8
    parts.append(ball((0, 0.36, 0.88), (0.16, 0.16, 0.22), skin, ODD, 5, 7))
    for x, z in ((-0.45, 0.45), (0.45, 0.45), (-0.45, -0.45), (0.45, -0.45)):
        parts.append(ball((x, 0.12, z), (0.16, 0.13, 0.24), skin, ODD, 4, 6))
    return join(*parts)


def fish(paint: Paint, rng: np.random.Generator) -> Mesh:
    """A fish out of water, hanging in the air."""
    body = paint.patterned(ball((0, 0, 0), (0.22, 0.42, 0.8), paint.body, ODD, 8, 10))
    fins = np.array(
        [
            [[0, 0, -0.65], [0, 0, -0.65], [0, 0.5, -1.25], [0, -0.45, -1.2]],
            [[0, 0.36, 0.3], [0, 0.36, -0.3], [0, 0.72, -0.35], [0, 0.7, -0.1]],
        ]
    )
    both = np.concatenate([fins, fins[:, ::-1]])
    eyes = [ball((side * 0.16, 0.12, 0.55), (0.06, 0.07, 0.07), (240, 240, 236), ODD, 4, 6) for side in (-1, 1)]
    return join(surface(both, paint.second, ODD), body, *eyes)


def dinosaur(paint: Paint, rng: np.random.Generator) -> Mesh:
    skin = np.array(paint.body)
    parts = [paint.patterned(ball((0, 1.7, 0), (0.55, 0.7, 1.0), skin, ODD, 7, 10))]
    parts.append(tube((0, 1.6, -0.6), (0, 0.7, -2.5), 0.5, skin, ODD, end_radius=0.05, sides=8))
    parts.append(tube((0, 2.0, 0.6), (0, 2.9, 1.1), 0.4, skin, ODD, end_radius=0.25, sides=8))
    parts.append(box((-0.28, 2.75, 0.9), (0.28, 3.25, 1.9), skin, ODD, taper=(0.8, 0.85)))
    for side in (-1, 1):
        x = side * 0.35
        parts.append(tube((x, 0.8, 0.35), (x, 1.6, 0), 0.18, skin * 0.9, ODD, end_radius=0.34))
        parts.append(tube((x, 0.05, 0.05), (x, 0.85, 0.35), 0.15, skin * 0.9, ODD))
        parts.append(box((x - 0.18, 0, -0.05), (x + 0.18, 0.15, 0.5), skin * 0.85, ODD))
        parts.append(tube((side * 0.4, 1.9, 0.9), (side * 0.4, 1.6, 1.3), 0.09, skin * 0.9, ODD))
    return join(*parts)


GROUND = (dog, cow, horse, giraffe, elephant, bird, turtle, dinosaur)
AIR = (fish,)
