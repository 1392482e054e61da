"""``python -m benchmark bench pipeline``: what limits a pass over test images, part by part and as a whole.

A real :func:`benchmark.run.evaluate.evaluate` runs over encoded synthetic images of full size, with networks of random
weights, once with everything beside each other and once, in the same process, one after the other. Its parts are timed
alone: reading (decoding, batching, the copy to the device), networks and scores on batches that lie ready, and metrics
on scores that lie ready. If the pass takes as long as the largest part, that one is the limit.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmark.bench.stand_in import SIZE, StandIn
from benchmark.cost_meter import now
from benchmark.data import Batch
from benchmark.machine import Machine, products
from benchmark.metrics import FirstPass
from benchmark.records.device import Pipeline
from benchmark.registry import DATASETS, METHODS
from benchmark.run.beside import Beside
from benchmark.run.entry import Entry
from benchmark.run.evaluate import evaluate
from benchmark.run.options import Options
from benchmark.run.plan import Step
from benchmark.run.probe import Untrained
from benchmark.run.scoring import BatchSize, score, to_cpu, views
from benchmark.run.setup import assemble
from benchmark.training import native_batches

IMAGES = {"cuda": 200}
"""Images of a pass by device; on a CPU fewer tell the same."""
READY = 8
"""Batches of scores that lie ready for the metrics."""


def terminal(found: Pipeline) -> str:
    """The table, and what it says."""
    from tabulate import tabulate

    parts = (
        ("reading", found.reading),
        ("networks and scores", found.scoring),
        ("metrics", found.metrics),
        ("pass, one after the other", found.serial),
        ("pass, beside each other", found.whole),
    )
    lines = [(name, f"{ms:.2f}", f"{1000 / ms:.1f}", f"{ms / found.whole:.0%}") for name, ms in parts]
    heads = ("part", "ms/image", "images/s", "of the pass")
    table = tabulate(lines, heads, colalign=("left", *["right"] * 3), disable_numparse=True)
    height, width = found.size
    busy = "" if found.busy is None else f" The GPU is busy for {found.busy:.0%} of the pass."
    return (
        f"{table}\n\n{found.images} images of {width}x{height} in batches of {found.batch_size}, "
        f"{', '.join(found.methods)}; {found.network} with random weights on {found.device} ({found.precision}); "
        f"threads beside it: {found.workers} to read, {found.workers} to measure.\n"
        f"One after the other takes {found.ratio:.2f} times as long as beside each other; {found.limit} take longest."
        f"{busy}"
    )


def bench_pipeline(
    options: Options,
    size: tuple[int, int] = SIZE,
    images: int = 0,
    rounds: int = 3,
    say: Callable[[str], None] = print,
    methods: int = 0,
    deadline: float = math.inf,
) -> Pipeline:
    """Time a pass, beside each other and one after the other, and its parts, which take turns in every round.

    Args:
        options: dataset, methods (what they would have fitted is random; of all, those that fit nothing and need the
            shared network alone), network, device, precision and batch size.
        size: (H, W) of the images.
        images: of a pass; 0 chooses by device.
        rounds: of which medians are taken; the one before the first warms up.
        say: prints a line.
        methods: at most so many, those that were asked for first; 0 takes every one.
        deadline: time on :func:`time.monotonic` after which no further round begins; one is always made.
    """
    machine = Machine.choose(options.device, options.precision, options.workers, progress=False)
    like = DATASETS.get(options.dataset)
    with tempfile.TemporaryDirectory() as folder:
        count = images or IMAGES.get(machine.device.type, 16)
        splits = [StandIn(like, split, size, count) for split in ("test", "train", "val")]
        batch_size = BatchSize.chosen(splits[0][0], options.batch_size, machine.device).most
        options = dataclasses.replace(
            options, out=Path(folder), precision=machine.precision, progress=False, batch_size=batch_size
        )
        setup = assemble(options, *splits)
        workshop = Untrained(setup, say)
        entries = _entries(workshop)[: methods or None]
        with products(machine.device, machine.precision):
            for entry in entries:
                workshop.connect(entry)
                workshop.settle(entry)
            ready = _ready(workshop, entries, batch_size)
            steps = [Step(entry, Path(folder) / "records" / f"{entry.method.label}.json", "") for entry in entries]
            done = sum(len(batch) for batch, _ in ready)
            parts: dict[str, tuple[Callable[[], object], int]] = {
                "reading": (lambda: _read(setup.test, setup.machine, batch_size), count),
                "scoring": (lambda: _score(workshop, entries, [batch for batch, _ in ready]), done),
                "metrics": (lambda: _measure(setup, entries, ready), done),
                "whole": (lambda: _pass(workshop, steps, machine.workers), count),
                "serial": (lambda: _pass(workshop, steps, 0), count),
            }
            times = _in_turns(parts, rounds, machine.device, deadline)
            busy = _busy(machine.device, parts["whole"][0])
    return Pipeline(
        methods=[entry.method.label for entry in entries],
        network=setup.base.arch,
        device=_name(machine.device),
        precision=machine.precision,
        size=list(size),
        images=count,
        batch_size=batch_size,
        workers=machine.workers,
        **{name: median(found) for name, found in times.items()},
        ratio=median(serial / whole for serial, whole in zip(times["serial"], times["whole"], strict=True)),
        busy=busy,
    )


def _entries(workshop: Untrained) -> list[Entry]:
    """The methods that were asked for by name, then those of all that fit nothing and need the shared network alone."""
    setup = workshop.setup
    unasked = setup.options.unasked
    entries = {call: workshop.entry(METHODS.create(call)) for call in setup.options.methods}
    alone = [
        call
        for call, e in entries.items()
        if call in unasked and not e.fit_key and set(e.specs) == {setup.base} and workshop.outline.offers(e.needs)
    ]
    return [entries[call] for call in (*(call for call in entries if call not in unasked), *alone)]


def _in_turns(
    parts: Mapping[str, tuple[Callable[[], object], int]], rounds: int, device: torch.device, deadline: float
) -> dict[str, list[float]]:
    """Milliseconds per image of every round but the one that warms up.

    Args:
        parts: name -> work and the number of its images.
        rounds: that are timed.
        device: waited for.
        deadline: as of :func:`bench_pipeline`.
    """
    times: dict[str, list[float]] = {name: [] for name in parts}
    for index in range(rounds + 1):
        if index > 1 and time.monotonic() > deadline:
            break
        for name, (work, images) in parts.items():
            began = now(device)
            work()
            if index:
                times[name].append(1000 * (now(device) - began) / images)
    return times


def _ready(workshop: Untrained, entries: Sequence[Entry], batch_size: int) -> list[tuple[Batch, list]]:
    """Some batches with the scores of every method."""
    setup, found = workshop.setup, []
    for batch in native_batches(setup.test, setup.machine, batch_size, limit=READY * batch_size):
        scores = [to_cpu(score(workshop, entry, batch)[0].clone()) for entry in entries]
        found.append((batch.to("cpu"), [one() for one in scores]))
    return found


def _read(images, machine: Machine, batch_size: int) -> None:
    for _ in native_batches(images, machine, batch_size):
        pass


def _score(workshop: Untrained, entries: Sequence[Entry], batches: Sequence[Batch]) -> None:
    pool, setup = workshop.pool, workshop.setup
    pool.forget()
    for batch in batches:
        fresh = Batch(batch.ids, batch.images, batch.labels).to(pool.device)  # a new object, for which nothing is kept
        for entry in entries:
            score(workshop, entry, fresh)
        pool.outputs(setup.base, fresh.blind).prediction(len(setup.test.classes))
    pool.forget()


def _measure(setup, entries: Sequence[Entry], ready: Sequence[tuple[Batch, list]]) -> None:
    beside: Beside[None] = Beside(setup.machine.workers)
    firsts = {e.method.label: FirstPass(setup.protocols, setup.test.classes, e.method.label) for e in entries}

    def update(first: FirstPass, batch: Batch, scores: torch.Tensor) -> None:
        for view in views(batch, scores, batch.labels):
            first.update(view)

    try:
        for batch, scores in ready:
            for (label, first), one in zip(firsts.items(), scores, strict=True):
                beside.submit(label, partial(update, first, batch, one), None)
        for _, error, _ in beside.settle():
            raise error
    finally:
        beside.close()


def _pass(workshop: Untrained, steps: Sequence[Step], workers: int) -> None:
    setup = workshop.setup
    workshop.setup = dataclasses.replace(setup, machine=dataclasses.replace(setup.machine, workers=workers))
    try:
        tally = evaluate(workshop, steps)
    finally:
        workshop.setup = setup
    tally.journal.delete()
    for step in steps:
        if step.entry.error:
            raise RuntimeError(step.entry.error)


def _busy(device: torch.device, work: Callable[[], object]) -> float | None:
    """Share of some work during which a GPU computes or copies; None on a CPU."""
    if device.type != "cuda":
        return None
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    began = now(device)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
        spent = now(device) - began
    ranges = [event.time_range for event in seen.events() if event.device_type == DeviceType.CUDA]
    return min(1.0, covered([(each.start, each.end) for each in ranges]) / 1e6 / spent)


def covered(intervals: Sequence[tuple[float, float]]) -> float:
    """Length of what intervals cover together."""
    length, reached = 0.0, -math.inf
    for begin, end in sorted(intervals):
        length += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return length


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
