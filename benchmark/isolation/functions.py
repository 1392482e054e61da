"""The functions of torch and numpy, which everybody's numbers are made with: who replaces one is found out."""

from __future__ import annotations

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
"""What holds them, by name."""
_held = {name: dict(vars(owner)) for name, owner in OWNERS.items()}


def note() -> None:
    """Take what is there now for what must be there; a library may have added to it while it was imported."""
    for name, owner in OWNERS.items():
        if not _as_noted(name):
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
        bases = owner.__mro__[1:] if isinstance(owner, type) else ()
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
