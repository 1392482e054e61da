"""Where things stand: a street of blocks, each with a lot to the left and a lot to the right."""

from __future__ import annotations

from bisect import bisect

import numpy as np

from . import buildings, cars, furniture, people, plants
from .catalogue import VARIANTS, Builder, model
from .ground import END, KERB, LANE, Profile
from .mesh import Mesh
from .placing import Placed
from .towns import Town

FINE = 24.0
"""Metres up to which details are drawn."""


class Street:
    """Collects objects in the painter's order: blocks from far to near, in a block from the houses to the road.

    Blocks are separated by planes across the street, and within a block whatever is further from the middle of the
    road can only be hidden, never hide: seen from the road this order is right without a depth buffer.
    """

    def __init__(self, profile: Profile, town: Town, rng: np.random.Generator) -> None:
        self.profile, self.town = profile, town
        self.objects: list[Placed] = []
        self._rng = rng
        bounds = [-8.0, rng.uniform(4, 10)]
        while bounds[-1] < END - 12:
            bounds.append(bounds[-1] + rng.uniform(10, 17))
        if profile.gap is not None:
            low, high = profile.gap
            bounds = [b for b in bounds if b < low - 6] + [low, high] + [b for b in bounds if b > high + 6]
        self.bounds = bounds

    def stand(
        self,
        mesh: Mesh,
        x: float,
        z: float,
        yaw: float = 0.0,
        scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
        layer: int | None = None,
        y: float | None = None,
        tint: float = 0.0,
    ) -> None:
        """Put a model at x, z (metres in the straight street), on the ground unless y says otherwise.

        Args:
            layer: place in the order from the road (0) outwards, unless x tells it.
            tint: how far each of red, green and blue may vary, as a share.
        """
        profile = self.profile
        height = (KERB if abs(x) > profile.half else 0.0) if y is None else y
        if layer is None:
            edge = profile.half + profile.walk
            layer = bisect([profile.half - profile.parking, profile.half, edge - 1.2, edge, edge + 1], abs(x))
        block = bisect(self.bounds, z)
        grey, *hue = (2 * tint * self._rng.random(4) - tint).tolist()
        red, green, blue = ((1 + grey) * (1 + shift / 3) for shift in hue)
        position = (float(x), height, float(z))
        self.objects.append(Placed(mesh, (block, layer, z), position, yaw, scale, (red, green, blue)))

    def add(
        self,
        build: Builder,
        x: float,
        z: float,
        yaw: float = 0.0,
        size: float = 1.0,
        length: float | None = None,
        layer: int | None = None,
        one_sided: bool = True,
        tint: float = 0.08,
    ) -> None:
        """X"""
        mirrored = one_sided and x < 0
        mesh = model(build, self.town, int(self._rng.integers(VARIANTS)), z < FINE, mirrored)
        scale = (size, size, size if length is None else length / buildings.LENGTH)
        self.stand(mesh, x, z, yaw, scale, layer, tint=tint)

    def furnish(self) -> None:
        """Everything that belongs to a street."""
        self.add(buildings.skyline, 0, END - 6, layer=9, one_sided=False)
        self._lots()
        for side in (-1, 1):
            self._kerbside(side)
        self._traffic()
        self._people()

    def _lots(self) -> None:
        rng, edge = self._rng, self.profile.half + self.profile.walk
        # Fences and walls are dealt in turn, so that neither is missing for long.
        turn = int(rng.integers(2))
        for low, high in zip(self.bounds, self.bounds[1:]):
            if self.profile.gap is not None and low == self.profile.gap[0]:
                continue
            for side in (-1, 1):
                length = float(high - low)
                garden, park = rng.random() < self.town.gardens, rng.random() < 0.2
                depth = rng.uniform(3.5, 6.0) if garden else 0.25
                if garden or park:
                    build = (buildings.fence, buildings.wall)[turn % 2]
                    turn += 1
                    self.add(build, side * (edge + 0.15), low, length=length - 0.2, layer=5)
                    if low < 75:
                        self._plants(side, edge, low, high, 14.0 if park else depth)
                if not park:
                    length -= rng.choice([0.0, 0.0, 2.0, 3.5])
                    self.add(buildings.building, side * (edge + depth), low, length=length, layer=7, tint=0.12)

    def _plants(self, side: int, edge: float, low: float, high: float, depth: float) -> None:
        rng = self._rng
        for _ in range(int(rng.integers(1, 3)) if depth < 8 else int(rng.integers(2, 5))):
            x, z = edge + rng.uniform(1.6, max(depth - 0.8, 2.0)), rng.uniform(max(low, 2) + 1, high - 1)
            size = min(0.75 + 0.03 * depth, 1.2) * rng.uniform(0.8, 1.25)
            self.add(plants.tree, side * x, z, rng.uniform(0, 6.28), size, layer=6, tint=0.15)
        for _ in range(int(rng.integers(1, 3))):
            x, z = edge + rng.uniform(0.9, 1.6), rng.uniform(max(low, 2), high)
            self.add(plants.bush, side * x, z, rng.uniform(0, 6.28), rng.uniform(0.8, 1.5), layer=6, tint=0.15)

    def _free(self, z: float) -> bool:
        """Whether there is a sidewalk at a distance, and no crossing."""
        gap = self.profile.gap
        return gap is None or not gap[0] - 4.5 < z < gap[1] + 4.5

    def _kerbside(self, side: int) -> None:
        """Lamps, signs, street trees along the kerb; benches, bins and the like along the houses."""
        rng, half, walk = self._rng, self.profile.half, self.profile.walk
        kerb, back = side * (half + 0.45), side * (half + walk - 0.6)
        kinds: list[Builder] = [furniture.lamp_post, furniture.traffic_sign, plants.tree, furniture.traffic_sign]
        z, deck = rng.uniform(5.5, 11), []
        while z < 60:
            if self._free(z):
                deck = deck or [kinds[i] for i in rng.permutation(len(kinds))]
                build = deck.pop()
                size = rng.uniform(0.65, 1.0) if build is plants.tree else 1.0
                turned = 0.0 if build is furniture.lamp_post else rng.uniform(-0.25, 0.25)
                self.add(build, kerb, z, turned, size, one_sided=build is furniture.lamp_post)
            z += rng.uniform(3.5, 6.5) * (1 + z / 60)
        if self.profile.gap is not None and side > 0:
            self.add(furniture.traffic_light, kerb, self.profile.gap[0] - 0.6)
        z = rng.uniform(6, 10)
        while z < 60:
            if self._free(z):
                build = furniture.OTHERS[rng.integers(len(furniture.OTHERS))]
                self.add(build, back, z, rng.uniform(-0.08, 0.08), rng.uniform(0.95, 1.15))
            z += rng.uniform(4, 8) * (1 + z / 60)

    def _traffic(self) -> None:
        rng, street = self._rng, self.profile
        if street.parking:
            for side in (-1, 1):
                z = rng.uniform(5, 12)
                while z < 60:
                    if self._free(z) and rng.random() < 0.62:
                        yaw = (0.0 if side > 0 or rng.random() < 0.3 else np.pi) + rng.uniform(-0.03, 0.03)
                        self.add(cars.car, side * (street.half - 1.05), z, yaw, one_sided=False)
                    z += 6.0
        for lane in range(-street.lanes, street.lanes):
            x = (lane + 0.5) * LANE
            z = rng.uniform(9, 40) if x > 0 else rng.uniform(8, 30)
            while z < 80:
                if self._free(z):
                    self.add(cars.car, x + rng.uniform(-0.3, 0.3), z, 0.0 if x > 0 else np.pi, one_sided=False)
                z += rng.uniform(12, 40)
        if street.gap is not None and rng.random() < 0.6:
            turn = rng.choice([-1, 1])
            x = rng.uniform(-street.half + 2, street.half - 2)
            z = street.gap[0] + street.side * (0.28 if turn > 0 else 0.72)
            self.add(cars.car, x, z, turn * np.pi / 2, one_sided=False)

    def _people(self) -> None:
        rng, street = self._rng, self.profile
        for _ in range(int(rng.integers(6, 13))):
            z = 6 + 45 * rng.random() ** 1.5
            x = rng.choice([-1, 1]) * (street.half + rng.uniform(0.8, street.walk - 0.3))
            self.add(people.pedestrian, x, z, rng.choice([0, np.pi]) + rng.uniform(-0.5, 0.5), one_sided=False)
        if street.gap is not None and street.gap[0] > 10:
            for _ in range(int(rng.integers(0, 3))):
                x, z = rng.uniform(-street.half, street.half), street.gap[0] - rng.uniform(1.6, 3.8)
                self.add(people.pedestrian, x, z, rng.choice([-1, 1]) * np.pi / 2, one_sided=False)
