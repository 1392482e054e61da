"""``export``: a data set in the StreetHazards layout."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.arguments import verb


def add(verbs) -> None:
    parser = verb(
        verbs,
        "export",
        export,
        "write a dataset in the StreetHazards layout",
        """
export minihazards data/streethazards
export minihazards data/streethazards --size 1280x720 --limit 24""",
    )
    parser.add_argument("dataset", help="dataset with the 13 StreetHazards classes")
    parser.add_argument("directory", type=Path, help="where to write")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root (default: $ANOMALY_DATA, else ./data)")
    parser.add_argument("--size", metavar="WxH", help="image size, for datasets that are rendered")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N images of every split")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def export(arguments: argparse.Namespace) -> int:
    """Write a dataset in the StreetHazards layout."""
    from functools import partial

    from benchmark.fetch.export import export as write
    from benchmark.registry import DATASETS
    from benchmark.run.options import data_root

    call = f"{arguments.dataset}:size={arguments.size}" if arguments.size else arguments.dataset
    root = data_root(arguments.data)
    factory = partial(DATASETS.create, call, root=root)
    write(factory, arguments.directory, limit=arguments.limit or None, quiet=arguments.quiet)
    print(f"Wrote {arguments.directory}; evaluate it with `run --dataset streethazards --data {arguments.directory}`.")
    return 0
