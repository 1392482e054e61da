"""Times of records taken anew, by a short pass of their methods; what was measured stays as it is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from torch.utils.data import Subset

from benchmark.errors import BenchmarkError
from benchmark.io.words import duration, quantity
from benchmark.metrics import FirstPass, SegmentationEvaluator
from benchmark.progress import Progress
from benchmark.records.adoption import Candidate
from benchmark.records.provenance import BUSY, gather, machine_load
from benchmark.records.record import Record, Retimed, method_call, read, read_all
from benchmark.registry import METHODS
from benchmark.run.beside import Beside
from benchmark.run.entry import Entry
from benchmark.run.evaluate import Pass
from benchmark.run.options import Options
from benchmark.run.plan import Step, check_recipes, make_steps, network_name
from benchmark.run.recording import cost_of
from benchmark.run.resume import journal_of
from benchmark.run.scoring import BatchSize
from benchmark.run.setup import Setup, make_setup
from benchmark.run.tally import Tally
from benchmark.run.workshop import Workshop
from benchmark.training import native_batches
from benchmark.values import format_call, parse_call

IMAGES = 30
"""So many are timed where nobody says: ten batches of images of 480x360, four of 320x180."""
SECONDS, BATCHES = 60.0, 3
"""A method that has taken so long is timed no further, once it has so many batches."""


@dataclass(frozen=True)
class Outcome:
    """What has come of one repetition."""

    written: Sequence[Candidate] = ()  # the records, each with what it was before
    failed: Sequence[str] = ()  # a sentence for every method that keeps its times


def repetitions(options: Options) -> list[int]:
    """The repetitions of which the run folder has records of this dataset and network.

    Raises:
        BenchmarkError: there is none.
    """
    return sorted({record.network.seed for record in _records(make_setup(options))})


def retime(
    options: Options,
    say: Callable[[str], None] = print,
    images: int = IMAGES,
    busy: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Take the times of one repetition's current records anew and write them into these, once all are taken.

    The images go through as in a run: the same batches, arithmetic and threads, each network once for all methods. The
    first batch warms up and is not timed. Nothing is trained or fitted: what the store does not hold keeps its times.

    Args:
        options: what was asked for; "all" methods are those that have a record.
        say: prints a line.
        images: so many are timed, evenly spread over the dataset and filled up to whole batches; of methods that take
            long fewer, :data:`SECONDS`.
        busy: whether times count that were taken beside other work.
        dry_run: only print the plan.
    Raises:
        BenchmarkError: something that the user can mend; the machine is busy. Then all records are as they were.
    """
    setup = make_setup(options)
    workshop = Workshop(setup, say)
    kept = [record for record in _records(setup) if record.network.seed == options.repetition]
    calls, unknown = _calls(setup, kept) if options.unasked else ({}, {})
    typed = [call for call in options.methods if call not in options.unasked]
    steps, broken = make_steps(workshop, [*typed, *calls.values()])
    check_recipes(setup, steps)
    why = {label: "it was measured with another --recipe or --normal; give that, too" for label in calls}
    why |= unknown | broken | {step.entry.label: _unready(workshop, step) for step in steps}
    ready = [step for step in steps if not why[step.entry.label]]
    left = {label: reason for label, reason in why.items() if reason}
    say(f"Network {network_name(setup)}, repetition {options.repetition}, on {setup.machine.device}.")
    for label, reason in left.items():
        say(f"  {label}: keeps its times: {reason}")
    say(f"  {len(ready)} of {len(why)} records timed anew{_forecast(ready, images)}; nothing is trained or fitted.")
    if not why:
        raise BenchmarkError(f"{options.out} has no record of repetition {options.repetition}; leave out --repetition.")
    if dry_run:
        return Outcome()
    if not ready:
        return Outcome((), _failed(left))
    if not busy:
        _check_quiet([machine_load()])
    workshop.prepare([step.entry for step in ready])
    written = _timed(workshop, [step for step in ready if not step.entry.error], images, busy)
    left |= {step.entry.label: step.entry.error for step in ready if step.entry.error}
    return Outcome(written, _failed(left))


