"""``export``."""

from __future__ import annotations

import argparse
from functools import partial

from benchmark.registry import DATASETS
from benchmark.run.setup import data_root


def export(arguments: argparse.Namespace) -> int:
    """Write a dataset in the StreetHazards layout."""
    from benchmark.fetch.export import export as write

    call = f"{arguments.dataset}:size={arguments.size}" if arguments.size else arguments.dataset
    root = data_root(arguments.data)
    factory = partial(DATASETS.create, call, root=root)
    write(factory, arguments.directory, limit=arguments.limit or None, quiet=arguments.quiet)
    print(f"Wrote {arguments.directory}; evaluate it with `run --dataset streethazards --data {arguments.directory}`.")
    return 0
