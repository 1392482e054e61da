"""Models that are built once and then stand in many images, each time turned, stretched and tinted anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache

import numpy as np

from .mesh import Mesh
from .towns import Town

Builder = Callable[[Town, np.random.Generator, bool], Mesh]
"""Builds one model of a kind: in the style of a town, from a random source, with or without fine detail."""

VARIANTS = 10
"""Different models per kind and town."""


@cache
def model(build: Builder, town: Town, variant: int, fine: bool = True, mirrored: bool = False) -> Mesh:
    """The variant of a kind; far away (not `fine`) it is the same thing with less detail."""
    if mirrored:
        return model(build, town, variant, fine).mirrored()
    # The key decides pixels, so it holds this package's name as it was when they were first rendered, wherever it lies.
    module = build.__module__.removeprefix(f"{__package__}.")
    key = f"datasets.minihazards.{module}.{build.__name__}/{town.name}/{variant}"
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    return build(town, np.random.default_rng(seed), fine)
