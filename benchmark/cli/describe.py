"""What one plugin is and which options it has, read off its signature and its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from benchmark.values import describe, format_value, stated_types

NETWORK_GIVEN = frozenset({"variant", "classes", "weights_folder"})
"""Keywords of a network's ``build()`` that the harness gives."""


@dataclass(frozen=True)
class Option:
    """A keyword that stands behind a plugin's name, as in ``knn:k=5``.

    Attributes:
        name: the keyword.
        values: what it takes, in words: its type and its range.
        default: as typed; None where it must be given.
        meaning: what the docstring says of it.
    """

    name: str
    values: str
    default: str | None
    meaning: str


def options_of(plugin: Callable[..., Any], given: Collection[str] = ()) -> list[Option]:
    """The options of a plugin in the order of its signature.

    Args:
        plugin: a method's or dataset's class, or a network's ``build()``.
        given: keywords that the harness gives, which are no options.
    """
    parameters = inspect.signature(plugin).parameters
    kinds, meanings = stated_types(plugin), {}
    for place in (inspect.getdoc(plugin), inspect.getdoc(plugin.__init__) if inspect.isclass(plugin) else None):
        meanings = {**arguments(place or ""), **meanings}
    return [
        Option(
            name,
            describe(kinds[name]),
            None if parameter.default is parameter.empty else format_value(parameter.default),
            meanings.get(name, ""),
        )
        for name, parameter in parameters.items()
        if name not in given and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def arguments(docstring: str) -> dict[str, str]:
    """Name -> meaning of what stands under ``Args:`` in a docstring of Google's style, each as one line."""
    found: dict[str, str] = {}
    lines = iter(docstring.splitlines())
    names: list[str] = []  # one line may tell of several
    for line in lines:
        if line.strip() == "Args:":
            break
    for line in lines:
        if line.strip() and not line.startswith(" "):
            break  # the next section
        if entry := re.match(r" {4}(\w+(?:, \w+)*): (.*)", line):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def summary(docstring: str) -> str:
    """A docstring without its sections ``Args:``, ``Raises:`` and the like, and without the marks of references."""
    told = re.split(r"^(?:Args|Raises|Returns|Attributes):$", docstring, maxsplit=1, flags=re.M)[0].strip()
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", told)
