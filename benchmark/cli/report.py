"""``report``: a results folder as one web page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Annotated

from benchmark.cli.arguments import data_folder, existing, machine_readable, number, results_folder, verb
from benchmark.values import Range


def add(verbs) -> None:
    parser = verb(
        verbs,
        "report",
        report,
        "write one web page of a results folder: boards, rank stability, curves, costs, images, records",
        """
report
report --results runs
report --results runs --data ~/data --images 40
report --to board.html""",
    )
    results_folder(parser)
    data_folder(parser)
    parser.add_argument(
        "--images",
        type=number(Annotated[int, Range(0, 200)]),
        default=12,
        metavar="N",
        help="images of a board with heat maps, half of them worst and half best, where `infer` wrote score maps into "
        "the folder and the images are at hand (default: %(default)s)",
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="the page (default: report.html in that folder)")
    machine_readable(parser)


def report(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from benchmark.report.page import write
    from benchmark.run.options import data_root

    found = write(existing(arguments.results), data_root(arguments.data), arguments.to, arguments.images)
    arguments.answer["report"] = str(found)
    print(f"Report: {found}")
    return 0


def after_run(out: Path, data: Path | None) -> None:
    """Write the page of a run folder where the package for its charts is installed; what fails is a sentence."""
    from benchmark.errors import BenchmarkError
    from benchmark.report.page import available, write
    from benchmark.run.options import data_root

    if not available() or not (out / "records").is_dir():
        return
    try:
        print(f"Report: {write(out, data_root(data))}")
    except BenchmarkError as error:
        print(f"No report: {error}", file=sys.stderr)
