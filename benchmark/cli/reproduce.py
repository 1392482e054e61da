"""``reproduce``: a dataset in both presets."""

from __future__ import annotations

import argparse

from benchmark.cli.arguments import evaluation, machine_readable, verb, work
from benchmark.cli.config import config
from benchmark.cli.output import say
from benchmark.cli.run import leaves, run
from benchmark.errors import BenchmarkError

PRESETS = ("paper", "common")


def add(verbs) -> None:
    parser = verb(
        verbs,
        "reproduce",
        reproduce,
        "measure a dataset in both presets, each method as its authors test it and all in one setting",
        """
reproduce streethazards --data ~/data
reproduce streethazards --dry-run""",
    )
    parser.add_argument("name", nargs="?", metavar="DATASET", help="the same as --dataset")
    work(parser, scales=False)  # each preset has its own
    evaluation(parser)
    machine_readable(parser)
    config(parser)
    leaves(parser)


def reproduce(arguments: argparse.Namespace) -> int:
    """Every method as its authors test it, then every method in one common setting; resumable like `run`."""
    options = vars(arguments) | {"dataset": arguments.name or arguments.dataset}
    if arguments.name and arguments.dataset not in ("auto", arguments.name):
        raise BenchmarkError(f"reproduce {arguments.name} --dataset {arguments.dataset}: name one dataset.")
    codes = []
    for dry in (True,) if arguments.dry_run else (True, False):
        for preset in PRESETS:
            say(f"\n== preset {preset}{', plan' if dry else ''}")
            asked = options | {"preset": preset, "dry_run": dry}
            asked["no_report"] |= preset != PRESETS[-1]  # one page tells of both
            if dry and not arguments.dry_run:
                asked["answer"] = {}  # what is current is answered by the measurement
            codes.append(run(argparse.Namespace(**asked)))
    if arguments.dry_run:
        print("\nEach plan counts all that is missing now; the second finds the networks that the first has trained.")
    return max(codes)
