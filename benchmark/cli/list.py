"""``list``."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from tabulate import tabulate

from benchmark.data import SPLITS
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS, METHODS, NETWORKS, Registry
from benchmark.run.setup import data_root


def list_plugins(arguments: argparse.Namespace) -> int:
    """Print what is registered, and what is unavailable and why."""
    root = data_root(arguments.data)
    tables = {
        "methods": (METHODS, ["method", "source", "options"], _method),
        "datasets": (DATASETS, ["dataset", f"under {root}", "images train/val/test", "title"], _dataset(root)),
        "networks": (NETWORKS, ["network", "description"], None),
    }
    for kind, (registry, headers, describe) in tables.items():
        if arguments.kind not in (None, kind):
            continue
        broken = registry.unavailable()
        names = [n for n in registry.names() if n not in broken]
        rows = [row for n in names for row in (_network(n) if describe is None else [describe(registry, n)])]
        print(tabulate(rows, headers=headers, tablefmt="simple"))
        for error in broken.values():
            print(f"unavailable: {error}")
        print()
    return 0


def _method(registry: Registry, name: str) -> list[str]:
    cls = registry.get(name)
    options = [f"{p.name}={p.default}" for p in inspect.signature(cls).parameters.values()]
    source = registry.source(name)
    return [name, cls.paper + ("" if source == "built in" else f" ({source})"), " ".join(options)]


def _dataset(root: Path):
    def describe(registry: Registry, name: str) -> list[str]:
        cls = registry.get(name)
        try:
            found = "found" if cls.available(root) else "not found"
        except BenchmarkError as error:
            found = str(error)
        sizes = "/".join(str(cls.sizes.get(s, "-")) for s in SPLITS) if cls.sizes else ""
        return [name, found, sizes, cls.title]

    return describe


def _network(family: str) -> list[list[str]]:
    build = NETWORKS.get(family)
    variants = getattr(inspect.getmodule(build), "VARIANTS", {})
    if not variants:
        return [[family, (inspect.getdoc(build) or "").partition("\n")[0]]]
    return [[f"{family}-{variant}", text] for variant, text in variants.items()]
