"""Models that are built once and then stand in many images, each time turned, stretched and tinted anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache

import numpy as np

from datasets.minihazards.mesh import Mesh
from datasets.minihazards.towns import Town

Builder = Callable[[Town, np.random.Generator, bool], Mesh]
"""Builds one model of a kind: in the style of a town, from a random source, with or without fine detail."""

VARIANTS = 10
"""Different models per kind and town."""


@cache
def model(build: Builder, town: Town, variant: int, fine: bool = True, mirrored: bool = False) -> Mesh:
    """The variant of a kind; far away (not `fine`) it is the same thing with less detail."""
    if mirrored:
        return model(build, town, variant, fine).mirrored()
    key = f"{build.__module__}.{build.__name__}/{town.name}/{variant}"
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    return build(town, np.random.default_rng(seed), fine)