def _failed(left: Mapping[str, str]) -> list[str]:
    return [f"failed: {label}: {reason.removesuffix('.')}." for label, reason in left.items()]


def _records(setup: Setup) -> list[Record]:
    """Those of the run folder that were measured on all images of this dataset with this network.

    Raises:
        BenchmarkError: there is none.
    """
    network, out = network_name(setup), setup.options.out
    wanted = (setup.dataset, network, None)
    found = [each for each in read_all(out)[0] if (each.dataset.name, each.network.label, each.dataset.limit) == wanted]
    if found:
        return found
    raise BenchmarkError(
        f"{out} has no record of {setup.dataset} with the network {network}; `python -m benchmark run` measures, "
        f"`python -m benchmark runs --out {out}` shows what there is."
    )


def _calls(setup: Setup, records: Sequence[Record]) -> tuple[dict[str, str], dict[str, str]]:
    """The methods of records as typed, by their labels; and why it is not known what was typed for the others.

    Where a label is silent, an option of the dataset's would take the place of the default that was measured.
    """
    calls, unknown = {}, {}
    policy = {} if setup.own else setup.policy(setup.train).method_options
    for record in records:
        name, stated = parse_call(method_call(record.method.label))
        config = record.method.config
        call = format_call(name, {key: config[key] for key in policy.get(name, {}) if key in config} | stated)
        try:
            METHODS.create(call)
        except BenchmarkError as error:
            unknown[record.method.label] = str(error).removesuffix(".")
        else:
            calls[record.method.label] = call
    return calls, unknown


def _unready(workshop: Workshop, step: Step) -> str:
    """Why the times of a method cannot be taken; empty where they can."""
    entry = step.entry
    if step.record is None:
        return "; ".join(step.reasons) or "it has no record here; `python -m benchmark run` measures it"
    if step.reasons:
        return f"its record is stale ({'; '.join(step.reasons)}); `python -m benchmark run` measures it again"
    if missing := workshop.to_train([entry]):
        return f"{missing[0].key} is not in the store; `python -m benchmark train` trains it again"
    if workshop.to_fit([entry]):
        return f"its fit {entry.fit_key} is not in the store or no longer current; `python -m benchmark train` fits it"
    return ""


def _forecast(steps: Sequence[Step], images: int) -> str:
    """How long it takes by the times that the records have now, an upper bound where these are too long."""
    costs = [step.record.cost for step in steps if step.record]
    seconds = sum(min(images * (cost.method_ms or 0) / 1000, 2 * SECONDS) for cost in costs)
    seconds += images * max((cost.network_ms or 0 for cost in costs), default=0) / 1000
    return f" on {images} images, in about {duration(seconds)}" if seconds else ""


def _check_quiet(loads: Collection[float | None]) -> None:
    """Refuse times that were taken beside other work.

    Raises:
        BenchmarkError: some were.
    """
    if (worst := max((load for load in loads if load is not None), default=0.0)) > BUSY:
        raise BenchmarkError(
            f"The machine is busy ({worst:.1f} processes a core, more than {BUSY}), so that times are too long and no "
            f"record was changed; give the command again when it is quiet, or with --busy to keep them with a mark."
        )


