"""``table``: the leaderboards from what was published and what was measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmark.cli.arguments import existing, machine_readable, verb
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
table --adopt runs --dry-run
table --adopt runs --methods dicnet,msp
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
        "--adopt",
        type=Path,
        metavar="DIR",
        help="first copy the complete records of a run folder into the results, all or none; says what each replaces",
    )
    parser.add_argument("--methods", metavar="A,B", help="with --adopt: only these, by label")
    parser.add_argument(
        "--dry-run", action="store_true", help="with --adopt: only say what is new and what is replaced"
    )
    machine_readable(parser)


def table(arguments: argparse.Namespace) -> int:
    """Regenerate the leaderboards, or check that they are what the records say."""
    from benchmark.leaderboard import generate
    from benchmark.records.adoption import finish

    readme = None if arguments.no_readme else arguments.readme
    if not arguments.adopt and (arguments.methods or arguments.dry_run):
        raise BenchmarkError("--methods and --dry-run say what --adopt takes; name its run folder.")
    if arguments.adopt and arguments.check:
        raise BenchmarkError("--check changes nothing and --adopt does; leave out one.")
    if not (arguments.check or arguments.dry_run) and finish(arguments.results):
        print("Finished an adoption that was interrupted.")
    if arguments.adopt and not _adopt(arguments, readme):
        return 0
    existing(arguments.results)
    if arguments.check:
        return _check(arguments.results, readme, arguments.answer)
    changed = generate.write(arguments.results, readme)
    for path in changed:
        print(path)
    arguments.answer["changed"] = list(map(str, changed))
    if arguments.json:
        arguments.answer["boards"] = generate.plain(arguments.results)
    return 0


def _check(results: Path, readme: Path | None, answer: dict[str, Any]) -> int:
    """Compare records with their rows and tables with the records; 1 where anything differs."""
    from benchmark.leaderboard import generate
    from benchmark.records.adoption import interrupted
    from benchmark.records.audit import audit, unproved

    wrong, stale = audit(results), generate.check(results, readme)
    stale += [f"{path} is an adoption that was interrupted." for path in interrupted(results)]
    answer.update(wrong=wrong, stale=stale)
    for problem in wrong:
        print(f"wrong: {problem}", file=sys.stderr)
    for problem in stale:
        print(f"stale: {problem}", file=sys.stderr)
    if stale:
        print("Run `python -m benchmark table` and commit what it changes.", file=sys.stderr)
    if wrong or stale:
        return 1
    print("Every record is what its rows and curves say, and every table what the records say.")
    if left := unproved(results):
        named = "; ".join(f"{words} (in {count})" for words, count in left.items())
        print(f"Of the records, nothing that is stored says these again: {named}.")
    return 0


def _adopt(arguments: argparse.Namespace, readme: Path | None) -> bool:
    """Say what is new and what is replaced, and copy it unless only the plan is wanted; whether it was copied."""
    from benchmark.leaderboard import generate
    from benchmark.records.adoption import adopt, candidates
    from benchmark.values import split_outside_quotes

    labels = list(filter(None, split_outside_quotes(arguments.methods or "", ",")))
    chosen = candidates(arguments.adopt, arguments.results, labels)
    if readme is not None:
        generate.readable(readme)
    for each in chosen:
        print(each)
    arguments.answer["adopted"] = list(map(str, chosen))
    if arguments.dry_run:
        return False
    adopt(chosen, arguments.results)
    print(f"Adopted {len(chosen)} record{'s' * (len(chosen) > 1)}.")
    return True
