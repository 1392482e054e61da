"""``run`` and ``train``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from benchmark.cli.arguments import evaluation, machine_readable, plan_only, preset, verb, work
from benchmark.cli.config import config
from benchmark.cli.environment import launched
from benchmark.cli.output import line_width, say
from benchmark.cli.report import after_run
from benchmark.errors import BenchmarkError

if TYPE_CHECKING:
    from benchmark.run.measure import Outcome
    from benchmark.run.options import Options


def add(verbs) -> None:
    parser = verb(
        verbs,
        "run",
        run,
        "train what is missing, evaluate what is not measured yet, print the table",
        """
run --methods dicnet,msp
run --methods all --dataset camvid-ood --data ~/data
run --methods msp,msp:double_softmax=true --limit 20
run --methods my_method --plugin my_method.py
run --methods dicnet --recipe distillation.epochs=5 --force
run --dataset streethazards --preset paper
run --methods msp,dicnet --repetition 0-2
run --methods msp,energy --protocols open-set-fpr,sizes,calibration
run --dataset road-anomaly,road-anomaly-21 --network erfnet.py --weights erfnet.pth --classes cityscapes
run --config run.toml --limit 20 --json""",
    )
    parser.set_defaults(several=True)
    work(parser)
    preset(parser)
    evaluation(parser)
    machine_readable(parser)
    config(parser)
    leaves(parser)


def leaves(parser: argparse.ArgumentParser) -> None:
    """What is left behind beside the records; called after :func:`config`, as there is nothing to undo."""
    parser.add_argument("--no-report", action="store_true", help="do not write report.html in the --out folder")


def add_train(verbs) -> None:
    parser = verb(
        verbs,
        "train",
        train,
        "train networks and fit methods without evaluating them",
        """
train --methods deep_ensemble
train --methods dicnet --dataset streethazards --retrain
train --methods all --dataset camvid-ood --dry-run
train --config run.toml""",
    )
    parser.set_defaults(several=True)
    work(parser)
    preset(parser)
    plan_only(parser)
    config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Plan, train, fit, evaluate, record and print the table of every dataset; then write the report of all."""
    code = each_dataset(_run, arguments)
    if not (arguments.dry_run or arguments.no_report or launched()[0]):
        after_run(arguments.out, arguments.data)
    return code


def train(arguments: argparse.Namespace) -> int:
    """Train the networks and fit the methods for every dataset."""
    return each_dataset(_train, arguments)


def _run(arguments: argparse.Namespace) -> int:
    """Measure every repetition, one after the other, and print the table of all."""
    from benchmark.io.jsonfile import to_plain
    from benchmark.leaderboard.console import advice, print_table, summary
    from benchmark.records.published import RESULTS, read_published
    from benchmark.run.measure import measure

    begun = arguments.intent.keep
    outcomes = [measure(options, say, arguments.dry_run, begun) for options in _repetitions(arguments, True)]
    records = [record for outcome in outcomes for record in outcome.records]
    found = arguments.answer.setdefault("records", [])
    found += [{"path": str(record.path(arguments.out)), **to_plain(record)} for record in records]
    arguments.answer.setdefault("failed", []).extend(sentence for outcome in outcomes for sentence in outcome.failed)
    if records and not arguments.dry_run:
        print()
        print(print_table(records, read_published(RESULTS).rows, line_width()))
        if more := summary(records, line_width()):
            print(f"\n{more}")
        if pixels := records[0].dataset.pixels:
            print(f"\nPixels: {', '.join(f'{count} {kind}' for kind, count in pixels.items())}")
        for line in advice(records):
            print(f"\n{line}")
        print(f"\nRecords: {records[0].path(arguments.out).parent}")
    return _report(outcomes)


def _train(arguments: argparse.Namespace) -> int:
    from benchmark.run.measure import train as train_once

    dry, begun = arguments.dry_run, arguments.intent.keep
    return _report([train_once(options, say, dry, begun) for options in _repetitions(arguments, False)])


def each_dataset(work: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """One dataset after the other; one that fails does not keep the others from their turn. The worst code counts."""
    from benchmark.distributed import everywhere
    from benchmark.values import listed

    names = listed(arguments.dataset)
    if len(names) < 2:
        return work(argparse.Namespace(**vars(arguments) | {"dataset": "".join(names)}))
    codes = []
    for name in names:
        say(f"\n== {name}")
        try:
            named = argparse.Namespace(**vars(arguments) | {"dataset": name})
            codes.append(everywhere(lambda each=named: work(each)))
        except BenchmarkError as error:
            print(f"error: {error}", file=sys.stderr)
            arguments.answer.setdefault("failed", []).append(f"{name}: {error}")
            codes.append(2)
    return max(codes)


def _repetitions(arguments: argparse.Namespace, evaluates: bool) -> Iterator[Options]:
    """The options of every repetition; before several, how long all of them take."""
    from benchmark.run.options import options_of, parse_repetitions

    repetitions = parse_repetitions(arguments.repetition)
    several = [options_of(argparse.Namespace(**vars(arguments) | {"repetition": each})) for each in repetitions]
    if len(several) > 1:
        from benchmark.run.measure import foretell

        foretell(several, say, evaluates)
    for each, options in zip(repetitions, several, strict=True):
        if len(several) > 1:
            say(f"Repetition {each}.")
        yield options


def _report(outcomes: Sequence[Outcome]) -> int:
    for sentence in dict.fromkeys(sentence for outcome in outcomes for sentence in outcome.failed):
        print(sentence, file=sys.stderr)
    if any(outcome.mendable for outcome in outcomes):
        return 2
    return 1 if any(outcome.failed for outcome in outcomes) else 0
