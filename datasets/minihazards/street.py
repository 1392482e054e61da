"""Where things stand: a street of blocks, each with a lot to the left and a lot to the right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from datasets.minihazards import buildings, cars, furniture, people, plants
from datasets.minihazards.ground import END, KERB, LANE, Profile
from datasets.minihazards.mesh import Mesh
from datasets.minihazards.raster import Placed
from datasets.minihazards.towns import Town

FINE = 45.0
"""Metres up to which details are drawn."""


class Street:
    """Collects objects in the painter's order: blocks from far to near, in a block from the houses to the road.

    Blocks are separated by planes across the street, and within a block whatever is further from the middle of the
    road can only be hidden, never hide: seen from the road this order is right without a depth buffer.
    """

    def __init__(self, profile: Profile, town: Town, lamps: float, rng: np.random.Generator) -> None:
        self.profile, self.town, self.lamps = profile, town, lamps
        self.objects: list[Placed] = []
        self._rng = rng
        bounds = [0.0]
        while bounds[-1] < END - 12:
            bounds.append(bounds[-1] + rng.uniform(10, 17))
        if profile.gap is not None:
            low, high = profile.gap
            bounds = [b for b in bounds if b < low - 6] + [low, high] + [b for b in bounds if b > high + 6]
        self.bounds = np.array([-8.0, *bounds[1:]])

    def add(self, mesh: Mesh, x: float, z: float, depth: int | None = None, **turn: float) -> None:
        """Stand an object on the ground (`y` lifts it); x and z are metres in the straight street."""
        y = turn.pop("y", KERB if abs(x) > self.profile.half else 0.0)
        layer = self._layer(abs(x)) if depth is None else depth
        block = int(np.searchsorted(self.bounds, z, side="right"))
        self.objects.append(Placed(mesh.at(x, y, z, **turn), (block, layer, z)))

    def _layer(self, x: float) -> int:
        half, walk = self.profile.half, self.profile.walk
        return int(np.searchsorted([half - self.profile.parking, half, half + walk / 2, half + walk, half + walk + 1], x))

    def furnish(self) -> None:
        """Everything that belongs to a street."""
        self._lots()
        for side in (-1, 1):
            self._kerbside(side)
        self._traffic()
        self._people()
        self.add(buildings.skyline(self.town, self._rng, 0.0), 0, END - 6, depth=9, y=0.0)

    def _lots(self) -> None:
        rng, edge = self._rng, self.profile.half + self.profile.walk
        gap = self.profile.gap
        # Fences and walls are dealt from a deck, so that neither is missing for long.
        deck = {side: list(rng.permutation(["fence", "wall"] if side < 0 else ["wall", "fence"])) * 6 for side in (-1, 1)}
        for low, high in zip(self.bounds, self.bounds[1:]):
            if gap is not None and low == gap[0]:
                continue
            for side in (-1, 1):
                length, fine = float(high - low), low < FINE
                garden = rng.random() < self.town.gardens
                park = rng.random() < 0.22
                depth = rng.uniform(3.5, 6.0) if garden else 0.25
                if garden or park:
                    build = {"fence": buildings.fence, "wall": buildings.wall}[deck[side].pop()]
                    self._lot(build(self.town, rng, length - 0.2, fine), side, edge + 0.15, low, 5)
                    self._plants(side, edge, low, high, 14.0 if park else depth)
                if not park:
                    length -= rng.choice([0.0, 0.0, 2.0, 3.5])
                    house = buildings.building(self.town, rng, length, self.lamps, fine)
                    self._lot(house, side, edge + depth, low, 7)

    def _lot(self, mesh: Mesh, side: int, x: float, z: float, depth: int) -> None:
        self.add(mesh if side > 0 else mesh.mirrored(), side * x, z, depth)

    def _plants(self, side: int, edge: float, low: float, high: float, depth: float) -> None:
        rng = self._rng
        for _ in range(int(rng.integers(1, 3)) if depth < 8 else int(rng.integers(3, 6))):
            x, z = edge + rng.uniform(1.6, max(depth - 0.8, 2.0)), rng.uniform(max(low, 2) + 1, high - 1)
            self.add(plants.tree(self.town, rng, min(0.75 + 0.03 * depth, 1.2)), side * x, z, 6)
        for _ in range(int(rng.integers(1, 4))):
            x, z = edge + rng.uniform(0.9, 1.6), rng.uniform(max(low, 2), high)
            self.add(plants.plant("bush", self.town, rng, rng.uniform(0.8, 1.5)), side * x, z, 6)

    def _free(self, z: float) -> bool:
        """Whether there is a sidewalk at a distance, and no crossing."""
        gap = self.profile.gap
        return gap is None or not gap[0] - 4.5 < z < gap[1] + 4.5

    def _kerbside(self, side: int) -> None:
        """Lamps, signs, street trees along the kerb; benches, bins and the like along the houses."""
        rng, half, walk = self._rng, self.profile.half, self.profile.walk
        kerb, back = side * (half + 0.45), side * (half + walk - 0.6)
        z = rng.uniform(5.5, 11)
        deck: list[Callable[[], Mesh]] = []
        while z < 75:
            if not deck:
                deck = [self._lamp, self._sign, self._tree, self._sign]
                deck = [deck[i] for i in rng.permutation(4)]
            if self._free(z):
                make = deck.pop()
                mesh = make()
                x = kerb
                lamp = make == self._lamp
                self.add(mesh.mirrored() if side < 0 and lamp else mesh, x, z, yaw=0.0 if lamp else rng.uniform(-0.25, 0.25))
            z += rng.uniform(3.5, 6.5) * (1 + z / 60)
        if self.profile.gap is not None and side > 0:
            self.add(furniture.traffic_light(self.town, rng), kerb, self.profile.gap[0] - 0.6)
        z = rng.uniform(6, 10)
        while z < 60:
            if self._free(z):
                make_other = furniture.OTHERS[rng.integers(len(furniture.OTHERS))]
                mesh = make_other(rng)
                self.add(mesh if side > 0 else mesh.mirrored(), back, z, yaw=rng.uniform(-0.08, 0.08))
            z += rng.uniform(4, 8) * (1 + z / 60)

    def _lamp(self) -> Mesh:
        return furniture.lamp_post(self.town, self._rng)

    def _sign(self) -> Mesh:
        return furniture.traffic_sign(self.town, self._rng)

    def _tree(self) -> Mesh:
        return plants.tree(self.town, self._rng, 0.85)

    def _traffic(self) -> None:
        rng, street = self._rng, self.profile
        if street.parking:
            for side in (-1, 1):
                z = rng.uniform(5, 12)
                while z < 80:
                    if self._free(z) and rng.random() < 0.62:
                        yaw = (0.0 if side > 0 or rng.random() < 0.3 else np.pi) + rng.uniform(-0.03, 0.03)
                        self.add(cars.car(rng), side * (street.half - 1.05), z, yaw=yaw)
                    z += 6.0
        for lane in range(-street.lanes, street.lanes):
            x = (lane + 0.5) * LANE
            z = rng.uniform(9, 40) if x > 0 else rng.uniform(8, 30)
            while z < 90:
                if self._free(z):
                    self.add(cars.car(rng), x + rng.uniform(-0.3, 0.3), z, yaw=0.0 if x > 0 else np.pi)
                z += rng.uniform(12, 40)
        if street.gap is not None and rng.random() < 0.6:
            low, high = street.gap
            turn = rng.choice([-1, 1])
            x = rng.uniform(-street.half + 2, street.half - 2)
            self.add(cars.car(rng), x, low + street.side * (0.28 if turn > 0 else 0.72), yaw=turn * np.pi / 2)

    def _people(self) -> None:
        rng, street = self._rng, self.profile
        for _ in range(int(rng.integers(6, 13))):
            side = rng.choice([-1, 1])
            z = 6 + 45 * rng.random() ** 1.5
            x = side * (street.half + rng.uniform(0.8, street.walk - 0.3))
            self.add(people.pedestrian(rng), x, z, yaw=rng.choice([0, np.pi]) + rng.uniform(-0.5, 0.5))
        if street.gap is not None and street.gap[0] > 10:
            for _ in range(int(rng.integers(0, 3))):
                x, z = rng.uniform(-street.half, street.half), street.gap[0] - rng.uniform(1.6, 3.8)
                self.add(people.pedestrian(rng), x, z, yaw=rng.choice([-1, 1]) * np.pi / 2)
