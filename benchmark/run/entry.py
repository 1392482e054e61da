"""A method on its way through a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.errors import PluginError
from benchmark.method import Method
from benchmark.network import NetworkSpec
from benchmark.pool import Need, Networks
from benchmark.recipe import Recipe
from benchmark.run.declaration import check_declaration
from benchmark.values import format_value


@dataclass
class Entry:
    """A method on its way through a run."""

    method: Method
    base: NetworkSpec  # the shared network as this method tests it
    needs: Mapping[str, Need]
    recipes: Mapping[str, Recipe]
    config: Mapping[str, Any]  # its options as records state them
    fit_key: str  # stem of the file of its fit; empty for a method without fit
    source: Mapping[str, str] = field(default_factory=dict)  # file -> digest of the code that it is made of
    changes: Mapping[str, str] = field(default_factory=dict)  # "task.field" -> value that the command line changes
    normal: str = ""  # label of the normal images to which it is fitted; empty for training images, or without fit
    unasked: bool = False  # only "all" named it
    networks: Networks | None = None
    error: str = ""  # one sentence once it has failed
    mendable: bool = False  # whether the user can mend that (a damaged file), as opposed to the method's author
    left_out: bool = False  # whether it was not asked for and lacks what it needs, so that its error is no failure
    keeps_made: bool = False  # whether `made` is kept, beside what was read back from the file
    made: Method | None = None  # as its fit left it
    memory_mib: float | None = None  # largest of score() on a GPU, shared work excluded

    @property
    def label(self) -> str:
        """The method's name with its options and with what is not usual about its trainings."""
        normal = [f"normal={format_value(self.normal)}"] if self.normal else []
        return ":".join([self.method.label, *(f"{key}={value}" for key, value in self.changes.items()), *normal])

    @property
    def specs(self) -> list[NetworkSpec]:
        """The networks that it runs."""
        return list(dict.fromkeys(need.network for need in self.needs.values()))


def made_anew(method: Method, **changes: Any) -> Method:
    """A method with another spec, which still knows what the user stated."""
    made = check_declaration(method.made(dataclasses.replace(method.spec, **changes)))
    made.stated = method.stated
    return made


def check_saved(fitted: Method, entry: Entry) -> None:
    """What a fit left in a method has come back with its state.

    Numbers, tensors and arrays are looked at, also in submodules. Not looked at are other objects (a cache, a report),
    and names with an underscore in front, under which methods gather what their fit is computed from.

    Args:
        fitted: as the fit left it.
        entry: holds another instance, built and given the state of the first, or the same.
    Raises:
        PluginError: an attribute differs, so that the next run would score otherwise.
    """
    entry.made = fitted if entry.keeps_made else None
    others, lost = dict(entry.method.named_modules()), []
    for prefix, module in fitted.named_modules():
        own = {key: value for key, value in vars(module).items() if key[0] != "_" and key not in _OF_MODULES}
        its = vars(others.get(prefix, module))
        lost += [f"{prefix}{prefix and '.'}{key}" for key, value in own.items() if not _alike(value, its.get(key))]
    if lost:
        raise PluginError(
            f"fit() leaves {', '.join(lost)} in attributes, which are not saved with it, so that the next run would "
            f"score without; keep what scores depend on in buffers or parameters (register_buffer)."
        )


_OF_MODULES = frozenset(vars(nn.Module()))


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, _NUMBERS) or (isinstance(one, (Tensor, np.ndarray)) and _array(one).dtype.kind in "biufc"):
        if not isinstance(other, (*_NUMBERS, Tensor, np.ndarray)):
            return False
        mine, its = _array(one), _array(other)
        return mine.shape == its.shape and bool(((mine == its) | ((mine != mine) & (its != its))).all())
    if isinstance(one, (list, tuple)) and one:
        return type(one) is type(other) and len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict) and one:
        return (
            type(one) is type(other) and one.keys() == other.keys() and all(_alike(v, other[k]) for k, v in one.items())
        )
    return True


_NUMBERS = (int, float, complex, np.number)


def _array(value: Any) -> np.ndarray:
    """Numbers as numpy compares them, which has no bfloat16."""
    if isinstance(value, Tensor):
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy(force=True)
    return np.asarray(value)
