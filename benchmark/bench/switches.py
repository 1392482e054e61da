"""``python -m benchmark bench switches``: what each switch of speed is worth on this device, in one run.

Ways of making the same training step, and the same forward of a trained network, take turns on one batch, and each is
compared with what ``train`` and ``run`` do. That decides what is switched on, what is an option, and what is not built.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmark.bench.stand_in import SIZE, StandIn
from benchmark.bench.step_timer import reason
from benchmark.cost_meter import clear, now, out_of_memory
from benchmark.data import Batch
from benchmark.errors import BenchmarkError
from benchmark.io.memory import given_back
from benchmark.machine import PRECISIONS, Machine, arithmetic, caution, check_precision, products
from benchmark.network import Network
from benchmark.networks import build_network
from benchmark.records.device import Switch, Switches
from benchmark.registry import DATASETS
from benchmark.run.options import Options
from benchmark.run.setup import Setup, assemble
from benchmark.training import Segmentation, seeded
from benchmark.training.compiled import Compiled, check_compiler
from benchmark.training.loader import training_batches
from benchmark.training.schedule import seed_step

USUAL = "as it is"
"""The way that train, or run, takes."""
ROUNDS = {"cuda": 10}
"""Of which every way makes one step each, by device; on a CPU three."""
UNLIKE = 1e-3
"""Relative difference of logits from which a network with folded normalisation is another one."""


class _Way:
    """One way to do the work.

    Args:
        name: of the way.
        work: gives what is compared, a number or a tensor.
    """

    def __init__(self, name: str, work: Callable[[int], Tensor]) -> None:
        self.name, self.work = name, work
        self.first: float | None = None  # seconds of the first time, on the clock
        self.took: list[float] = []
        self.error = ""


def bench_switches(
    options: Options,
    size: tuple[int, int] = SIZE,
    rounds: int = 0,
    say: Callable[[str], None] = print,
    deadline: float = math.inf,
    compiles: bool = True,
) -> Switches:
    """Time a step of the shared network's training, its forward, and the preparation of a batch.

    Args:
        options: dataset, network, recipe, device, training precision, workers, and the batch size of a step.
        size: (H, W) of the images; smaller ones shrink scales and crops with them.
        rounds: timed steps of every way; 0 chooses by device.
        say: prints a line.
        deadline: time on :func:`time.monotonic` from which no further way and no further round begins; one is made.
        compiles: whether ``torch.compile`` is tried, which takes minutes.
    """
    machine = Machine.choose(options.device, options.train_precision, options.workers, progress=False)
    like = DATASETS.get(options.dataset)
    splits = [StandIn(like, split, size) for split in ("test", "train", "val")]
    if options.batch_size:
        fields = {**options.recipe.get("segmentation", {}), "batch_size": options.batch_size}
        options = dataclasses.replace(options, recipe={**options.recipe, "segmentation": fields})
    setup = assemble(dataclasses.replace(options, train_precision=machine.precision, progress=False), *splits)
    recipe = dataclasses.replace(setup.base.recipe, scales=setup.base.recipe.scales[:1])
    with seeded(recipe):
        network = build_network(setup.base.arch, setup.base.classes, dict(setup.base.options), initial=False)
    batches = training_batches(setup.train, recipe, machine, 0, 1, network.stride)
    batch = next(iter(batches))
    rounds = rounds or ROUNDS.get(machine.device.type, 3)
    steps = _Steps(setup, network, batch, machine, recipe)
    training = _in_turns(list(steps.ways(compiles)), machine.device, rounds, say, deadline)
    forward = _in_turns(list(_forwards(network, batch, machine)), machine.device, rounds, say, deadline)
    forward = [
        Switch(one.name, error="gives other logits") if (one.difference or 0.0) > UNLIKE else one for one in forward
    ]
    return Switches(
        network=setup.base.arch,
        device=str(machine.device),
        precision=machine.precision,
        optimiser=recipe.optimiser,
        size=list(batch.size),
        batch_size=len(batch),
        rounds=rounds,
        workers=machine.workers,
        loading=_loading(setup, recipe, machine, network.stride, rounds),
        training=training,
        forward=forward,
    )


class _Steps:
    """Ways to make a training step, each with a copy of the network and an optimiser of its own."""

    def __init__(self, setup: Setup, network: Network, batch: Batch, machine: Machine, recipe: Any) -> None:
        self.classes, self.network, self.batch = setup.train.classes, network, batch
        self.machine, self.recipe = machine, recipe

    def ways(self, compiles: bool) -> Iterator[_Way]:
        """The usual one first."""
        usual, device = self.machine.precision, self.machine.device
        yield self._way(USUAL)
        yield self._way("weights and maps channel by channel (NCHW)", layout=torch.contiguous_format)
        for kernels in ("fused", "foreach", "one weight after the other"):
            if kernels != ("fused" if device.type == "cuda" else "one weight after the other"):
                yield self._way(f"optimiser {kernels}", kernels=kernels)
        with given_back() as can:
            pass
        if can and device.type == "cpu":
            yield self._way("freed memory given back", around=given_back)
        for precision in PRECISIONS:
            if precision != usual and _computes(device, precision):
                yield self._way(f"--train-precision {precision}", precision=precision)
        compiling = self._way("--compile", compiled=True)  # last, since it takes longest
        try:
            if not compiles:
                raise BenchmarkError("not tried")
            check_compiler(device)
        except BenchmarkError as error:
            compiling.error = str(error)
        yield compiling

    def _way(
        self,
        name: str,
        layout: torch.memory_format = torch.channels_last,
        kernels: str = "",
        precision: str = "",
        compiled: bool = False,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> _Way:
        recipe, made = self.recipe, []
        machine = dataclasses.replace(self.machine, precision=precision or self.machine.precision, compiled=compiled)

        def begin() -> tuple[Segmentation, list[torch.optim.Optimizer], Compiled]:
            task = Segmentation(copy.deepcopy(self.network), self.classes)
            task.machine, task.recipe = machine, recipe
            task.to(device=machine.device, memory_format=layout).train()
            optimisers = task.optimisers(recipe)
            for group in (group for optimiser in optimisers for group in optimiser.param_groups):
                if kernels:
                    group.update(fused=kernels == "fused", foreach=kernels == "foreach")
            return task, optimisers, Compiled(task, compiled, name)

        def work(step: int) -> Tensor:
            if not made:
                made.append(begin())
            task, optimisers, compiling = made[0]
            exact = products(machine.device, machine.precision, repeatable=True)
            with exact, around(), seeded(recipe):
                seed_step(recipe, step)
                with compiling():
                    return task.step(self.batch, optimisers)["loss"]

        return _Way(name, work)


def _forwards(network: Network, batch: Batch, machine: Machine) -> Iterator[_Way]:
    """Ways to make a forward of an evaluation."""

    def way(name: str, make: Callable[[], Network], around: Callable[[], Any] = nullcontext) -> _Way:
        made: list[Network] = []

        def work(step: int) -> Tensor:
            if not made:
                made.append(make().eval().requires_grad_(False).to(machine.device, memory_format=torch.channels_last))
            with torch.no_grad(), arithmetic(machine.device, "fp32"), around():
                return made[0].segment(batch.images).logits

        return _Way(name, work)

    yield way(USUAL, lambda: copy.deepcopy(network))
    yield way("batch normalisation folded into convolutions", lambda: folded(network))
    with given_back() as can:
        pass
    if can and machine.device.type == "cpu":
        yield way("freed memory given back", lambda: copy.deepcopy(network), given_back)


def folded(network: Network) -> Network:
    """A copy in eval mode whose convolutions do what the batch normalisation after them did.

    Taken for such a pair are neighbours of one parent, and what the normalisation holds itself (timm's activations)
    stays. Whether that was right, only the logits can tell.
    """
    made = copy.deepcopy(network).eval()
    for parent in list(made.modules()):
        children = list(parent.named_children())
        for (first, convolution), (second, norm) in pairwise(children):
            if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                continue
            if convolution.out_channels == norm.num_features:
                setattr(parent, first, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, second, nn.Sequential(*norm.children()))
    return made


def _in_turns(
    ways: list[_Way], device: torch.device, rounds: int, say: Callable[[str], None], deadline: float
) -> list[Switch]:
    """Every way once to warm up, then once in each round; the first is what the others are compared with."""
    usual, differences = ways[0], dict.fromkeys((way.name for way in ways), 0.0)
    expected: list[Tensor] = []

    def attempt(way: _Way, step: int) -> None:
        began, clock = _seconds(device), time.perf_counter()
        try:
            found = way.work(step).detach().float().cpu()
        except Exception as error:
            if way is usual or not (isinstance(error, BenchmarkError) or out_of_memory(error)):
                raise
            way.error = reason(error, device)
            clear(device)
            return
        took = _seconds(device) - began
        if way is usual:
            expected.append(found)
        if step:
            way.took.append(took)
        else:
            way.first = time.perf_counter() - clock
        size = max(float(expected[step].abs().max()), 1e-12)
        differences[way.name] = max(differences[way.name], float((found - expected[step]).abs().max()) / size)

    for way in ways:
        if not way.error and way is not usual and time.monotonic() > deadline:
            way.error = "not begun, the time was up"
        if not way.error:
            attempt(way, 0)
            say(f"{way.name}: {way.error or f'{way.first:.1f} s the first time'}")
    for step in range(1, rounds + 1):
        if step > 1 and time.monotonic() > deadline:
            break
        for way in ways:
            if not way.error:
                attempt(way, step)
    return [_switch(way, usual, differences[way.name]) for way in ways]


def _switch(way: _Way, usual: _Way, difference: float) -> Switch:
    if way.error:
        return Switch(way.name, error=way.error)
    ratios = [mine / other for mine, other in zip(usual.took, way.took, strict=True)]
    return Switch(way.name, 1000 * median(way.took), median(ratios), difference, way.first)


def _seconds(device: torch.device) -> float:
    """On a CPU those of all threads of the process, which other work on the machine does not lengthen."""
    return now(device) if device.type == "cuda" else time.process_time()


def _computes(device: torch.device, precision: str) -> bool:
    try:
        check_precision(device, precision)
    except BenchmarkError:
        return False
    return not caution(device, precision)


def _loading(setup: Setup, recipe: Any, machine: Machine, stride: int, rounds: int) -> float:
    """Milliseconds on the clock in which a batch of a training is read, augmented and brought to the device."""
    batches = training_batches(setup.train, recipe, machine, 0, machine.workers + 2 + rounds, stride)
    for _ in range(machine.workers + 1):  # which fills the queue
        next(batches)
    began = now(machine.device)
    count = sum(1 for _ in batches)
    return 1000 * (now(machine.device) - began) / count


def terminal(found: Switches) -> str:
    """The tables, and what they say."""
    from tabulate import tabulate

    heads = ("ms", "times faster", "difference", "first, s")

    def table(title: str, switches: list[Switch]) -> str:
        lines = [
            (
                one.name,
                f"{one.milliseconds:.2f}",
                f"{one.times_faster:.2f}",
                f"{one.difference:.1e}",
                f"{one.first:.1f}",
            )
            if not one.error
            else (one.name, one.error, "", "", "")
            for one in switches
        ]
        return tabulate(lines, (title, *heads), colalign=("left", *["right"] * 4), disable_numparse=True)

    height, width = found.size
    clock = "on the clock" if found.device != "cpu" else "of CPU time"
    return (
        f"{table('training step', found.training)}\n\n{table('forward (fp32)', found.forward)}\n\n"
        f"{found.network} with random weights, {found.batch_size} images of {width}x{height}, {found.precision}, "
        f"{found.optimiser}, on {found.device}; milliseconds {clock}, medians of {found.rounds} rounds in which all "
        f"take turns. Difference: largest of the loss (of the logits), relative. Reading and augmenting a batch takes "
        f"{found.loading:.0f} ms on the clock with {found.workers} threads{found.limit and ': '}{found.limit}."
    )
