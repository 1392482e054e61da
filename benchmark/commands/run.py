"""``run`` and ``train``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.config import Options, Setup, choose_dataset, make_setup, parse_recipe
from benchmark.errors import BenchmarkError
from benchmark.forecast import Forecast
from benchmark.leaderboard import print_table
from benchmark.metrics import protocol
from benchmark.plan import Step, make_steps, network_name, split_calls
from benchmark.published import read_published
from benchmark.recording import make_record
from benchmark.runner import evaluate
from benchmark.second_pass import protocols_of_second_pass, second_pass, summary
from benchmark.training.progress import duration
from benchmark.workshop import Workshop

PUBLISHED = Path(__file__).resolve().parents[2] / "results"
"""Published numbers stand beside measured ones; they come with this project."""


def run(arguments: argparse.Namespace) -> int:
    """Plan, train, fit, evaluate, record, print the table."""
    workshop, steps = _begin(arguments)
    pending = [step for step in steps if not step.current]
    _print_plan(workshop, steps, pending, evaluates=True)
    if arguments.dry_run:
        return 0
    if pending:
        _retrain(workshop, pending, arguments.retrain)
        workshop.prepare([step.entry for step in pending])
        ready = [step for step in pending if not step.entry.error]
        if ready:
            tally = evaluate(workshop, ready)
            further = second_pass(workshop, ready, tally)
            for step in ready:
                if not step.entry.error:
                    measured = further.get(step.entry.label, {})
                    step.record = make_record(workshop, step, tally, measured, workshop.setup.options.out)
                    step.reasons = []
            tally.journal.delete()
    records = [step.record for step in steps if step.current]
    if records:
        print()
        print(print_table(records, read_published(PUBLISHED).rows))
        if more := summary(records):
            print(f"\n{more}")
        print(f"\nRecords: {_folder(workshop.setup)}")
    return _report([step for step in steps if step.entry.error])


def train(arguments: argparse.Namespace) -> int:
    """Train the networks and fit the methods."""
    workshop, steps = _begin(arguments)
    _print_plan(workshop, steps, steps, evaluates=False)
    _retrain(workshop, steps, arguments.retrain)
    workshop.prepare([step.entry for step in steps])
    for step in steps:
        for spec in step.entry.specs:
            if workshop.store.has(spec.key):
                _say(f"{step.entry.label}: {workshop.store.path(spec.key)}")
    return _report([step for step in steps if step.entry.error])


def options_of(arguments: argparse.Namespace) -> Options:
    """The command line as :class:`Options`."""
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
        recipe=parse_recipe(arguments.recipe),
        repetition=arguments.repetition,
        out=arguments.out,
        device=arguments.device,
        precision=arguments.precision,
        train_precision=arguments.train_precision,
        workers=arguments.workers,
        protocols=tuple(protocol(p.strip()).name for p in getattr(arguments, "protocols", "").split(",") if p.strip()),
        batch_size=getattr(arguments, "batch_size", 0),
        limit=getattr(arguments, "limit", 0),
        force=getattr(arguments, "force", False),
        retrain=arguments.retrain,
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
    size = "native size" if not setup.base.scales else "scales " + ", ".join(map(str, setup.base.scales))
    _say(f"Network {network_name(setup)}, {size}, on {setup.settings.device}.")
    forecast = Forecast(workshop, pending, evaluates)
    for step in steps:
        if step.current:
            _say(f"  {step.entry.label}: current, {step.path}")
        elif evaluates:
            why = "; ".join(step.reasons) or "not measured yet"
            _say(f"  {step.entry.label}: {why}; alone {forecast.row(step.entry)}")
    if not pending:
        return
    for spec, seconds in forecast.networks.items():
        options = "".join(f":{key}={value}" for key, value in spec.options)
        member = f" member {spec.recipe.member}" if spec.recipe.member else ""
        _say(f"  train {spec.arch}{options}{member} on {spec.dataset}, about {duration(seconds)}")
    for entry, seconds in forecast.fits.values():
        _say(f"  fit {entry.label}, {f'about {duration(seconds)}' if seconds else 'one pass over the training images'}")
    if evaluates:
        passes = ", in two passes" if protocols_of_second_pass(setup) else ""
        _say(f"  evaluate {len(pending)} method{'s' * (len(pending) > 1)} on {len(setup.test)} images{passes}")
    _say(f"All together {forecast.whole} on {setup.settings.device}.")


def _retrain(workshop: Workshop, steps: Sequence[Step], wanted: bool) -> None:
    if wanted:
        for key in {s.key for step in steps for s in step.entry.specs} | {s.entry.fit_key for s in steps} - {""}:
            workshop.store.delete(key)


def _folder(setup: Setup) -> str:
    return str(setup.options.out / "records" / setup.dataset / network_name(setup))


def _report(failed: Sequence[Step]) -> int:
    for step in failed:
        print(f"failed: {step.entry.label}: {step.entry.error}", file=sys.stderr)
    if any(step.entry.mendable for step in failed):
        return 2
    return 1 if failed else 0


def _say(text: str) -> None:
    print(text, flush=True)
