"""``runs``: what a run folder holds, and single things of it deleted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.cli.arguments import machine_readable, out, verb
from benchmark.errors import BenchmarkError
from benchmark.io.words import bytes_in_words

if TYPE_CHECKING:
    from benchmark.run.holdings import Thing

HEADINGS = {
    "record": "Measured",
    "weights": "Trained or imported",
    "unfinished": "Unfinished",
    "other": "Beside these",
    "foreign": "Not of this suite",
}
"""Kind of thing -> heading, in the order of printing."""


def add(verbs) -> None:
    parser = verb(
        verbs,
        "runs",
        runs,
        "look into a run folder: records, weights, what is unfinished, sizes; or delete some of it",
        """
runs
runs --out runs --json
runs --delete "partial/*" "weights/*.state" --dry-run
runs --delete records/camvid-ood/pspnet-small/msp""",
    )
    out(parser)
    parser.add_argument(
        "--delete",
        nargs="+",
        default=[],
        metavar="NAME",
        help="delete these, by the names that `runs` prints; * stands for any letters, but a record goes by its full "
        "name only, with its rows and curves",
    )
    parser.add_argument("--dry-run", action="store_true", help="with --delete: only say what would be deleted")
    machine_readable(parser)


def runs(arguments: argparse.Namespace) -> int:
    """Print what a run folder holds, or delete what is named."""
    from benchmark.run.holdings import chosen, delete, holdings

    if arguments.dry_run and not arguments.delete:
        raise BenchmarkError("--dry-run says what --delete would do; name something to delete.")
    found = holdings(arguments.out)
    if not arguments.delete:
        print(_tables(found) or f"{arguments.out} is empty.")
        arguments.answer["things"] = [_plain(thing) for thing in found]
        return 0
    things = chosen(found, arguments.delete)
    if not arguments.dry_run:
        delete(arguments.out, things)
    done = "would be deleted" if arguments.dry_run else "deleted"
    for thing in things:
        print(f"{done}: {thing.name} ({_size(thing)}): {thing.about}")
    arguments.answer[done.replace(" ", "_")] = [_plain(thing) for thing in things]
    return 0


def _tables(found: Sequence[Thing]) -> str:
    """A table for every kind of thing, and the size of all."""
    from tabulate import tabulate

    parts = []
    for kind, heading in HEADINGS.items():
        rows = [[t.name, _size(t), t.date, t.about] for t in found if t.kind == kind]
        if rows:
            total = bytes_in_words(sum(t.bytes for t in found if t.kind == kind))
            table = tabulate(
                rows, ["name", "size", "changed (UTC)", ""], maxcolwidths=[None, None, None, 60], disable_numparse=True
            )
            parts.append(f"{heading}: {len(rows)}, {total}\n\n{table}")
    if parts:
        parts.append(f"All together {bytes_in_words(sum(t.bytes for t in found))}.")
    return "\n\n".join(parts)


def _size(thing: Thing) -> str:
    return bytes_in_words(thing.bytes)


def _plain(thing: Thing) -> dict[str, object]:
    return {
        "name": thing.name,
        "kind": thing.kind,
        "files": list(map(str, thing.files)),
        "bytes": thing.bytes,
        "changed": thing.date,
        "about": thing.about,
    }
