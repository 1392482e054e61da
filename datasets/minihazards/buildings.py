"""Houses, fences and walls of the right-hand side of a street; the left-hand side is mirrored.

Every builder puts its street front at x = 0, looking towards -x, from z = 0 to z = LENGTH.
"""

from __future__ import annotations

import numpy as np

from .classes import Label
from .mesh import Array, Mesh, ball, box, join, panels, surface
from .towns import Town

LENGTH = 12.0
"""Metres along the street of every model; whoever places it stretches it to the lot."""
_STOREY = 3.1
_HOUSE = Label.BUILDING


def _spans(length: float, size: float, gap: float) -> Array:
    """As many equal spans of about a size as fit into a length, evenly spread, as shares of it."""
    count = max(int(length / (size + gap)), 1)
    middle = (np.arange(count) + 0.5) / count
    half = min(size / length, 0.8 / count) / 2
    return np.stack([middle - half, middle + half], -1).astype(np.float32)


def _windows(face: Array, town: Town, rng: np.random.Generator, floors: int, low: float, fine: bool) -> Mesh:
    """Frames and panes of all floors of a face, whose height is `low` + floors storeys."""
    length = float(np.linalg.norm(face[1] - face[0]))
    height = low + floors * _STOREY
    width, tall = town.window
    us = _spans(length, width, rng.uniform(0.7, 1.4))
    bottom = (low + np.arange(floors) * _STOREY + 0.85) / height
    vs = np.stack([bottom, bottom + tall / height], -1)
    count = len(us) * len(vs)
    sky = np.array((92, 108, 124)) * rng.uniform(0.7, 1.2)
    panes = np.clip(sky * rng.uniform(0.6, 1.25, (count, 1)) + rng.uniform(-6, 6, (count, 3)), 10, 240)
    glow = np.where(rng.random(count) < town.weather.lamps, rng.uniform(0.5, 0.9, count), 0.0)
    panes[glow > 0] = (252, 218, 150)
    glass = panels(face, us, vs, panes, _HOUSE, 3, glow)
    if not fine:
        return glass
    edge = np.array([-0.12, 0.12]) / length
    rim = np.array([-0.16, 0.1]) / height
    frames = panels(face, us + edge, vs + rim, town.frame, _HOUSE, 2)
    middle = us.mean(1, keepdims=True) + np.array([-0.035, 0.035]) / length
    return join(frames, glass, panels(face, middle, vs, town.frame, _HOUSE, 4))


def _shop(face: Array, town: Town, rng: np.random.Generator, height: float) -> Mesh:
    """Shop windows, a door and an awning on the ground floor."""
    length = float(np.linalg.norm(face[1] - face[0]))
    us = _spans(length, 2.2, 0.5)
    tone = np.clip(rng.uniform(40, 210) + rng.uniform(-60, 60, 3), 20, 235)
    panes = np.array((84, 94, 102)) * rng.uniform(0.6, 1.3, (len(us), 1))
    glass = panels(face, us, np.array([0.5, 2.4]) / height, panes, _HOUSE, 3)
    board = panels(face, (0.02, 0.98), np.array([2.65, 3.05]) / height, tone, _HOUSE, 3)
    p, q = face[0], face[1]
    out = np.array([-1.0, 0, 0], np.float32)
    awning = []
    for i, (u0, u1) in enumerate(us):
        a, b = p + (q - p) * u0 + [0, 2.62, 0], p + (q - p) * u1 + [0, 2.62, 0]
        colour = tone if i % 2 == 0 else np.clip(tone + 60, 0, 245)
        awning.append(surface([a + out - [0, 0.5, 0], b + out - [0, 0.5, 0], b, a], colour, _HOUSE, 4))
    return join(glass, board, *awning) if rng.random() < 0.7 else join(glass, board)


