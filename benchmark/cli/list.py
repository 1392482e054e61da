"""``list``: what is registered, and what is unavailable and why."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.arguments import verb
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.data import Dataset
    from benchmark.registry import Registry


def add(verbs) -> None:
    parser = verb(
        verbs,
        "list",
        list_plugins,
        "list methods, datasets, networks and protocols, and what is unavailable and why",
        """
list
list methods
list protocols
list --plugin my_method.py""",
    )
    parser.add_argument("kind", nargs="?", choices=("methods", "datasets", "networks", "protocols"))
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")


def list_plugins(arguments: argparse.Namespace) -> int:
    """Print what is registered, and what is unavailable and why."""
    from benchmark.registry import DATASETS, METHODS, NETWORKS
    from benchmark.run.options import data_root

    root = data_root(arguments.data)
    tables = {
        "methods": (METHODS, _methods),
        "datasets": (DATASETS, _datasets(root)),
        "networks": (NETWORKS, _networks),
    }
    for kind, (registry, describe) in tables.items():
        if arguments.kind not in (None, kind):
            continue
        broken = registry.unavailable()
        print(describe(registry, [n for n in registry.names() if n not in broken]))
        for error in broken.values():
            print(f"unavailable: {error}")
        print()
    if arguments.kind in (None, "protocols"):
        print(_protocols())
        print()
    return 0


def _methods(registry: Registry, names: Sequence[str]) -> str:
    """A table for each kind of method, with the options that its methods have by default."""
    from benchmark.run.kinds import KINDS

    kinds: dict[str, list[list[str]]] = {kind: [] for kind in KINDS}
    for name in names:
        kind, *row = _method(registry, name)
        kinds[kind].append(row)
    widths = [None, None, 34, 34, 40]
    heads = ["method", "paper", "needs", "cost beside the shared forward", "options"]
    parts = [f"{kind}: they {KINDS[kind]}\n\n{_table(rows, heads, widths)}" for kind, rows in kinds.items() if rows]
    return "\n\n".join(parts)


def _method(registry: Registry, name: str) -> list[str]:
    """The kind of a method, and the cells of its row."""
    from benchmark.run.kinds import profile

    cls, source = registry.get(name), registry.source(name)
    found = profile(cls())
    options = " ".join(f"{key}={value}" for key, value in cls.defaults().items())
    paper = cls.paper + ("" if source == "built in" else f" ({source})")
    return [found.kind, name, paper, found.needs, found.cost, options]


def _datasets(root: Path) -> Callable[[Registry, Sequence[str]], str]:
    def describe(registry: Registry, names: Sequence[str]) -> str:
        heads = ["dataset", f"under {root}", "images train/val/test", "title"]
        return _table([_dataset(registry.get(name), name, root) for name in names], heads)

    return describe


def _dataset(cls: type[Dataset], name: str, root: Path) -> list[str]:
    from benchmark.data import SPLITS

    try:
        found = "found" if cls.available(root) else "not found"
    except BenchmarkError as error:
        found = str(error)
    sizes = "/".join(str(cls.card.sizes.get(s, "-")) for s in SPLITS) if cls.card.sizes else ""
    return [name, found, sizes, cls.card.title]


def _networks(registry: Registry, names: Sequence[str]) -> str:
    rows = []
    for family in names:
        build = registry.get(family)
        variants = getattr(inspect.getmodule(build), "VARIANTS", {})
        rows += [[f"{family}-{variant}", text] for variant, text in variants.items()]
        if not variants:
            rows.append([family, (inspect.getdoc(build) or "").partition("\n")[0]])
    return _table(rows, ["network", "description"])


def _protocols() -> str:
    """Every protocol, what it gives, and what it needs beside one pass over scores and labels."""
    from benchmark.metrics import PROTOCOLS

    rows = []
    for name, protocol in PROTOCOLS.items():
        needs = {
            "a second pass": protocol.passes == 2,
            "validation images": protocol.validates,
            "predicted classes": protocol.predictions,
        }
        gives = ", ".join(protocol.headlines.values())
        rows.append(
            [name, f"v{protocol.version}", gives, ", ".join(n for n, has in needs.items() if has), protocol.source]
        )
    return _table(rows, ["protocol", "version", "gives", "needs", "source"])


def _table(rows: Sequence[Sequence[str]], heads: Sequence[str], widths: Sequence[int | None] | None = None) -> str:
    from tabulate import tabulate

    return tabulate(rows, headers=heads, tablefmt="simple", maxcolwidths=widths, disable_numparse=True)