def _timed(workshop: Workshop, steps: Sequence[Step], images: int, busy: bool) -> list[Candidate]:
    """Score the images and write the times into the records."""
    setup, entries = workshop.setup, [step.entry for step in steps]
    tally, counts, loads = _pass(workshop, entries, images)
    if not busy:
        _check_quiet(loads)
    made = gather(str(setup.machine.device), setup.options.precision)
    made = dataclasses.replace(made, load=max((load for load in loads if load is not None), default=None))
    written = []
    for step in (step for step in steps if not step.entry.error):
        entry, old = step.entry, step.record
        if not counts.get(entry.label):
            entry.error = "no batch of it was timed"
        elif old is None or read(step.path) != old:
            entry.error = f"{step.path} was changed meanwhile"
        else:
            cost = cost_of(workshop, entry, tally)
            kept = {"fit_seconds": old.cost.fit_seconds}
            if cost.peak_memory_mib is None:  # a processor has no memory of a method's own
                kept |= {key: getattr(old.cost, key) for key in ("peak_memory_mib", "memory_of", "network_memory_mib")}
            cost = dataclasses.replace(cost, **kept, retimed=Retimed(counts[entry.label], made))
            step.record = dataclasses.replace(old, cost=cost)
            written.append(Candidate(step.record, step.path.parent, step.path, old))
    for each in written:
        before = each.target.stat()
        each.record.write(setup.options.out)
        # Whether an unfinished pass was completed since is told by what was measured last.
        os.utime(each.target, ns=(before.st_atime_ns, before.st_mtime_ns))
    return written


def _pass(
    workshop: Workshop, entries: Sequence[Entry], wanted: int
) -> tuple[Tally, dict[str, int], list[float | None]]:
    """Seconds of an image in every method and network, medians over batches; images timed of each; loads meanwhile."""
    setup, images = workshop.setup, workshop.test_images()
    size = BatchSize.chosen(images[0], setup.options.batch_size, setup.machine.device)
    batch = size.images
    count = min(len(images), -(-wanted // batch) * batch)
    chosen = [index * len(images) // count for index in range(count)]
    seconds: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    loads: list[float | None] = []
    beside: Beside[tuple[str, ...]] = Beside(setup.machine.workers)
    progress = Progress(f"timing {quantity(len(entries), 'method')}", 0, count, setup.machine)
    try:
        for part in (chosen[:batch], chosen):  # the first warms up; on a GPU, where batches grow, so may the next
            tally = _unmeasured(workshop, [entry for entry in entries if not entry.error], size.images)
            own = Pass(workshop, entries, size, tally, beside)
            for given in native_batches(Subset(images, part), setup.machine, size.most):
                before, timed = dict(tally.seconds), tally.timed
                own.take(given)
                if part is chosen and (fresh := tally.timed - timed):
                    took = {name: total - before.get(name, 0.0) for name, total in tally.seconds.items()}
                    for name in filter(took.get, took):  # of the others nothing was run
                        seconds.setdefault(name, []).append(took[name] / fresh)
                        counts[name] = counts.get(name, 0) + fresh
                    own.entries = [entry for entry in own.entries if not _enough(entry, tally, seconds)]
                    progress.update(tally.done, "")
                loads.append(machine_load())
                if all(entry.error for entry in own.entries):
                    break
            own.settle()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"no record of repetition {setup.options.repetition} was changed") from None
    finally:
        beside.close()
        progress.close()
        workshop.pool.forget()
        workshop.pool.time(True)
    tally.seconds, tally.timed = {name: median(found) for name, found in seconds.items()}, 1
    return tally, counts, loads


def _enough(entry: Entry, tally: Tally, seconds: Mapping[str, Sequence[float]]) -> bool:
    """Whether a method that takes long was timed often enough."""
    spent, batches = tally.seconds.get(entry.label, 0.0), len(seconds.get(entry.label, ()))
    return spent >= SECONDS and batches >= BATCHES


def _unmeasured(workshop: Workshop, entries: Sequence[Entry], batch_size: int) -> Tally:
    """A tally of a pass of which the times alone are wanted; maps of the shared network that a run counts among its
    times are made all the same, and scores that no run would take are found."""
    test = workshop.setup.test
    classes = test.classes if test.card.class_labels else ()
    return Tally(
        methods={entry.label: FirstPass(["per-image"], classes, entry.label) for entry in entries},
        segmentation=SegmentationEvaluator(classes) if classes else None,
        batch_size=batch_size,
        journal=journal_of(workshop, {}),  # which nobody writes
    )
