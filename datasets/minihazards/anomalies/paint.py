"""What anomalies are made of: any colours, in one piece, in stripes, or with spots."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np

from ..classes import Label
from ..mesh import Mesh

RGB = tuple[float, float, float]
ODD = Label.ANOMALY


class Paint:
    """Three colours that go together: body, second and trim."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        hue, vivid = rng.random(), rng.choice([0.12, 0.45, 0.75], p=[0.3, 0.4, 0.3])
        self.body = self._tone(hue, vivid * rng.uniform(0.7, 1.2), rng.uniform(0.3, 0.95))
        self.second = self._tone(
            hue + rng.choice([0.08, 0.33, 0.5]), vivid * rng.uniform(0.4, 1.1), rng.uniform(0.3, 0.95)
        )
        self.trim = self._tone(hue, 0.15, rng.choice([0.15, 0.3, 0.85]))
        self.wood: RGB = tuple(np.array((150, 106, 66)) * rng.uniform(0.6, 1.3))
        self.fur: RGB = ((150, 110, 70), (92, 70, 54), (196, 176, 150), (120, 120, 122), (60, 54, 52), (210, 206, 200))[
            rng.integers(6)
        ]
        self.steel: RGB = tuple(np.array((150, 156, 162)) * rng.uniform(0.6, 1.3))
        self.dark: RGB = (42, 42, 46)
        self.glass: RGB = (96, 124, 142)

    @staticmethod
    def _tone(hue: float, saturation: float, value: float) -> RGB:
        r, g, b = colorsys.hsv_to_rgb(hue % 1.0, min(saturation, 0.95), value)
        return 255 * r, 255 * g, 255 * b

    def patterned(self, mesh: Mesh) -> Mesh:
        """The mesh as it is, or with every other band or a few random facets in the second colour."""
        style, count = self._rng.integers(4), len(mesh.quads)
        if style < 2:
            return mesh
        height = mesh.quads[:, :, 1].mean(1)
        low, high = height.min(), height.max()
        bands = np.floor((height - low) / max(high - low, 1e-3) * 5.99).astype(int) % 2 == 1
        other = bands if style == 2 else self._rng.random(count) < 0.25
        colours = mesh.colours.copy()
        colours[other, :3] = self.second
        return replace(mesh, colours=colours)
