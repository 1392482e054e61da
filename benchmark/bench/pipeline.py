"""``python -m benchmark bench pipeline``: what limits a pass over test images, part by part and as a whole.

A real :func:`benchmark.run.evaluate.evaluate` runs over encoded synthetic images of full size, with networks of random
weights. In the same process its parts are timed alone: reading (decoding, batching, the copy to the device), networks
and scores on batches that lie ready, and metrics on scores that lie ready. If the whole pass takes as long as the parts
together, nothing overlaps; if it takes as long as the largest, that one is the limit.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from benchmark.bench.costs import Untrained
from benchmark.bench.stand_in import SIZE, StandIn
from benchmark.cost_meter import now
from benchmark.data import Batch
from benchmark.machine import Machine, products
from benchmark.metrics import FirstPass
from benchmark.registry import DATASETS, METHODS
from benchmark.run.entry import Entry
from benchmark.run.evaluate import evaluate
from benchmark.run.options import Options
from benchmark.run.plan import Step
from benchmark.run.scoring import images_per_batch, score, views
from benchmark.run.setup import assemble
from benchmark.training import native_batches

IMAGES = {"cuda": 200}
"""Images of a pass by device; on a CPU fewer tell the same."""
READY = 8
"""Batches of scores that lie ready for the metrics."""


@dataclass(frozen=True)
class Pipeline:
    """Milliseconds per image, medians over the rounds."""

    methods: tuple[str, ...]
    network: str
    device: str
    precision: str
    size: tuple[int, int]
    images: int
    batch_size: int
    reading: float
    scoring: float  # networks, shared maps and scores
    metrics: float
    whole: float
    ratio: float  # of the parts together and the whole, median of the rounds

    @property
    def limit(self) -> str:
        """The part that takes longest."""
        parts = {"reading": self.reading, "networks and scores": self.scoring, "metrics": self.metrics}
        return max(parts, key=lambda name: parts[name])

    def __str__(self) -> str:
        from tabulate import tabulate

        parts = (("reading", self.reading), ("networks and scores", self.scoring), ("metrics", self.metrics))
        lines = [(name, f"{ms:.2f}", f"{1000 / ms:.1f}", f"{ms / self.whole:.0%}") for name, ms in parts]
        lines.append(("whole pass", f"{self.whole:.2f}", f"{1000 / self.whole:.1f}", ""))
        table = tabulate(
            lines,
            ("part", "ms/image", "images/s", "of the pass"),
            colalign=("left", *["right"] * 3),
            disable_numparse=True,
        )
        height, width = self.size
        return (
            f"{table}\n\n{self.images} images of {width}x{height} in batches of {self.batch_size}, "
            f"{', '.join(self.methods)}; {self.network} with random weights on {self.device} ({self.precision}).\n"
            f"The parts one after the other take {self.ratio:.2f} times as long as the pass; {self.limit} take longest."
        )


def bench_pipeline(
    options: Options,
    size: tuple[int, int] = SIZE,
    images: int = 0,
    rounds: int = 3,
    say: Callable[[str], None] = print,
) -> Pipeline:
    """Time a pass and its parts, which take turns in every round.

    Args:
        options: dataset, methods (what they would have fitted is random; of all, those that fit nothing and need the
            shared network alone), network, device, precision and batch size.
        size: (H, W) of the images.
        images: of a pass; 0 chooses by device.
        rounds: of which medians are taken; the one before the first warms up.
        say: prints a line.
    """
    machine = Machine.choose(options.device, options.precision, options.workers, progress=False)
    like = DATASETS.get(options.dataset)
    with tempfile.TemporaryDirectory() as folder:
        options = dataclasses.replace(options, out=Path(folder), precision=machine.precision, progress=False)
        count = images or IMAGES.get(machine.device.type, 16)
        setup = assemble(options, *(StandIn(like, split, size, count) for split in ("test", "train", "val")))
        workshop = Untrained(setup, say)
        entries = [workshop.entry(METHODS.create(call)) for call in options.methods]
        if len(entries) == len(METHODS.names()):
            entries = [
                e
                for e in entries
                if not e.fit_key and set(e.specs) == {setup.base} and workshop.outline.offers(e.needs)
            ]
        batch_size = options.batch_size or images_per_batch(setup.test[0])
        with products(machine.device, machine.precision):
            for entry in entries:
                workshop.connect(entry)
                workshop.settle(entry)
            ready = _ready(workshop, entries, batch_size)
            steps = [Step(entry, Path(folder) / "records" / f"{entry.method.label}.json", "") for entry in entries]
            parts: dict[str, Callable[[], object]] = {
                "reading": lambda: _read(setup.test, setup.machine, batch_size),
                "scoring": lambda: _score(workshop, entries, [batch for batch, _ in ready]),
                "metrics": lambda: _measure(setup, entries, ready),
                "whole": lambda: _pass(workshop, steps),
            }
            done = sum(len(batch) for batch, _ in ready)
            per = {"reading": count, "scoring": done, "metrics": done, "whole": count}
            times: dict[str, list[float]] = {name: [] for name in parts}
            for index in range(rounds + 1):
                for name, work in parts.items():
                    began = now(machine.device)
                    work()
                    if index:
                        times[name].append(1000 * (now(machine.device) - began) / per[name])
    rows = zip(*times.values(), strict=True)
    return Pipeline(
        methods=tuple(entry.method.label for entry in entries),
        network=setup.base.arch,
        device=_name(machine.device),
        precision=machine.precision,
        size=size,
        images=count,
        batch_size=batch_size,
        **{name: median(found) for name, found in times.items()},
        ratio=median((reading + scoring + metrics) / whole for reading, scoring, metrics, whole in rows),
    )


def _ready(workshop: Untrained, entries: Sequence[Entry], batch_size: int) -> list[tuple[Batch, list]]:
    """Some batches with the scores of every method."""
    setup, found = workshop.setup, []
    for batch in native_batches(setup.test, setup.machine, batch_size, limit=READY * batch_size):
        found.append((batch, [score(workshop, entry, batch)[0] for entry in entries]))
    return found


def _read(images, machine: Machine, batch_size: int) -> None:
    for _ in native_batches(images, machine, batch_size):
        pass


def _score(workshop: Untrained, entries: Sequence[Entry], batches: Sequence[Batch]) -> None:
    pool, setup = workshop.pool, workshop.setup
    pool.forget()
    for batch in batches:
        fresh = Batch(batch.ids, batch.images, batch.labels)  # an object of its own, for which nothing is kept
        for entry in entries:
            score(workshop, entry, fresh)
        pool.outputs(setup.base, fresh.blind).prediction(len(setup.test.classes))
    pool.forget()


def _measure(setup, entries: Sequence[Entry], ready: Sequence[tuple[Batch, list]]) -> None:
    firsts = [FirstPass(setup.protocols, setup.test.classes, entry.method.label) for entry in entries]
    for batch, scores in ready:
        for first, one in zip(firsts, scores, strict=True):
            for view in views(batch, one, batch.labels):
                first.update(view)


def _pass(workshop: Untrained, steps: Sequence[Step]) -> None:
    tally = evaluate(workshop, steps)
    tally.journal.delete()
    for step in steps:
        if step.entry.error:
            raise RuntimeError(step.entry.error)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
