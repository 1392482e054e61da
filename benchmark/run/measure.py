"""One repetition of a command: plan, train, fit, evaluate, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from benchmark.distributed import everywhere, gathered, rank, shared, world
from benchmark.errors import BenchmarkError
from benchmark.io.words import duration
from benchmark.machine import caution, idle
from benchmark.records.record import Record
from benchmark.registry import BROKEN
from benchmark.run.evaluate import evaluate, keep
from benchmark.run.forecast import Forecast
from benchmark.run.options import Options, choose_dataset
from benchmark.run.plan import Step, check_recipes, make_steps, network_name, validation_fingerprint
from benchmark.run.recording import make_record
from benchmark.run.resume import check_unchanged, passes, sweep
from benchmark.run.second_pass import has_second_pass, second_pass
from benchmark.run.setup import make_setup
from benchmark.run.tally import Tally
from benchmark.run.timing import beside
from benchmark.run.workshop import Workshop

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What remains of a repetition once its networks are released."""

    records: Sequence[Record] = ()
    failed: Sequence[str] = ()  # a sentence for every method
    mendable: bool = False  # whether the user can mend one of them


def measure(
    options: Options, say: Say = print, dry_run: bool = False, begun: Callable[[], None] = lambda: None
) -> Outcome:
    """Train and fit what is missing, evaluate what is not current, and write the records.

    Args:
        options: what was asked for.
        say: prints a line.
        dry_run: only print the plan.
        begun: called when the plan stands and work begins.
    Raises:
        BenchmarkError: something that the user can mend, before anything is trained.
    """
    workshop, steps, broken = everywhere(lambda: _begin(options, say))
    _check_alike(workshop, steps)
    pending = _chosen(steps, lambda: [step for step in steps if not step.current])
    shared(lambda: _print_plan(workshop, steps, pending, evaluates=True))
    if not dry_run:
        shared(begun)
        shared(lambda: sweep(workshop))
    if pending and not dry_run:
        workshop.prepare([step.entry for step in pending])
        ready = [step for step in pending if not step.entry.error]
        for group in _groups(workshop, ready):
            tally = evaluate(workshop, group)
            try:
                if has_second_pass(workshop.setup):
                    shared(lambda each=tally: keep(workshop, each))
                _record(workshop, group, tally)
            except BaseException:
                with suppress(BenchmarkError):  # a full disk, of which the first error says enough
                    if rank() == 0:
                        keep(workshop, tally)
                raise
            shared(tally.journal.delete)
        shared(lambda: sweep(workshop))
    return _outcome(steps, broken)


def _chosen(steps: Sequence[Step], choose: Callable[[], Sequence[Step]]) -> list[Step]:
    """The steps that rank 0 chooses by what lies on the disk, for all processes."""
    labels = shared(lambda: [step.entry.label for step in choose()])
    return [step for step in steps if step.entry.label in labels]


def _groups(workshop: Workshop, ready: Sequence[Step]) -> list[list[Step]]:
    """What rank 0 finds of unfinished passes decides for all processes."""
    by_label = {step.entry.label: step for step in ready}
    groups = shared(lambda: [[step.entry.label for step in group] for group in passes(workshop, ready)])
    return [[by_label[label] for label in group] for group in groups]


def _record(workshop: Workshop, group: Sequence[Step], tally: Tally) -> None:
    further = second_pass(workshop, group, tally)

    def write() -> None:
        check_unchanged(workshop, tally)
        for step in group:
            if not step.entry.error:
                measured = further.get(step.entry.label, {})
                step.record = make_record(workshop, step, tally, measured, workshop.setup.options.out)
                step.reasons = []

    shared(write)


def foretell(several: Sequence[Options], say: Say, evaluates: bool = True) -> None:
    """Say how long several repetitions take together, if that is known.

    Args:
        several: the options of each.
        say: prints a line.
        evaluates: whether the test images are scored.
    Raises:
        BenchmarkError: as :func:`measure`.
    """
    seconds = 0.0
    for options in several:
        workshop, steps, _ = _begin(options, lambda line: None)
        pending = [step for step in steps if not (evaluates and step.current)]
        forecast = Forecast(workshop, pending, evaluates)
        if not forecast.known:
            return
        seconds += forecast.whole.seconds if pending else 0.0
    if seconds and not forecast.timing.hopeless(seconds):
        say(f"All {len(several)} repetitions together about {duration(seconds)} on {workshop.setup.machine.device}.")