def _entrance(face: Array, town: Town, rng: np.random.Generator, height: float) -> Mesh:
    length = float(np.linalg.norm(face[1] - face[0]))
    at = rng.uniform(0.2, 0.8)
    colour = np.clip(np.array((110, 74, 52)) + rng.uniform(-50, 60, 3), 20, 200)
    half = 0.6 / length
    frame = panels(face, (at - half * 1.25, at + half * 1.25), np.array([0, 2.55]) / height, town.frame, _HOUSE, 5)
    return join(frame, panels(face, (at - half, at + half), np.array([0, 2.4]) / height, colour, _HOUSE, 6))


def _roof(town: Town, rng: np.random.Generator, length: float, depth: float, height: float, wall: Array) -> Mesh:
    kind = town.roof[rng.integers(len(town.roof))]
    colour = np.array(town.roofs[rng.integers(len(town.roofs))]) * rng.uniform(0.85, 1.15)
    if kind == "flat":
        rim = box((-0.15, height, -0.1), (depth, height + 0.5, length + 0.1), wall * 0.85, _HOUSE, layer=5)
        if rng.random() < 0.6:
            z = rng.uniform(0.2, 0.6) * length
            return join(box((3, height + 0.4, z), (6, height + 2.2, z + 3), wall * 0.7, _HOUSE, layer=4), rim)
        return rim
    rise = rng.uniform(1.6, 3.0)
    slope = box((-0.4, height, -0.3), (depth + 0.4, height + rise, length + 0.3), colour, _HOUSE, layer=5)
    if kind == "hip":
        body = box((-0.4, height, -0.3), (depth + 0.4, height + rise, length + 0.3), colour, _HOUSE, (0.35, 0.6), 5)
    else:
        gable = slope.quads.copy()
        gable[:, :, 0] = np.where(gable[:, :, 1] > height, depth / 2, gable[:, :, 0])
        body = surface(gable, np.stack([wall, wall, colour, colour, colour]), _HOUSE, 5)
    rows = panels(body.quads[2], (0, 1), [(i / 7, i / 7 + 0.045) for i in range(7)], colour * 0.82, _HOUSE, 6)
    chimney = box(
        (1.5, height, length * 0.3), (2.3, height + rise + 0.9, length * 0.3 + 0.8), wall * 0.8, _HOUSE, layer=4
    )
    x0, x1, z0, z1 = -0.4, depth + 0.4, -0.3, length + 0.3
    eaves = [(x0, height, z1), (x1, height, z1), (x1, height, z0), (x0, height, z0)]
    return join(chimney, surface(eaves, wall * 0.6, _HOUSE), body, rows)


