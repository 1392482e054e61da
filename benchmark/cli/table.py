"""``table``: the leaderboards from what was published and what was measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmark.cli.arguments import existing, verb
from benchmark.errors import BenchmarkError


def add(verbs) -> None:
    parser = verb(
        verbs,
        "table",
        table,
        "regenerate the leaderboards from published and measured results",
        """
table
table --check
table --results runs --no-readme""",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder with records/, and published/ unless it is the one that comes along (default: %(default)s)",
    )
    parser.add_argument(
        "--readme",
        type=Path,
        default=Path("README.md"),
        metavar="FILE",
        help="file with the leaderboard block (default: %(default)s)",
    )
    parser.add_argument("--no-readme", action="store_true", help="leave the README alone")
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail where a table is stale or a record differs from its rows",
    )
    parser.add_argument(
        "--adopt", type=Path, metavar="DIR", help="first copy the complete records of a run folder into the results"
    )


def table(arguments: argparse.Namespace) -> int:
    """Regenerate the leaderboards, or check that they are what the records say."""
    from benchmark.leaderboard import generate

    readme = None if arguments.no_readme else arguments.readme
    if arguments.adopt and not arguments.check:
        _adopt(arguments)
    existing(arguments.results)
    if arguments.check:
        return _check(arguments.results, readme)
    for path in generate.write(arguments.results, readme):
        print(path)
    return 0


def _check(results: Path, readme: Path | None) -> int:
    """Compare records with their rows and tables with the records; 1 where anything differs."""
    from benchmark.leaderboard import generate
    from benchmark.records.audit import audit

    wrong, stale = audit(results), generate.check(results, readme)
    for problem in wrong:
        print(f"wrong: {problem}", file=sys.stderr)
    for problem in stale:
        print(f"stale: {problem}", file=sys.stderr)
    if stale:
        print("Run `python -m benchmark table` and commit what it changes.", file=sys.stderr)
    if wrong or stale:
        return 1
    print("Every record is what its rows say, and every table what the records say.")
    return 0


def _adopt(arguments: argparse.Namespace) -> None:
    """Copy the complete records of a run folder, with rows and curves, into the results."""
    import shutil

    from benchmark.records.record import read_all

    records, problems = read_all(arguments.adopt)
    if problems:
        raise BenchmarkError(problems[0])
    whole = [r for r in records if r.dataset.whole]
    if not whole:
        raise BenchmarkError(f"{arguments.adopt} holds no complete record; `python -m benchmark run` makes some.")
    for record in whole:
        source, target = record.path(arguments.adopt), record.path(arguments.results)
        target.parent.mkdir(parents=True, exist_ok=True)
        for name in filter(None, (source.name, record.rows, record.curves)):
            shutil.copyfile(source.parent / name, target.parent / name)
        print(f"adopted {target}")