def train(options: Options, say: Say = print, begun: Callable[[], None] = lambda: None) -> Outcome:
    """Train networks and fit methods, without evaluating them; arguments as for :func:`measure`."""
    workshop, steps, broken = everywhere(lambda: _begin(options, say))
    _check_alike(workshop, steps)
    shared(lambda: _print_plan(workshop, steps, steps, evaluates=False))
    shared(begun)
    shared(lambda: sweep(workshop))
    workshop.prepare([step.entry for step in steps])
    for step in steps:
        for spec in step.entry.specs:
            if workshop.store.has(spec.key):
                say(f"{step.entry.label}: {workshop.store.path(spec.key)}")
    return _outcome(steps, broken)


def _begin(options: Options, say: Say) -> tuple[Workshop, list[Step], dict[str, str]]:
    say(choose_dataset(options.dataset, options.root)[1])
    setup = make_setup(options)
    device = setup.machine.device
    for words in dict.fromkeys(caution(device, each) for each in (options.precision, setup.machine.precision)):
        if words:
            say(words)
    for part in (setup.train, setup.val, setup.test):
        expected = part.card.sizes.get(part.split)
        if expected and expected != len(part) and not options.limit:
            say(f"{part.card.title} has {len(part)} {part.split} images here, the published split has {expected}.")
    workshop = Workshop(setup, say)
    steps, broken = make_steps(workshop, options.methods)
    check_recipes(setup, steps)
    return workshop, steps, broken


def _check_alike(workshop: Workshop, steps: Sequence[Step]) -> None:
    """Refuse processes that would do different things: they would wait for each other, or measure a mixture.

    Raises:
        BenchmarkError: they do not see the same images, or not the same methods.
    """
    if world() == 1:
        return
    setup = workshop.setup
    lengths = [len(part) for part in (setup.train, setup.val, setup.test)]
    images = (lengths, setup.test.fingerprint(), validation_fingerprint(setup), setup.base.key)
    methods = [(each.entry.label, each.entry.source, each.entry.method.version, each.entry.fit_key) for each in steps]
    everybody = gathered({"images and labels below --data": images, "methods": methods})
    for what in everybody[0]:
        if other := next((i for i, seen in enumerate(everybody) if seen[what] != everybody[0][what]), 0):
            raise BenchmarkError(
                f"Process {other} has other {what} than process 0; all machines need the same files and the same code."
            )


def _print_plan(workshop: Workshop, steps: Sequence[Step], pending: Sequence[Step], evaluates: bool) -> None:
    setup, say = workshop.setup, workshop.say
    size = "native size" if setup.own is None else "input as its code prepares it"
    if setup.base.scales:
        size = "scales " + ", ".join(map(str, setup.base.scales))
    several = f" by {world()} processes" if world() > 1 else ""
    say(f"Network {network_name(setup)}, {size}, on {setup.machine.device}{several}.")
    for words in filter(None, (idle(setup.machine.device), beside(setup.machine.device) if pending else "")):
        say(words)
    forecast = Forecast(workshop, pending, evaluates)
    for step in steps:
        if step.current:
            silent = step.entry.source and not step.record.method.source
            more = ", which does not state the source of its method" if silent else ""
            say(f"  {step.entry.label}: current, {step.path}{more}")
        elif evaluates:
            why = "; ".join(step.reasons) or "not measured yet"
            alone = f"; alone {forecast.words(forecast.row(step.entry))}" if forecast.known else ""
            say(f"  {step.entry.label}: {why}{alone}")
    if not pending:
        return
    for line in forecast.trainings():
        say(f"  {line}")
    if evaluates:
        say(f"  {forecast.evaluation()}")
    if forecast.known:
        say(forecast.summary())


def _outcome(steps: Sequence[Step], broken: Mapping[str, str]) -> Outcome:
    some = any(not step.entry.error for step in steps)  # where nothing is left, to leave out is to fail
    failed = [step.entry for step in steps if step.entry.error and not (step.entry.left_out and some)]
    # Why a file cannot be imported was said when that was tried.
    said = {call: "it cannot be imported" if why in BROKEN.values() else why for call, why in broken.items()}
    return Outcome(
        records=[step.record for step in steps if step.current],
        failed=[
            *(f"failed: {call}: {why}" for call, why in said.items()),
            *(f"failed: {entry.label}: {entry.error}" for entry in failed),
        ],
        mendable=any(entry.mendable for entry in failed),
    )
