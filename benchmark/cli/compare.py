"""``compare``: whether one measured method is better than another."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.cli.arguments import existing, machine_readable, results_folder, verb
from benchmark.cli.output import line_width
from benchmark.errors import BenchmarkError


def add(verbs) -> None:
    parser = verb(
        verbs,
        "compare",
        compare,
        "say whether one measured method is better than another, image by image or by ranks over datasets",
        """
compare dicnet msp
compare "kNN (k=5)" Max-logit --dataset camvid-ood
compare --dataset minihazards
compare msp energy max_logit knn --dataset camvid-ood --network pspnet-small
compare dicnet msp --results runs
compare dicnet@pspnet-small Mine@elsewhere --results runs
compare --ranks
compare --ranks MSP Energy Max-logit GEN --metric fpr95
compare --ranks --dataset road-anomaly,road-anomaly-21,road-obstacle-21 --figure ranks.pdf""",
    )
    parser.add_argument(
        "methods",
        nargs="*",
        metavar="METHOD",
        help="two methods by label or by their names in the tables, METHOD@NETWORK where their networks differ; more "
        "for a matrix of these by AUPR, none for one of all; with --ranks none for all that were measured everywhere",
    )
    parser.add_argument(
        "--dataset", default="", metavar="A,B", help="datasets (default: every one measured, one after the other)"
    )
    parser.add_argument(
        "--network", default="", metavar="LABEL", help="network as in the tables (default: every one measured)"
    )
    results_folder(parser)
    ranks = parser.add_argument_group("over several datasets and networks at once")
    ranks.add_argument(
        "--ranks",
        action="store_true",
        help="average ranks of the methods with intervals over images, Friedman's test, Nemenyi's critical difference",
    )
    ranks.add_argument(
        "--metric", choices=("aupr", "fpr95", "auroc"), help="with --ranks: per-image metric (default: aupr)"
    )
    ranks.add_argument(
        "--figure",
        type=Path,
        metavar="FILE",
        help="with --ranks: draw the critical-difference diagram, as .pdf, .svg or .png",
    )
    machine_readable(parser)


def compare(arguments: argparse.Namespace) -> int:
    """Print a pair of methods, or a matrix of several, for every dataset; or the ranks over all of them."""
    from benchmark.leaderboard.compare import comparisons

    if arguments.ranks:
        return _ranks(arguments)
    if arguments.metric or arguments.figure:
        raise BenchmarkError("--metric and --figure are of --ranks; add it, or leave them out.")
    results = existing(arguments.results)
    found = comparisons(results, arguments.methods, arguments.dataset, arguments.network, line_width())
    print("\n\n\n".join(map(str, found)))
    arguments.answer["comparisons"] = [comparison.values for comparison in found]
    return 0


def _ranks(arguments: argparse.Namespace) -> int:
    """Print average ranks over datasets and networks, and draw them where a figure is wanted."""
    from benchmark.leaderboard.ranks import ranks
    from benchmark.pictures import critical_difference_diagram
    from benchmark.pictures.files import picture_kind

    if arguments.figure:
        picture_kind(arguments.figure)
    results = existing(arguments.results)
    found = ranks(results, arguments.methods, arguments.dataset, arguments.network, arguments.metric or "aupr")
    print(found)
    if arguments.figure:
        critical_difference_diagram(found.diagram, arguments.figure)
        print(f"\nFigure: {arguments.figure}")
    arguments.answer["ranks"] = found.values
    return 0
