"""``export``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS


def export(arguments: argparse.Namespace) -> int:
    """Write a dataset in the StreetHazards layout."""
    from benchmark.export import export as write

    call = arguments.dataset
    if arguments.size:
        width, cross, height = arguments.size.partition("x")
        if not (cross and width.isdigit() and height.isdigit()):
            raise BenchmarkError(f"--size {arguments.size}: write WIDTHxHEIGHT, as in 1280x720.")
        call += f":width={width}:height={height}"
    root = Path(arguments.data or os.environ.get("ANOMALY_DATA") or "data")
    write(
        lambda split: DATASETS.create(call, split=split, root=root),
        arguments.directory,
        limit=arguments.limit or None,
        progress=not arguments.quiet,
    )
    print(f"Wrote {arguments.directory}; evaluate it with `run --dataset streethazards --data {arguments.directory}`.")
    return 0
