"""``run`` and ``train``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmark.errors import BenchmarkError
from benchmark.leaderboard.generate import print_table
from benchmark.metrics import protocol
from benchmark.records.published import RESULTS, read_published
from benchmark.records.record import Record
from benchmark.run.evaluate import evaluate
from benchmark.run.forecast import Forecast
from benchmark.run.plan import Step, make_steps, network_name, split_calls
from benchmark.run.recording import make_record
from benchmark.run.resume import passes
from benchmark.run.second_pass import protocols_of_second_pass, second_pass, summary
from benchmark.run.setup import Options, choose_dataset, make_setup, parse_recipe, parse_repetitions
from benchmark.run.workshop import Workshop


@dataclass(frozen=True)
class Outcome:
    """What is left of a repetition once its networks are let go of."""

    records: Sequence[Record] = ()
    failed: Sequence[str] = ()  # a sentence for every method
    mendable: bool = False  # whether the user can mend one of them


def run(arguments: argparse.Namespace) -> int:
    """Plan, train, fit, evaluate, record and print the table of every dataset."""
    return _each_dataset(_run, arguments)


def train(arguments: argparse.Namespace) -> int:
    """Train the networks and fit the methods for every dataset."""
    return _each_dataset(lambda one: _report([_train(each) for each in _repetitions(one)]), arguments)


def _each_dataset(work: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """One dataset after the other; one that fails does not keep the others from their turn. The worst code counts."""
    names = [name for part in arguments.dataset.split(",") if (name := part.strip())]
    if len(names) < 2:
        return work(argparse.Namespace(**vars(arguments) | {"dataset": "".join(names)}))
    codes = []
    for name in names:
        _say(f"\n== {name}")
        try:
            codes.append(work(argparse.Namespace(**vars(arguments) | {"dataset": name})))
        except BenchmarkError as error:
            print(f"error: {error}", file=sys.stderr)
            codes.append(2)
    return max(codes)


def _run(arguments: argparse.Namespace) -> int:
    """Measure every repetition, one after the other, and print the table of all."""
    outcomes = [_measure(one) for one in _repetitions(arguments)]
    records = [record for outcome in outcomes for record in outcome.records]
    if records and not arguments.dry_run:
        print()
        print(print_table(records, read_published(RESULTS).rows))
        if more := summary(records):
            print(f"\n{more}")
        if pixels := records[0].dataset.pixels:
            print(f"\nPixels: {', '.join(f'{count} {kind}' for kind, count in pixels.items())}")
        print(f"\nRecords: {records[0].path(arguments.out).parent}")
    return _report(outcomes)


def _measure(arguments: argparse.Namespace) -> Outcome:
    """Plan, train, fit, evaluate and record one repetition."""
    workshop, steps = _begin(arguments)
    pending = [step for step in steps if not step.current]
    _print_plan(workshop, steps, pending, evaluates=True)
    if pending and not arguments.dry_run:
        workshop.prepare([step.entry for step in pending])
        ready = [step for step in pending if not step.entry.error]
        for group in passes(workshop, ready):
            tally = evaluate(workshop, group)
            further = second_pass(workshop, group, tally)
            for step in group:
                if not step.entry.error:
                    measured = further.get(step.entry.label, {})
                    step.record = make_record(workshop, step, tally, measured, workshop.setup.options.out)
                    step.reasons = []
            tally.journal.delete()
    return _outcome(steps)


def _train(arguments: argparse.Namespace) -> Outcome:
    workshop, steps = _begin(arguments)
    _print_plan(workshop, steps, steps, evaluates=False)
    workshop.prepare([step.entry for step in steps])
    for step in steps:
        for spec in step.entry.specs:
            if workshop.store.has(spec.key):
                _say(f"{step.entry.label}: {workshop.store.path(spec.key)}")
    return _outcome(steps)


def _repetitions(arguments: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The command line of every repetition."""
    repetitions = parse_repetitions(arguments.repetition)
    for each in repetitions:
        if len(repetitions) > 1:
            _say(f"Repetition {each}.")
        yield argparse.Namespace(**vars(arguments) | {"repetition": each})


