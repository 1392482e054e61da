"""The functions of torch, numpy and the suite itself, which everybody's numbers are made with: who replaces one is
found out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import nn

OWNERS: dict[str, Any] = {
    "torch": torch,
    "torch.nn.functional": torch.nn.functional,
    "torch.Tensor": torch.Tensor,
    "torch.nn.Module": nn.Module,
    "numpy": np,
}
"""What holds them, by name; :func:`note` adds the modules of the suite that make numbers, and their classes."""
OURS = ("benchmark.metrics", "benchmark.network", "benchmark.pool", "benchmark.run")
_held = {name: dict(vars(owner)) for name, owner in OWNERS.items()}


def note() -> None:
    """Take what is there now for what must be there; a library may have added to it while it was imported."""
    for name, module in list(sys.modules.items()):
        if module is not None and any(name == ours or name.startswith(f"{ours}.") for ours in OURS):
            OWNERS.setdefault(name, module)
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name:
                    OWNERS.setdefault(f"{name}.{key}", value)
    for name, owner in OWNERS.items():
        if name not in _held or not _as_noted(name):
            _held[name] = dict(vars(owner))


def put_back() -> list[str]:
    """Undo what has changed since :func:`note`, and name the functions that were replaced.

    What is new is none of it, unless it hides a method of a base class.
    """
    found = []
    for name, owner in OWNERS.items():
        if _as_noted(name):
            continue
        now, before = vars(owner), _held[name]
        for key, value in before.items():
            if callable(value) and now.get(key) is not value and not _its_own(name, key, now.get(key)):
                found.append(f"{name}.{key}")
                setattr(owner, key, value)
        bases = owner.__mro__[1:] if isinstance(owner, type) and not name.startswith("benchmark") else ()
        for key in [key for key in now if key not in before and any(key in vars(base) for base in bases)]:
            found.append(f"{name}.{key}")
            delattr(owner, key)
        _held[name] = dict(vars(owner))
    return found


def _its_own(name: str, key: str, value: Any) -> bool:
    """Whether the library has wrapped a function of its own, as parts of torch do when they are imported late."""
    home = (getattr(value, "__module__", None) or "").partition(".")[0]
    return home == name.partition(".")[0] and getattr(value, "__name__", "") == key


def _as_noted(name: str) -> bool:
    """Dictionaries look at identity first, so that only what was replaced is compared, of which anything may come."""
    try:
        return bool(vars(OWNERS[name]) == _held[name])
    except Exception:
        return False
