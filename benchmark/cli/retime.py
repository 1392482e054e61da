"""``retime``: times of records taken anew on a quiet machine."""

from __future__ import annotations

import argparse
import sys

from benchmark.cli.arguments import COUNT, batch_size, label_size, machine_readable, networks, plan_only, preset, verb
from benchmark.cli.output import say
from benchmark.cli.run import each_dataset

ALL = "all"
"""Every repetition that has a record."""


def add(verbs) -> None:
    parser = verb(
        verbs,
        "retime",
        retime,
        "take the times of current records anew, by a few images; metrics, rows and curves stay as they are",
        """
retime --dry-run
retime --dataset camvid-ood --network fpn-tf_efficientnet_lite0:encoder_weights=imagenet
retime --dataset road-anomaly,road-anomaly-21 --network espnetv2-2.0 --normal camvid-ood
retime --dataset minihazards --methods msp,dicnet --repetition 0 --images 60""",
    )
    networks(parser)
    parser.set_defaults(repetition=ALL)
    preset(parser)
    group = parser.add_argument_group("timing", "All methods and repetitions are those that have a record in --out.")
    label_size(group)
    batch_size(group)
    group.add_argument(
        "--images",
        type=COUNT,
        metavar="N",
        help="time so many images after a first batch (default: 30; of a method that takes longer, as many as a minute "
        "holds)",
    )
    group.add_argument(
        "--busy",
        action="store_true",
        help="keep times that were taken beside other work, too; tables mark them with a dagger",
    )
    plan_only(group)
    machine_readable(parser)


def retime(arguments: argparse.Namespace) -> int:
    """Time every repetition of every dataset and say what has changed."""
    return each_dataset(_retime, arguments)


def _retime(arguments: argparse.Namespace) -> int:
    from benchmark.leaderboard.preview import times, values
    from benchmark.run.options import options_of, parse_repetitions
    from benchmark.run.retime import IMAGES, repetitions
    from benchmark.run.retime import retime as take

    every = arguments.repetition == ALL
    first = options_of(argparse.Namespace(**vars(arguments) | {"repetition": 0 if every else arguments.repetition}))
    found = repetitions(first) if every else parse_repetitions(arguments.repetition)
    written, failed = [], []
    for each in found:
        options = options_of(argparse.Namespace(**vars(arguments) | {"repetition": each}))
        outcome = take(options, say, arguments.images or IMAGES, arguments.busy, arguments.dry_run)
        written += outcome.written
        failed += outcome.failed
        if outcome.written:
            print(f"\n{times(outcome.written)}\n")
    arguments.answer.setdefault("retimed", []).extend(map(values, written))
    arguments.answer.setdefault("failed", []).extend(failed)
    for sentence in dict.fromkeys(failed):
        print(sentence, file=sys.stderr)
    return 1 if failed else 0
