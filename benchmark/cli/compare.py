"""``compare``: whether one measured method is better than another."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.arguments import existing, machine_readable, verb


def add(verbs) -> None:
    parser = verb(
        verbs,
        "compare",
        compare,
        "say whether one measured method is better than another, image by image",
        """
compare dicnet msp
compare "kNN (k=5)" Max-logit --dataset camvid-ood
compare --dataset minihazards
compare dicnet msp --results runs
compare dicnet@pspnet-small Mine@elsewhere --results runs""",
    )
    parser.add_argument(
        "methods",
        nargs="*",
        metavar="METHOD",
        help="two methods by label or by their names in the tables, METHOD@NETWORK where their networks differ; none "
        "for a matrix of all by AUPR",
    )
    parser.add_argument(
        "--dataset", default="", metavar="NAME", help="dataset (default: every one measured, one after the other)"
    )
    parser.add_argument("--network", default="", metavar="LABEL", help="network as in the tables (default: likewise)")
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder with records/: results, or runs for this machine's own (default: %(default)s)",
    )
    machine_readable(parser)


def compare(arguments: argparse.Namespace) -> int:
    """Print a pair of methods, or a matrix of all, for every dataset."""
    from benchmark.leaderboard.compare import comparisons

    found = comparisons(existing(arguments.results), arguments.methods, arguments.dataset, arguments.network)
    print("\n\n\n".join(map(str, found)))
    arguments.answer["comparisons"] = [comparison.values for comparison in found]
    return 0
