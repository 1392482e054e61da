"""The functions of torch, numpy and the suite itself, which everybody's numbers are made with: who replaces one is
found out."""

from __future__ import annotations

import builtins
import math
import os
import sys
import time
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

LAYERS = (
    *(nn.Sequential, nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Upsample, nn.Dropout, nn.Dropout2d),
    *(nn.ReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Softmax, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MultiheadAttention),
)
"""Those that segmentation networks are made of."""
OWNERS: dict[str, Any] = {
    "torch": torch,
    "torch.nn.functional": torch.nn.functional,
    "torch.Tensor": torch.Tensor,
    "torch.linalg": torch.linalg,
    "torch.nn.Module": nn.Module,
    **{f"torch.nn.{layer.__name__}": layer for layer in LAYERS},
    "numpy": np,
    "builtins": builtins,
    "math": math,
    "time": time,
}
"""What holds them, by name; :func:`note` adds the modules of the suite, its plugins included, and their classes."""
OURS = "benchmark"
CODE = (ModuleType, property, cached_property, classmethod, staticmethod)
"""What is watched beside what can be called."""
_live = {name: vars(owner) for name, owner in OWNERS.items()}  # always what is there now
_held = {name: dict(live) for name, live in _live.items()}
_values = {name: list(held.values()) for name, held in _held.items()}  # without the keys, compared in half the time


def note() -> None:
    """Take what is there now for what must be there; a library may have added to it while it was imported."""
    for name, module in list(sys.modules.items()):
        if module is not None and name.partition(".")[0] == OURS:
            OWNERS.setdefault(name, module)
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name:
                    OWNERS.setdefault(f"{name}.{key}", value)
    for name, owner in OWNERS.items():
        _live[name] = vars(owner)
        if name not in _held or not _as_noted(name):
            _hold(name)


def put_back() -> list[str]:
    """Undo what has changed since :func:`note`, and name the functions that were replaced.

    What is new is none of it, unless it hides a method of a base class.
    """
    found = []
    for name, now in _live.items():
        try:  # as `_as_noted`, of whose many calls half of the time would be spent
            if [*now.values()] == _values[name]:
                continue
        except Exception:
            pass
        before, owner = _held[name], OWNERS[name]
        for key, value in before.items():
            replaced = now.get(key) is not value and (callable(value) or isinstance(value, CODE))
            if replaced and not _its_own(name, key, now.get(key)):
                found.append(f"{name}.{key}")
                setattr(owner, key, value)
        bases = owner.__mro__[1:] if isinstance(owner, type) and not name.startswith("benchmark") else ()
        for key in [key for key in now if key not in before and any(key in vars(base) for base in bases)]:
            found.append(f"{name}.{key}")
            delattr(owner, key)
        _hold(name)
    return found


def _hold(name: str) -> None:
    _held[name] = dict(_live[name])
    _values[name] = list(_held[name].values())


def _its_own(name: str, key: str, value: Any) -> bool:
    """Whether the library has wrapped a function of its own, as parts of torch do when they are imported late.

    The name of a function and of its module can be copied (``functools.wraps``); where it was written counts.
    """
    library = name.partition(".")[0]
    place = getattr(sys.modules[library], "__file__", None)
    if library == OURS or not place:  # the suite wraps none of its own, and Python's have no file
        return False
    home = (getattr(value, "__module__", None) or "").partition(".")[0]
    if home != library or getattr(value, "__name__", "") != key:
        return False
    folder, written = os.path.dirname(place), []
    for _ in range(WRAPPED):
        written.append(value.__code__.co_filename if hasattr(value, "__code__") else None)
        if (value := getattr(value, "__wrapped__", None)) is None:
            break
    # What has no code of Python's, the library has compiled, unless it is somebody's object that was made to look so.
    return any(written) and all(file is None or file.startswith(folder + os.sep) for file in written)


WRAPPED = 8
"""Most functions within each other that are looked at."""


def _as_noted(name: str) -> bool:
    """Lists look at identity first, so that only what was replaced is compared, of which anything may come."""
    try:
        return [*_live[name].values()] == _values[name]
    except Exception:
        return False
