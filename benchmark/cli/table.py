"""``table``: the leaderboards from what was published and what was measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Annotated, Any

from benchmark.cli.arguments import existing, machine_readable, number, verb
from benchmark.errors import BenchmarkError
from benchmark.io.words import quantity
from benchmark.values import Range, listed

DIGITS = number(Annotated[int, Range(0, 4)])
"""Digits behind the point."""


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
table --results runs
table --latex --dataset camvid-ood --network pspnet-small --methods msp,energy,dicnet
table --markdown --dataset road-anomaly,road-anomaly-21 --columns pooled.aupr,pooled.fpr95 --digits 2""",
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
        metavar="FILE",
        help="file with the leaderboard block (default: the README.md beside results, where there is one)",
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
        help="first copy the complete records of a run folder into the results, all or none; says what each replaces, "
        "old and new values beside each other",
    )
    parser.add_argument(
        "--methods", metavar="A,B", help="with --adopt and in a printed table: only these, by label (or name)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="with --adopt: only say what is new, what is replaced, and how values and times differ",
    )
    paper = parser.add_argument_group("a table for a paper, printed instead")
    form = paper.add_mutually_exclusive_group()
    for name, what in (
        ("latex", "LaTeX with booktabs and tabularx, as wide as a column"),
        ("markdown", "Markdown"),
        ("csv", "CSV"),
    ):
        form.add_argument(
            f"--{name}", action="store_const", dest="form", const=name, help=f"print a selection as {what}"
        )
    paper.add_argument("--dataset", metavar="A,B", help="only these, a group of columns each (default: all measured)")
    paper.add_argument("--network", metavar="LABEL", help="only the rows of this network, as the tables head them")
    paper.add_argument(
        "--columns",
        metavar="A,B",
        help="aupr, fpr95, auroc (per image), pooled.aupr ..., published.aupr ..., miou, ms, network-ms, seeds; the "
        "first one orders the rows (default: aupr,fpr95,auroc)",
    )
    paper.add_argument(
        "--digits", type=DIGITS, metavar="N", help="digits behind the point, of --latex and --markdown (default: 1)"
    )
    paper.add_argument("--intervals", action="store_true", help="with 95 %% intervals over images")
    machine_readable(parser)


def table(arguments: argparse.Namespace) -> int:
    """Regenerate the leaderboards, or check that they are what the records say."""
    from benchmark.leaderboard import generate
    from benchmark.records.adoption import finish

    if arguments.form:
        return _print(arguments)
    if any(
        (arguments.dataset, arguments.network, arguments.columns, arguments.digits is not None, arguments.intervals)
    ):
        raise BenchmarkError(
            "--dataset, --network, --columns, --digits and --intervals choose what --latex, --markdown or --csv "
            "print; give one of these, too."
        )
    readme = None if arguments.no_readme else arguments.readme or _readme_of(arguments.results)
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


def _readme_of(results: Path) -> Path | None:
    """The README of the project whose results these are; another folder, a run's for instance, has none."""
    page = Path("README.md")
    return page if results == Path("results") and page.is_file() else None


def _print(arguments: argparse.Namespace) -> int:
    """One table of a selection, to standard output."""
    from benchmark.leaderboard.paper import Selection, paper_table

    if arguments.adopt or arguments.check or arguments.dry_run:
        raise BenchmarkError(
            f"--{arguments.form} prints a table and changes nothing; leave out --adopt, --check, --dry-run."
        )
    if arguments.form == "csv" and arguments.digits is not None:
        raise BenchmarkError("--digits is of --latex and --markdown; --csv has four digits, leave it out.")
    given = {name: listed(text) for name in ("dataset", "methods", "columns") if (text := getattr(arguments, name))}
    given = {{"dataset": "datasets"}.get(name, name): values for name, values in given.items()}
    digits = 1 if arguments.digits is None else arguments.digits
    chosen = Selection(network=arguments.network or "", digits=digits, intervals=arguments.intervals, **given)
    text = paper_table(existing(arguments.results), chosen, arguments.form)
    print(text, end="")
    arguments.answer["table"] = text
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
    from benchmark.leaderboard import generate, preview
    from benchmark.records.adoption import adopt, candidates

    chosen = candidates(arguments.adopt, arguments.results, listed(arguments.methods or ""))
    if readme is not None:
        generate.readable(readme)
    print(preview.text(chosen))
    arguments.answer["adopt"] = [preview.values(each) for each in chosen]
    if arguments.dry_run:
        return False
    adopt(chosen, arguments.results)
    print(f"\nAdopted {quantity(len(chosen), 'record')}.")
    return True
