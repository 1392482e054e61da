"""``export``: a dataset, laid out as the files of another one."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.arguments import COUNT, data_folder, image_size, verb
from benchmark.errors import BenchmarkError


def add(verbs) -> None:
    parser = verb(
        verbs,
        "export",
        export,
        "write a dataset as the files of another one are laid out",
        """
export minihazards data/streethazards
export minihazards data/streethazards --as streethazards
export minihazards data/streethazards --size 1280x720 --limit 24""",
    )
    parser.add_argument("dataset", metavar="DATASET", help="dataset to write, with options as name:key=value")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write")
    parser.add_argument(
        "--as", dest="like", metavar="NAME", help="dataset whose layout is taken (default: the one that DATASET names)"
    )
    data_folder(parser)
    parser.add_argument("--size", type=image_size, metavar="WxH", help="image size, for datasets that are rendered")
    parser.add_argument(
        "--limit", type=COUNT, default=0, metavar="N", help="only the first N images of every split (default: all)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def export(arguments: argparse.Namespace) -> int:
    """Write a dataset as the files of another one are laid out."""
    from functools import partial

    from benchmark.fetch.export import export as write
    from benchmark.registry import DATASETS
    from benchmark.run.options import data_root
    from benchmark.values import parse_call

    size = arguments.size and "{1}x{0}".format(*arguments.size)
    call = f"{arguments.dataset}:size={size}" if size else arguments.dataset
    root = data_root(arguments.data)
    like = arguments.like or DATASETS.get(parse_call(call)[0]).policy.exported_as
    if not like:
        known = " or ".join(name for name in DATASETS.available() if DATASETS.get(name).card.layout)
        raise BenchmarkError(f"{arguments.dataset} does not say whose layout it takes; name one by --as {known}.")
    factory = partial(DATASETS.create, call, root=root)
    write(factory, DATASETS.get(like), arguments.directory, limit=arguments.limit or None, quiet=arguments.quiet)
    print(f"Wrote {arguments.directory}; evaluate it with `run --dataset {like} --data {arguments.directory}`.")
    return 0
