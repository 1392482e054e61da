"""``fetch``: a published dataset into the data root."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.arguments import data_folder, verb
from benchmark.cli.output import line_width


def add(verbs) -> None:
    parser = verb(
        verbs,
        "fetch",
        fetch,
        "download a published dataset into the data root, or list what can be downloaded",
        """
fetch
fetch road-anomaly-21
fetch streethazards --data ~/data --keep
fetch streethazards --archive streethazards_train.tar --archive streethazards_test.tar""",
    )
    parser.add_argument("name", nargs="?", metavar="DATASET", help="none for a list with sizes and licences")
    data_folder(parser)
    parser.add_argument(
        "--archive",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="unpack an archive that is already here instead of downloading; may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="download again and replace what an earlier fetch made")
    parser.add_argument("--keep", action="store_true", help="keep the archives in DIR/downloads after unpacking")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def fetch(arguments: argparse.Namespace) -> int:
    """List what can be fetched, or fetch one dataset."""
    from benchmark.fetch.obtain import Wanted, listing, obtain
    from benchmark.run.options import data_root

    root = data_root(arguments.data)
    if not arguments.name:
        print(listing(root, line_width()))
        return 0
    wanted = Wanted(tuple(arguments.archive), arguments.force, arguments.keep, shown=not arguments.quiet)
    return obtain(arguments.name, root, wanted)
