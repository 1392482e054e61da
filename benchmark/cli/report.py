"""``report``: a results folder as one web page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmark.cli.arguments import existing, verb


def add(verbs) -> None:
    parser = verb(
        verbs,
        "report",
        report,
        "write one web page of a results folder: boards, rank stability, curves, costs, images, records",
        """
report
report --results runs
report --to board.html""",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder with records/: results, or runs for this machine's own (default: %(default)s)",
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="the page (default: report.html in that folder)")


def report(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from benchmark.report.page import write

    print(f"Report: {write(existing(arguments.results), arguments.to)}")
    return 0


def after_run(out: Path) -> None:
    """Write the page of a run folder where the package for its charts is installed; what fails is a sentence."""
    from benchmark.errors import BenchmarkError
    from benchmark.report.page import available, write

    if not available() or not (out / "records").is_dir():
        return
    try:
        print(f"Report: {write(out)}")
    except BenchmarkError as error:
        print(f"No report: {error}", file=sys.stderr)
