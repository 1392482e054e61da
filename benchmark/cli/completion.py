"""Completion in a shell, by argcomplete: verbs, options, and the names of methods, datasets, networks and protocols."""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how a line may go on, and end the process; do nothing for any other start.

    ``eval "$(register-python-argcomplete anomaly-benchmark)"`` makes a shell ask. Nothing heavy is imported.
    """
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:  # the shell asks by an argcomplete that is installed elsewhere
        sys.exit("Completion needs the package argcomplete here, too: pip install argcomplete.")
    for action in _actions(parser):
        if names := _names_of(action):
            action.completer = names  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)


def _names_of(action: argparse.Action) -> Callable[..., list[str]] | None:
    """What completes an option, by its name or by how its value is called in ``--help``."""
    by_place = {
        "methods": methods,
        "dataset": datasets,
        "network": networks,
        "protocols": protocols,
        "protocol": protocols,
        "normal": datasets,
    }
    names = by_place.get(action.dest) or {"DATASET": datasets, "PLUGIN": plugins}.get(str(action.metavar))
    if names is None:
        return None
    several = "," in str(action.metavar or "")

    def completer(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
        return matching(prefix, names(), several)

    return completer


def matching(prefix: str, names: Iterable[str], several: bool) -> list[str]:
    """The names that go on what was typed; of several separated by commas, the last one, without those before it."""
    before, comma, last = prefix.rpartition(",") if several else ("", "", prefix)
    done = set(before.split(","))
    return [f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in done]


def methods() -> list[str]:
    """Names of all registered methods."""
    from benchmark.registry import METHODS

    return ["all", *METHODS.names()]


def datasets() -> list[str]:
    """Names of all registered datasets."""
    from benchmark.registry import DATASETS

    return DATASETS.names()


def plugins() -> list[str]:
    """Names of everything registered."""
    return [*methods()[1:], *datasets(), *networks()]


def protocols() -> list[str]:
    """Names of all protocols."""
    from benchmark.metrics import PROTOCOLS

    return list(PROTOCOLS)


def networks() -> list[str]:
    """Names of all networks: families, and variants where a family names them."""
    from benchmark.registry import NETWORKS

    found = []
    for family in NETWORKS.names():
        module = find_spec(f"{NETWORKS.package}.{family.replace('-', '_')}")
        variants = _variants(Path(module.origin)) if module and module.origin else []
        found += [f"{family}-{variant}" if variant else family for variant in variants or [""]]
    return found


def _variants(file: Path) -> Sequence[str]:
    """The keys of VARIANTS, read off the source: importing the networks takes seconds."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VARIANTS":
            return [key for key in ast.literal_eval(node.value) if not key.isupper()]
    return []
