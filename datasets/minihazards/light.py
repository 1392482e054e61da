"""Light and air of one image: what the weather of a town makes of a colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .towns import Weather


@dataclass(frozen=True)
class Light:
    """One sun, one sky, one fog.

    Attributes:
        sun: unit vector towards the sun.
        direct, ambient: RGB factors.
        zenith, horizon: RGB 0..255 of the sky; fog fades into `horizon`.
        reach: metres at which fog takes 63 % of the contrast.
    """

    sun: NDArray[np.float32]
    direct: NDArray[np.float32]
    ambient: NDArray[np.float32]
    zenith: NDArray[np.float32]
    horizon: NDArray[np.float32]
    reach: float
    wet: float
    clouds: float

    @classmethod
    def draw(cls, weather: Weather, rng: np.random.Generator) -> Light:
        """The weather of the town with the sun somewhere and everything a little different."""
        # More along the street than across it: else the houses would keep all of it in the shade.
        azimuth = rng.choice([0, np.pi]) + rng.uniform(0.06, 0.27) * np.pi * rng.choice([-1, 1])
        elevation = np.radians(weather.elevation * rng.uniform(0.8, 1.25))
        strength = weather.sun * rng.uniform(0.7, 1.15)
        exposure = rng.uniform(0.98, 1.2)
        tint = 1 + rng.uniform(-0.03, 0.03, 3)
        level = np.cos(elevation)
        sun = np.array([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level], np.float32)
        return cls(
            sun=sun,
            direct=(np.array(weather.sun_colour) / 255 * strength * exposure * tint).astype(np.float32),
            ambient=(np.array(weather.ambient) / 255 * exposure * tint).astype(np.float32),
            zenith=np.clip(np.array(weather.zenith) * exposure * tint, 0, 255).astype(np.float32),
            horizon=np.clip(np.array(weather.horizon) * exposure * tint, 0, 255).astype(np.float32),
            reach=weather.fog * rng.uniform(0.75, 1.4),
            wet=weather.wet * rng.uniform(0.5, 1.3),
            clouds=weather.clouds * rng.uniform(0.6, 1.1),
        )

    @property
    def shadow(self) -> float:
        """Share of light that is missing where the sun does not reach, on level ground."""
        sun = float(self.direct.mean() * self.sun[1])
        return sun / (sun + float(self.ambient.mean()))

    def shade(
        self, colours: NDArray[np.float32], normals: NDArray[np.float32], heights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """RGB 0..255 of lit surfaces.

        Args:
            colours: (N, 4) reflectance and emission.
            normals: (N, 3) unit vectors.
            heights: (N,) metres over the ground; close to it the sky is partly hidden.
        """
        sky = 0.8 + 0.2 * normals[:, 1] - 0.18 * (1 - np.abs(normals[:, 1])) * np.exp(-np.maximum(heights, 0) / 0.5)
        facing = np.maximum(normals @ self.sun, 0)
        lit = sky[:, None] * self.ambient + facing[:, None] * self.direct
        glow = colours[:, 3:]
        return colours[:, :3] * (lit * (1 - glow) + glow)

    def fade(self, colours: NDArray[np.float32], depths: NDArray[np.float32]) -> NDArray[np.float32]:
        """Colours seen through the fog over a distance in metres."""
        clear = np.exp(-np.maximum(depths, 0) / np.float32(self.reach))[:, None]
        return colours * clear + self.horizon * (1 - clear)
