"""``list``: what is registered, and what is unavailable and why."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.arguments import verb
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.registry import Registry


def add(verbs) -> None:
    parser = verb(
        verbs,
        "list",
        list_plugins,
        "list methods, datasets and networks, and what is unavailable and why",
        """
list
list methods
list --plugin my_method.py""",
    )
    parser.add_argument("kind", nargs="?", choices=("methods", "datasets", "networks"))
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")


def list_plugins(arguments: argparse.Namespace) -> int:
    """Print what is registered, and what is unavailable and why."""
    from tabulate import tabulate

    from benchmark.registry import DATASETS, METHODS, NETWORKS
    from benchmark.run.options import data_root

    root = data_root(arguments.data)
    tables = {
        "methods": (METHODS, [], None),
        "datasets": (DATASETS, ["dataset", f"under {root}", "images train/val/test", "title"], _dataset(root)),
        "networks": (NETWORKS, ["network", "description"], None),
    }
    for kind, (registry, headers, describe) in tables.items():
        if arguments.kind not in (None, kind):
            continue
        broken = registry.unavailable()
        names = [n for n in registry.names() if n not in broken]
        if kind == "methods":
            print(_methods(registry, names))
        else:
            rows = [row for n in names for row in (_network(n) if describe is None else [describe(registry, n)])]
            print(tabulate(rows, headers=headers, tablefmt="simple"))
        for error in broken.values():
            print(f"unavailable: {error}")
        print()
    return 0


def _methods(registry: Registry, names: Sequence[str]) -> str:
    """A table for each kind of method, with the options that its methods have by default."""
    from tabulate import tabulate

    from benchmark.run.kinds import KINDS

    kinds: dict[str, list[list[str]]] = {kind: [] for kind in KINDS}
    for name in names:
        kind, *row = _method(registry, name)
        kinds[kind].append(row)
    widths = [None, None, 34, 34, 40]
    heads = ["method", "paper", "needs", "cost beside the shared forward", "options"]
    parts = [
        f"{kind}: they {KINDS[kind]}\n\n{tabulate(rows, headers=heads, tablefmt='simple', maxcolwidths=widths)}"
        for kind, rows in kinds.items()
        if rows
    ]
    return "\n\n".join(parts)


def _method(registry: Registry, name: str) -> list[str]:
    """The kind of a method, and the cells of its row."""
    from benchmark.run.kinds import profile

    cls, source = registry.get(name), registry.source(name)
    found = profile(cls())
    options = " ".join(f"{key}={value}" for key, value in cls.defaults().items())
    paper = cls.paper + ("" if source == "built in" else f" ({source})")
    return [found.kind, name, paper, found.needs, found.cost, options]


def _dataset(root: Path):
    def describe(registry: Registry, name: str) -> list[str]:
        cls = registry.get(name)
        try:
            found = "found" if cls.available(root) else "not found"
        except BenchmarkError as error:
            found = str(error)
        from benchmark.data import SPLITS

        sizes = "/".join(str(cls.card.sizes.get(s, "-")) for s in SPLITS) if cls.card.sizes else ""
        return [name, found, sizes, cls.card.title]

    return describe


def _network(family: str) -> list[list[str]]:
    from benchmark.registry import NETWORKS

    build = NETWORKS.get(family)
    variants = getattr(inspect.getmodule(build), "VARIANTS", {})
    if not variants:
        return [[family, (inspect.getdoc(build) or "").partition("\n")[0]]]
    return [[f"{family}-{variant}", text] for variant, text in variants.items()]
