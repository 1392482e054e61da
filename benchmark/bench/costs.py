"""``python -m benchmark bench costs``: a training step and an evaluated batch of every row, at full size.

Real trainings, fits and scores run, cut short, on networks with random weights and synthetic images; no dataset is
needed. What does not fit into the memory is reported, and the rest goes on.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmark.bench.stand_in import SIZE, StandIn
from benchmark.bench.step_timer import CutShort, StepTimer, reason
from benchmark.cost_meter import CostMeter, clear, now
from benchmark.data import Batch
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine, products
from benchmark.network import NetworkSpec
from benchmark.networks import REFERENCE, build_network
from benchmark.records.costs import Costs, MethodCost
from benchmark.records.provenance import gather
from benchmark.registry import DATASETS, METHODS
from benchmark.run.entry import Entry
from benchmark.run.options import Options
from benchmark.run.plan import network_name
from benchmark.run.probe import Untrained
from benchmark.run.scoring import images_per_batch, score
from benchmark.run.setup import assemble
from benchmark.training import Segmentation, seeded

WARM_UP = {"cuda": 2}
"""Steps and batches that are not timed, by device; on a CPU every one counts."""
STEPS = {"cuda": 5}
"""Steps and batches that are, where ``--steps`` is not given; on a CPU it is one."""
STATISTICS_BATCH = 8
"""Images per batch of a pass over the training images, as :meth:`FitData.batches` has it."""


def bench_costs(
    options: Options,
    folder: Path,
    size: tuple[int, int] = SIZE,
    steps: int = 0,
    images: int = 0,
    say: Callable[[str], None] = print,
    deadline: float = math.inf,
) -> Costs:
    """Measure what every row costs.

    Args:
        options: dataset, methods, network, recipe, device, batch size and the precision of the training, which here is
            that of the evaluation, too.
        folder: for resume states, which come and go.
        size: (H, W) of the images; smaller ones shrink scales and crops with them.
        steps: timed steps per scale and timed batches; 0 chooses by device.
        images: images of every split, for trials; 0 is as many as published.
        say: prints a line.
        deadline: time on :func:`time.monotonic` from which nothing is begun; what is missing then says so.
    """
    bench = _Bench(options, folder, size, steps, images, say)
    bench.deadline = deadline
    gc.collect()
    gc.freeze()  # collections before every measurement need not search what is loaded by now
    try:
        return bench.run()
    finally:
        gc.unfreeze()


class _Bench:
    def __init__(
        self,
        options: Options,
        folder: Path,
        size: tuple[int, int],
        steps: int,
        images: int,
        say: Callable[[str], None],
    ) -> None:
        machine = Machine.choose(options.device, options.train_precision, options.workers, progress=False)
        self.machine, self.device, self.folder, self.say = machine, machine.device, folder, say
        self.steps = steps or STEPS.get(self.device.type, 1)
        self.warm = WARM_UP.get(self.device.type, 0)
        self.like = DATASETS.get(options.dataset)
        splits = [StandIn(self.like, split, size, images) for split in ("test", "train", "val")]
        options = dataclasses.replace(options, preset="paper", out=folder, precision=machine.precision, progress=False)
        self.setup = assemble(options, *splits)
        self.workshop = Untrained(self.setup, say)
        self.pool = self.workshop.pool
        self.size = size
        self.reduced = reduced(options, size, images)
        if self.device.type == "cpu" and not self.reduced:
            say("On a CPU this takes hours; `bench --help` has an example of a trial.")
        self.timer = StepTimer(self.setup, self.like.card.sizes["train"], self.warm, self.steps, folder, say)
        self.deadline = math.inf
        self.found: dict[str, dict[str, Any]] = {}  # label -> fields of its MethodCost
        self.networks: dict[NetworkSpec, tuple[float, float]] = {}  # milliseconds per image, GiB
        count = options.batch_size or images_per_batch(self.setup.test[0])
        self.batches = splits[0].batches(count, self.warm + self.steps, self.device)

    def run(self) -> Costs:
        asked = self.setup.options
        entries = [self.workshop.entry(METHODS.create(call)) for call in asked.methods]
        brought = [call in asked.unasked for call in asked.methods]
        entries = [e for e, by_all in zip(entries, brought) if not by_all or self.workshop.outline.offers(e.needs)]
        for entry in entries:
            self.found[entry.method.label] = {"title": _title(entry), "trainings": _trainings(entry)}
        for spec in dict.fromkeys(spec.checkpoint.member(0) for entry in entries for spec in entry.specs):
            self._attempt([], f"{spec.label} training", lambda s=spec: self._train_network(s))
        for entry in list(entries):
            # All taps are known before the first forward, which then serves everyone.
            if not self._attempt([entry], "networks", lambda e=entry: self.pool.view(e.needs)):
                entries.remove(entry)
        self.pool.release()
        observing = self._statistics([entry for entry in entries if entry.method.observes])
        # Methods that train come last, so that the outputs which the others share are computed once.
        entries.sort(key=lambda entry: bool(entry.recipes))
        while entries:
            entry = entries.pop(0)
            self._method(entry, connected=any(entry is other for other in observing))
            observing = [other for other in observing if other is not entry]
        methods = [MethodCost(label, **found) for label, found in self.found.items()]
        return Costs(
            dataset=self.setup.test.name,
            title=self.like.card.title,
            network=network_name(self.setup).partition(":")[0],
            size=list(self.size),
            train_images=self.like.card.sizes["train"],
            test_images=self.like.card.sizes["test"],
            batch_size=len(self.batches[0]),
            reduced=self.reduced,
            trainings=list(self.timer.costs.values()),
            methods=methods,
            provenance=gather(str(self.device), self.machine.precision),
        )

    # Trainings

    def _train_network(self, spec: NetworkSpec) -> None:
        with seeded(spec.recipe):
            network = build_network(spec.arch, spec.classes, dict(spec.options), initial=False)
            task = Segmentation(network, self.setup.train.classes)
        self.timer.measure(task, spec.recipe, spec.label)

    # Statistics and fits

    def _statistics(self, entries: Sequence[Entry]) -> list[Entry]:
        """A batch of the pass over the training images, then the fits; the entries that came through."""
        ready = [e for e in entries if self._attempt([e], "build", lambda e=e: self.workshop.connect(e))]
        if not ready:
            return []
        count = self.setup.options.batch_size or STATISTICS_BATCH
        count = min(count, len(self.setup.train))
        batches = self.setup.train.batches(count, min(self.warm, 1) + 1, self.device)
        specs = dict.fromkeys(spec for entry in ready for spec in entry.specs)
        for batch in batches:
            with CostMeter(self.device) as network:
                self._attempt(ready, "statistics", lambda b=batch: [self.pool.outputs(spec, b) for spec in specs])
            for entry in ready:
                self._attempt([entry], "statistics", lambda e=entry, b=batch: self._observe(e, b, network))
        self.pool.forget()
        for entry in ready:
            if "error" not in self.found[entry.method.label]:
                self._attempt([entry], "fit", lambda e=entry: self._fit(e))
        return ready

    def _observe(self, entry: Entry, batch: Batch, network: CostMeter) -> None:
        with CostMeter(self.device) as own, torch.no_grad():
            entry.method.observe(batch, entry.networks)
        found = self.found[entry.method.label]
        found["statistics_ms"] = 1000 * (network.seconds + own.seconds) / len(batch)
        found["memory_gib"] = max(network.memory_gib, own.memory_gib)

    def _fit(self, entry: Entry) -> None:
        found = self.found[entry.method.label]
        setup = self.setup
        states = self.folder / "fit"
        data = CutShort(
            setup.train, setup.val, self.machine, entry.recipes, states, entry.method.label, timer=self.timer
        )
        with CostMeter(self.device) as meter:
            entry.method.fit(data, entry.networks)
        found["fit_seconds"] = meter.seconds - data.seconds
        found["memory_gib"] = max(found.get("memory_gib", 0.0), meter.memory_gib)

    # Evaluation

    def _method(self, entry: Entry, connected: bool) -> None:
        found = self.found[entry.method.label]
        self.pool.release((*entry.specs, self.setup.base))
        if not connected and not self._attempt([entry], "build", lambda: self.workshop.connect(entry)):
            return
        if entry.method.fitted and not entry.method.observes:
            if self.warm:
                self.pool.forget()  # several batches take turns, so that nothing is lost
            self._attempt([entry], "fit", lambda: self._fit(entry))
        self._attempt([entry], "evaluation", lambda: self._evaluate(entry))
        if found.get("method_ms") is not None:
            self.say(
                f"{entry.method.label}: {found['network_ms']:.0f} + {found['method_ms']:.0f} ms an image, "
                f"{found['memory_gib']:.1f} GiB"
            )

    def _evaluate(self, entry: Entry) -> None:
        self.workshop.settle(entry)
        shared = [self._forward(spec) for spec in entry.specs]
        spent = 0.0
        with CostMeter(self.device) as meter:
            for index, batch in enumerate(self.batches):
                self._outputs(entry.specs, batch)
                spent += score(self.workshop, entry, batch)[1] * (index >= self.warm)
        found = self.found[entry.method.label]
        found["network_ms"] = sum(milliseconds for milliseconds, _ in shared)
        found["method_ms"] = 1000 * spent / self.steps / len(self.batches[0])
        memory = [found.get("memory_gib", 0.0), meter.memory_gib, *(memory for _, memory in shared)]
        found["memory_gib"] = max(memory)

    def _forward(self, spec: NetworkSpec) -> tuple[float, float]:
        """Milliseconds per image and GiB of a network at all its test scales, segmentation of the image included."""
        if spec not in self.networks:
            spent = 0.0
            with CostMeter(self.device) as meter:
                for index, batch in enumerate(self.batches):
                    began = now(self.device)
                    self._outputs([spec], batch)
                    spent += (now(self.device) - began) * (index >= self.warm)
            self.networks[spec] = 1000 * spent / self.steps / len(self.batches[0]), meter.memory_gib
        return self.networks[spec]

    def _outputs(self, specs: Sequence[NetworkSpec], batch: Batch) -> None:
        with torch.no_grad():
            for spec in specs:
                self.pool.outputs(spec, batch.blind).prediction()

    def _attempt(self, entries: Sequence[Entry], what: str, work: Callable[[], object]) -> bool:
        """Do something on which rows depend; where it fails, keep and print why, and go on."""
        try:
            if time.monotonic() > self.deadline:
                raise BenchmarkError("not begun, the time was up")
            with products(self.device, self.machine.precision):  # a training sets its own
                work()
            return True
        except BaseException as error:  # whatever a plugin or the device raises
            sentence = f"{what}: {reason(error, self.device)}"
        for found in (self.found[entry.method.label] for entry in entries):
            found["error"] = "; ".join(filter(None, (found.get("error"), sentence)))
        self.say(f"{', '.join(entry.method.label for entry in entries)} {sentence}".strip())
        clear(self.device)
        return False


def _title(entry: Entry) -> str:
    options = entry.method.label.partition(":")[2]
    return (entry.method.title or entry.method.name) + (f" ({options})" if options else "")


def _trainings(entry: Entry) -> list[str]:
    """Titles of all trainings that a row needs."""
    networks = [spec.label for spec in dict.fromkeys(spec.checkpoint for spec in entry.specs)]
    own = [f"{entry.method.label} {task}" for task in entry.recipes] if entry.method.fitted else []
    return networks + own


def reduced(options: Options, size: tuple[int, int] = SIZE, images: int = 0) -> str:
    """In which way a measurement with these arguments of :func:`bench_costs` is not the whole one; else empty."""
    network = DATASETS.get(options.dataset).policy.shared or REFERENCE
    parts = [f"{size[1]}x{size[0]}"] if size != SIZE else []
    parts += [f"network {options.network}"] if options.network not in ("", network) else []
    parts += [f"{images} images"] if images else []
    parts += [f"{task}.{key}={value}" for task, fields in options.recipe.items() for key, value in fields.items()]
    return ", ".join(parts)
