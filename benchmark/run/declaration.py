"""What a method says of itself, held against the types that the rest of the suite relies on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from benchmark.errors import PluginError
from benchmark.method import Method
from benchmark.network import NetworkSpec
from benchmark.networks import split_arch
from benchmark.pool import Need
from benchmark.recipe import LightRecipe, Recipe
from benchmark.registry import NETWORKS
from benchmark.released import Release
from benchmark.values import SYNTHETIC

TYPES: Mapping[str, type] = {
    "title": str,
    "paper": str,
    "single_scale": bool,
    "needs_classes": bool,
    "version": int,
    "paper_variants": tuple,
    "score_options": frozenset,
    "elsewhere": Mapping,
    "trial": Mapping,
}
ITEMS: Mapping[str, type] = {"recipes": Recipe, "light": LightRecipe, "released": Release}
"""Mappings from names to values of this type."""


def check_declaration(method: Method) -> Method:
    """The method itself, if its attributes are of the types that :class:`~benchmark.method.Method` gives them.

    Raises:
        PluginError: one is not, or the constructor left out that of the base class.
    """
    if "_modules" not in vars(method):
        raise PluginError(f"The method '{method.name}': __init__() must call super().__init__() first.")
    for name, kind in TYPES.items():
        value = getattr(method, name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise PluginError(f"The method '{method.name}': {name} must be {_a(kind)}, not {_shown(value)}.")
    if not isinstance(method.auxiliary_data, bool) and method.auxiliary_data != SYNTHETIC:
        shown = _shown(method.auxiliary_data)
        raise PluginError(f"The method '{method.name}': auxiliary_data must be true, false or SYNTHETIC, not {shown}.")
    for name, kind in ITEMS.items():
        value = getattr(method, name)
        if not isinstance(value, Mapping):
            raise PluginError(f"The method '{method.name}': {name} must be a mapping, not {_shown(value)}.")
        for key, item in value.items():
            if not isinstance(item, kind):
                raise PluginError(
                    f"The method '{method.name}': {name} must map '{key}' to {_a(kind)}, not to {_shown(item)}."
                )
    return method


def check_needs(method: Method, needs: Any) -> Mapping[str, Need]:
    """What ``needs()`` returned, if it is a mapping from roles to networks that exist.

    Raises:
        PluginError: it is something else, or empty.
    """
    begin = f"The method '{method.name}': needs()"
    if not isinstance(needs, Mapping) or not all(isinstance(need, Need) for need in needs.values()):
        raise PluginError(f"{begin} must return a mapping from roles to Need(network), not {_shown(needs)}.")
    if not needs:
        raise PluginError(f"{begin} names no network; leave it out for the network that all methods share.")
    for role, need in needs.items():
        spec = need.network
        if not isinstance(spec, NetworkSpec):
            raise PluginError(f"{begin} must name the network '{role}' by a NetworkSpec, not {_shown(spec)}.")
        if split_arch(spec.arch)[0] not in NETWORKS.names():
            known = ", ".join(NETWORKS.names())
            raise PluginError(f"{begin} asks for the network '{spec.arch}', which does not exist; there are {known}.")
    return needs


def check_returned(result: Any, what: str) -> None:
    """Refuse the generator or coroutine that a ``yield`` or ``async`` makes of a function: nothing of it has run.

    Raises:
        PluginError: it is one.
    """
    if inspect.isgenerator(result) or inspect.iscoroutine(result) or inspect.isasyncgen(result):
        if not inspect.isasyncgen(result):
            result.close()
        raise PluginError(f"{what} returned a {type(result).__name__}, so that nothing of it ran; leave out the yield.")


def _a(kind: type) -> str:
    words = {str: "text", bool: "true or false", int: "a whole number", Mapping: "a mapping"}
    return words.get(kind, f"a {kind.__name__}")


def _shown(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    return f"a {type(value).__name__}"