def options_of(arguments: argparse.Namespace) -> Options:
    """The command line as :class:`Options`, for verbs that take several repetitions one of them."""
    repetition, *more = parse_repetitions(arguments.repetition)
    if more:
        raise BenchmarkError(f"--repetition {arguments.repetition}: several are for run and train; name one here.")
    scales = getattr(arguments, "scales", None)
    if scales is not None:
        try:
            scales = () if scales == "native" else tuple(int(s) for s in scales.split(","))
        except ValueError:
            raise BenchmarkError(f"--scales {scales}: write short sides as in 300,450,600, or 'native'.") from None
    return Options(
        methods=tuple(split_calls(arguments.methods, arguments.preset)),
        dataset=arguments.dataset,
        data=arguments.data,
        network=arguments.network,
        preset=arguments.preset,
        scales=scales,
        max_size=arguments.max_size,
        weights=arguments.weights,
        classes=arguments.classes,
        label_size=getattr(arguments, "label_size", "image"),
        recipe=parse_recipe(arguments.recipe),
        repetition=repetition,
        out=arguments.out,
        device=arguments.device,
        precision=arguments.precision,
        train_precision=getattr(arguments, "train_precision", "auto"),
        workers=arguments.workers,
        protocols=tuple(protocol(p.strip()).name for p in getattr(arguments, "protocols", "").split(",") if p.strip()),
        batch_size=getattr(arguments, "batch_size", 0),
        limit=getattr(arguments, "limit", 0),
        force=getattr(arguments, "force", False),
        retrain=getattr(arguments, "retrain", False),
        progress=not arguments.quiet,
    )


def _begin(arguments: argparse.Namespace) -> tuple[Workshop, list[Step]]:
    options = options_of(arguments)
    _say(choose_dataset(options.dataset, options.root)[1])
    setup = make_setup(options)
    for part in (setup.train, setup.val, setup.test):
        expected = part.sizes.get(part.split)
        if expected and expected != len(part) and not options.limit:
            _say(f"{part.title} has {len(part)} {part.split} images here, the published split has {expected}.")
    workshop = Workshop(setup, _say)
    return workshop, make_steps(workshop, options.methods)


def _print_plan(workshop: Workshop, steps: Sequence[Step], pending: Sequence[Step], evaluates: bool) -> None:
    setup = workshop.setup
    size = "native size" if setup.own is None else "input as its code prepares it"
    if setup.base.scales:
        size = "scales " + ", ".join(map(str, setup.base.scales))
    _say(f"Network {network_name(setup)}, {size}, on {setup.settings.device}.")
    forecast = Forecast(workshop, pending, evaluates)
    for step in steps:
        if step.current:
            _say(f"  {step.entry.label}: current, {step.path}")
        elif evaluates:
            why = "; ".join(step.reasons) or "not measured yet"
            alone = f"; alone {forecast.row(step.entry)}" if forecast.known else ""
            _say(f"  {step.entry.label}: {why}{alone}")
    if not pending:
        return
    for line in forecast.trainings():
        _say(f"  {line}")
    if evaluates:
        passes = ", in two passes" if protocols_of_second_pass(setup) else ""
        _say(f"  evaluate {len(pending)} method{'s' * (len(pending) > 1)} on {len(setup.test)} images{passes}")
    if forecast.known:
        _say(f"All together {forecast.whole} on {setup.settings.device}.")


def _outcome(steps: Sequence[Step]) -> Outcome:
    failed = [step.entry for step in steps if step.entry.error]
    return Outcome(
        records=[step.record for step in steps if step.current],
        failed=[f"failed: {entry.label}: {entry.error}" for entry in failed],
        mendable=any(entry.mendable for entry in failed),
    )


def _report(outcomes: Sequence[Outcome]) -> int:
    for sentence in dict.fromkeys(sentence for outcome in outcomes for sentence in outcome.failed):
        print(sentence, file=sys.stderr)
    if any(outcome.mendable for outcome in outcomes):
        return 2
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _say(text: str) -> None:
    print(text, flush=True)