def building(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """A house of the town; `fine` adds window frames, which nobody sees from afar."""
    length, floors = LENGTH, int(rng.integers(town.floors[0], town.floors[1] + 1))
    depth, base = rng.uniform(8, 11), 0.35
    height = base + floors * _STOREY
    wall = np.array(town.facades[rng.integers(len(town.facades))]) * rng.uniform(0.88, 1.1) * rng.uniform(0.95, 1.05, 3)
    body = box((0, 0, 0), (depth, height, length), wall, _HOUSE)
    front, street = body.quads[0], body.quads[2]
    shop = rng.random() < town.shops
    parts = [body]
    for face in (street, front):
        grid = face.copy()
        if shop and face is street:
            parts.append(_shop(face, town, rng, height))
            grid[:2, 1] = _STOREY + base
            rows = floors - 1
        else:
            rows = floors
        if rows:
            low = 0.0 if rows < floors else base
            parts.append(_windows(grid, town, rng, rows, low, fine))
        bands = (base + _STOREY * np.arange(1, floors)) / height
        parts.append(panels(face, (0, 1), (0, base / height), wall * 0.62, _HOUSE, 1))
        if fine and len(bands):
            stripe = np.stack([bands - 0.1 / height, bands + 0.06 / height], -1)
            parts.append(panels(face, (0, 1), stripe, wall * 0.84, _HOUSE, 1))
    if not shop:
        parts.append(_entrance(street, town, rng, height))
    return join(*parts, _roof(town, rng, length, depth, height, wall))


def fence(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """Posts and pales; what is seen between the pales is drawn as a darker pale of the same label."""
    length, label, height = LENGTH, Label.FENCE, rng.uniform(1.25, 1.7)
    colour = np.array(town.fence_colour) * rng.uniform(0.85, 1.1)
    gap = np.array(town.lawn) * 0.55
    body = box((0, 0, 0), (0.08, height, length), gap if town.fence != "board" else colour, label)
    posts = [
        box((-0.05, 0, z - 0.07), (0.12, height + 0.12, z + 0.07), colour * 0.9, label, layer=4)
        for z in np.linspace(0.07, length - 0.07, max(int(length / 2.4), 1) + 1)
    ]
    face = body.quads[2]
    rails = panels(face, (0, 1), ((0.12, 0.22), (0.78, 0.88)), colour * 0.93, label, 2)
    if town.fence == "board":
        seams = panels(face, (0, 1), ((0.3, 0.35), (0.63, 0.68)), colour * 0.6, label, 2)
        return join(body, seams, *posts)
    pitch, width = (0.26, 0.15) if town.fence == "picket" else (0.22, 0.09)
    pitch *= 1 if fine else 2
    count = max(int(length / pitch), 2)
    at = (np.arange(count) + 0.5) / count
    half = (width if fine else 2 * width) / 2 / length
    shades = colour * rng.uniform(0.85, 1.08, (count, 1))
    pales = panels(face, np.stack([at - half, at + half], -1), (0.03, 1.0), shades, label, 3)
    return join(body, rails, pales, *posts)


def wall(town: Town, rng: np.random.Generator, fine: bool) -> Mesh:
    """A garden wall of courses with a coping."""
    length, label, height = LENGTH, Label.WALL, rng.uniform(1.5, 2.4)
    colour = np.array(town.wall) * rng.uniform(0.85, 1.1)
    body = box((0, 0, 0), (0.3, height, length), colour, label)
    coping = box((-0.07, height, -0.05), (0.37, height + 0.14, length + 0.05), colour * 1.12, label, layer=3)
    parts = [body, coping]
    if fine:
        courses = np.arange(1, int(height / 0.3)) * 0.3 / height
        joints = np.stack([courses - 0.02 / height, courses + 0.02 / height], -1)
        for face in (body.quads[2], body.quads[0]):
            parts.append(panels(face, (0, 1), joints, colour * 0.72, label, 1))
        for row, low in enumerate(courses[:-1]):
            at = np.arange(0.4 + 0.3 * (row % 2), length - 0.3, 0.6)
            pick = at[rng.random(len(at)) < 0.3] / length
            if len(pick):
                stones = np.stack([pick, pick + 0.55 / length], -1)
                shade = colour * rng.uniform(0.78, 1.14, (len(pick), 1))
                high = low + 0.27 / height
                parts.append(panels(body.quads[2], stones, (low, high), shade, label, 1))
    return join(*parts)


def skyline(town: Town, rng: np.random.Generator, z: float) -> Mesh:
    """What closes the view: roofs and tree tops in the distance."""
    parts = []
    x = -130.0
    while x < 130:
        width = rng.uniform(8, 16)
        if rng.random() < 0.5:
            height = rng.uniform(*town.floors) * _STOREY + 4
            tone = np.array(town.facades[rng.integers(len(town.facades))]) * 0.9
            block = box((x, -3, z), (x + width, height, z + 8), tone, _HOUSE)
            grid = _spans(width, 1.6, 1.2)
            rows = _spans(height, 1.6, 1.5)
            parts += [block, panels(block.quads[0], grid, rows, tone * 0.65, _HOUSE, 1)]
        else:
            green = np.array(town.leaf[rng.integers(len(town.leaf))]) * rng.uniform(0.85, 1.1)
            parts.append(
                ball((x + width / 2, 1.5, z - 4), (width * 0.6, rng.uniform(4, 8), 4), green, Label.VEGETATION)
            )
        x += width * rng.uniform(0.75, 1.0)
    return join(*parts)
