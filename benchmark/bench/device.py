"""``python -m benchmark bench device``: what a machine gives and costs, in ten minutes and without any data.

Five parts, each with a share of the time, each measured and stored for itself: contracts of all methods and their
agreement with the CPU (:mod:`benchmark.bench.agreement`), the metrics beside scikit-learn's
(:mod:`benchmark.bench.metrics`), a step of every training and a batch of every row (:mod:`benchmark.bench.costs`), a
pass over encoded images (:mod:`benchmark.bench.pipeline`), and what the switches of speed are worth
(:mod:`benchmark.bench.switches`).
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.bench.agreement import bench_agreement
from benchmark.bench.costs import bench_costs
from benchmark.bench.metrics import SIZE as METRICS_SIZE
from benchmark.bench.metrics import metric_times
from benchmark.bench.pipeline import bench_pipeline
from benchmark.bench.stand_in import SIZE
from benchmark.bench.switches import bench_switches
from benchmark.errors import BenchmarkError, in_words
from benchmark.machine import PRECISIONS, Machine
from benchmark.networks import REHEARSAL
from benchmark.records.device import DeviceReport, Part, read_report
from benchmark.records.provenance import gather
from benchmark.registry import METHODS, load_plugin
from benchmark.run.options import Options, asked_methods, ranked_datasets, split_calls

SHARES = {"contracts": 0.35, "metrics": 0.05, "costs": 0.33, "pipeline": 0.13, "switches": 0.14}
"""Parts in their order, and the share of the time that each may take."""
GRACE = 60.0
"""Seconds after its time for which a part may finish what it has begun; then it is stopped."""
PIPELINE_METHODS = 4
"""Methods of the pass, the first of those that fit nothing and need the shared network alone."""
QUICK_SIZE = (36, 64)
"""(H, W) of the images of a trial."""
QUICK_BATCH = 2


@dataclass(frozen=True)
class Asked:
    """What was asked of ``bench device``.

    Attributes:
        methods: as for ``run``; empty is all, of a trial two.
        device: as for ``run``.
        minutes: for all parts together.
        quick: a trial at reduced size.
    """

    methods: str = ""
    device: str = "auto"
    minutes: float = 10.0
    quick: bool = False

    @property
    def calls(self) -> str:
        """The methods, as one types them."""
        return self.methods or (",".join(_quick_methods()) if self.quick else "all")


def parse_parts(text: str) -> list[str]:
    """``"costs,contracts"`` to parts in their order.

    Raises:
        BenchmarkError: there is no such part.
    """
    asked = [part.strip() for part in text.split(",")]
    for part in asked:
        if part not in SHARES:
            raise BenchmarkError(f"--parts {text}: there is no part '{part}'; there are {', '.join(SHARES)}.")
    return [part for part in SHARES if part in asked]


def empty_report(asked: Asked) -> DeviceReport:
    """The record of the machine before anything was measured."""
    device = Machine.choose(asked.device, progress=False).device
    made = gather(str(device))
    name = made.device if device.type == "cuda" else made.cpu
    return DeviceReport(device=name, reduced="a trial at reduced size" if asked.quick else "")


def measure_part(name: str, asked: Asked, say: Callable[[str], None] = print) -> DeviceReport:
    """One part in this process; what it raises is its error.

    Args:
        name: of :data:`SHARES`.
        asked: the rest of the command line.
        say: prints a line.
    """
    machine = Machine.choose(asked.device, progress=False)
    began = time.monotonic()
    deadline = began + 60 * asked.minutes * SHARES[name]
    report, error = empty_report(asked), ""
    try:
        found, error = _MEASURES[name](asked, machine, deadline, say)
        report = dataclasses.replace(report, **{name: found})
    except BaseException as raised:  # whatever a plugin or the device raises
        error = in_words(raised)
    made = gather(str(machine.device), machine.precision if name in ("costs", "switches") else "fp32")
    part = Part(round(time.monotonic() - began, 1), made, error)
    return dataclasses.replace(report, parts={name: part})


def measure_apart(
    names: Iterable[str], asked: Asked, plugins: Sequence[Path] = (), say: Callable[[str], None] = print
) -> Iterator[DeviceReport]:
    """Every part in a process of its own, so that one which kills the GPU's context, or itself, leaves the others.

    Args:
        names: of :data:`SHARES`.
        asked: as for :func:`measure_part`.
        plugins: files to be loaded first.
        say: prints a line; a function of a module.
    """
    context = multiprocessing.get_context("spawn")  # a GPU's context does not survive a fork
    for name in names:
        say(f"\n{name}")
        began, nothing = time.monotonic(), empty_report(asked)
        within = 60 * asked.minutes * SHARES[name] + GRACE
        with tempfile.TemporaryDirectory() as folder:
            process = context.Process(target=_measure_into, args=(Path(folder), name, asked, plugins, say))
            process.start()
            try:
                process.join(within)
                late = process.is_alive()
            finally:
                process.kill()
                process.join()
            if (path := nothing.path(Path(folder))).exists():
                yield read_report(path)
                continue
        ended = f"its process ended with code {process.exitcode} and without a result"
        made = gather(str(Machine.choose(asked.device, progress=False).device))
        part = Part(round(time.monotonic() - began, 1), made, f"stopped after {within:.0f} s" if late else ended)
        yield dataclasses.replace(nothing, parts={name: part})


def _measure_into(folder: Path, name: str, asked: Asked, plugins: Sequence[Path], say: Callable[[str], None]) -> None:
    for plugin in plugins:
        load_plugin(plugin)
    measure_part(name, asked, say).write(folder)


# Each of these gives what it found and why it is not all.


def _contracts(asked: Asked, machine: Machine, deadline: float, say: Callable[[str], None]) -> tuple[Any, str]:
    calls = split_calls(asked.calls, "common")
    # On a CPU there is nothing to compare with; that it agrees with itself shows that fits come back.
    precisions = PRECISIONS if machine.device.type == "cuda" else ("fp32",)
    rows = bench_agreement(calls, str(machine.device), precisions, say, deadline)
    left = calls[len(rows) :]
    return rows, f"the time was up before {', '.join(left)}" if left else ""


def _metrics(asked: Asked, machine: Machine, deadline: float, say: Callable[[str], None]) -> tuple[Any, str]:
    torch.set_num_threads(1)
    return metric_times(*((1, (90, 160)) if asked.quick else (3, METRICS_SIZE))), ""


def _costs(asked: Asked, machine: Machine, deadline: float, say: Callable[[str], None]) -> tuple[Any, str]:
    size = QUICK_SIZE if asked.quick else SIZE
    with tempfile.TemporaryDirectory() as folder:
        costs = bench_costs(_options(asked), Path(folder), size, 1 * asked.quick, 2 * asked.quick, say, deadline)
    broken = [one for one in (*costs.trainings, *costs.methods) if one.error]
    return costs, "; ".join(f"{one.title}: {one.error}" for one in broken)


def _pipeline(asked: Asked, machine: Machine, deadline: float, say: Callable[[str], None]) -> tuple[Any, str]:
    rest = {"images": 4, "rounds": 1} if asked.quick else {"images": 200}
    options = _options(dataclasses.replace(asked, methods="all"))
    size = QUICK_SIZE if asked.quick else SIZE
    methods = 1 if asked.quick else PIPELINE_METHODS
    return bench_pipeline(options, size, say=say, methods=methods, deadline=deadline, **rest), ""


def _switches(asked: Asked, machine: Machine, deadline: float, say: Callable[[str], None]) -> tuple[Any, str]:
    # In a trial nothing is compiled, and pretrained encoders, whose weights a machine may lack, are left out.
    options = dataclasses.replace(_options(asked), batch_size=QUICK_BATCH if asked.quick else 0)
    size = QUICK_SIZE if asked.quick else SIZE
    return bench_switches(options, size, 1 * asked.quick, say, deadline, compiles=not asked.quick), ""


_MEASURES = {
    "contracts": _contracts,
    "metrics": _metrics,
    "costs": _costs,
    "pipeline": _pipeline,
    "switches": _switches,
}


def _options(asked: Asked) -> Options:
    """For the parts that have a network: that of the dataset, whose files are not needed; of a trial a small one."""
    dataset = ranked_datasets()[0]
    small = {task: {"batch_size": QUICK_BATCH} for task in _tasks()} if asked.quick else {}
    return Options(
        **asked_methods(asked.calls, "paper"),
        dataset=dataset,
        network=REHEARSAL if asked.quick else "",
        recipe=small,
        device=asked.device,
        train_precision="auto",
        batch_size=QUICK_BATCH if asked.quick else 0,
    )


def _tasks() -> list[str]:
    found = {"segmentation"}
    for name in METHODS.available():
        found |= set(METHODS.get(name).recipes)
    return sorted(found)


def _quick_methods() -> list[str]:
    """The first method that fits nothing, and the first that gathers statistics and trains nothing."""
    methods = [METHODS.create(name) for name in METHODS.available()]
    plain = next(method for method in methods if not method.fitted and not method.recipes)
    gathers = next(method for method in methods if method.observes and not method.recipes)
    return [plain.name, gathers.name]
