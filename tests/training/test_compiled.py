"""``--compile``: the same training up to rounding, never where something looks inside, and the record says so."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_toys import Blobs, Tiny

from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.run.command import training_again
from benchmark.run.options import Options
from benchmark.training import Segmentation, Task, compiled, seeded, train
from benchmark.training.compiled import Compiled, check_compiler
from benchmark.training.state import identity


@pytest.fixture
def plain_backend(monkeypatch):
    """torch.compile without a code generator: what is traced runs operation by operation."""
    monkeypatch.setattr(compiled, "BACKEND", "eager")


def machine(wanted=True, **more):
    return Machine(torch.device("cpu"), progress=False, compiled=wanted, **more)


def fresh(recipe, kind=Segmentation):
    with seeded(recipe):
        return kind(Tiny(), Blobs.card.classes)


def trained(recipe, folder, kind=Segmentation, **more):
    task = fresh(recipe, kind)
    return task, train(task, recipe, Blobs(), Blobs("val", 4), machine(**more), folder / "a.state", "blobs")


def test_compiled_code_learns_the_same_up_to_rounding(recipe, tmp_path):
    """By the real compiler, dropout included."""
    try:
        check_compiler(torch.device("cpu"))
    except BenchmarkError as error:
        pytest.skip(str(error))
    recipe = recipe.changed({"epochs": 2, "scales": (16,)})
    task, report = trained(recipe, tmp_path)
    other, plain = trained(recipe, tmp_path / "plain", wanted=False)
    assert (report.compiled, plain.compiled) == (True, False)
    assert report.loss == pytest.approx(plain.loss, rel=1e-4)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(task.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_training_sets_nothing_that_plugins_share_once_the_compiler_was_looked_for(tmp_path):
    """In a process of its own, in which nothing was compiled before."""
    script = """
import sys, torch
sys.path[:0] = sys.argv[1:2]
from pathlib import Path
from training_toys import Blobs, Tiny
from benchmark.errors import BenchmarkError
from benchmark.isolation.settings import settings_kept
from benchmark.machine import Machine
from benchmark.recipe import Recipe
from benchmark.training import Segmentation, seeded, train
from benchmark.training.compiled import check_compiler
try:
    check_compiler(torch.device("cpu"))
except BenchmarkError as error:
    sys.exit(f"skip {error}")
recipe = Recipe(epochs=1, steps_per_epoch=1, batch_size=2, scales=(16,))
with settings_kept("the training"):
    with seeded(recipe):
        task = Segmentation(Tiny(), Blobs.card.classes)
    machine = Machine(torch.device("cpu"), progress=False, compiled=True)
    report = train(task, recipe, Blobs(), None, machine, Path(sys.argv[2]), "blobs")
assert report.compiled
"""
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", script, str(here), str(tmp_path / "a.state")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    if done.stderr.startswith("skip"):
        pytest.skip(done.stderr[5:])
    assert done.returncode == 0, done.stderr


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_compiled_training_that_was_killed_says_so_at_the_end(recipe, tmp_path, plain_backend):
    class Mortal(Segmentation):
        def after_step(self, step, lr):
            if self.mortal and step == 7:
                raise Killed

    Mortal.mortal = True
    with pytest.raises(Killed):
        trained(recipe, tmp_path, Mortal, save_every=-1)
    Mortal.mortal = False
    task, report = trained(recipe, tmp_path, Mortal)
    whole, expected = trained(recipe, tmp_path / "whole", Mortal)
    assert report.resumed == 1 and report.compiled and report.history == expected.history
    assert all(torch.equal(a, b) for a, b in zip(task.state_dict().values(), whole.state_dict().values(), strict=True))
    _, later = trained(recipe, tmp_path, Mortal, wanted=False)
    assert later.resumed == 0 and not later.compiled, "a state of compiled steps is no state of others"


def test_only_the_steps_are_compiled_and_nothing_stays(recipe, tmp_path, plain_backend, monkeypatch):
    traced = []

    class Looked(Segmentation):
        def loss(self, batch):
            traced.append(self.network.training)
            copied = copy.deepcopy(self.network)
            assert copied._compiled_call_impl is None and self.network._compiled_call_impl is not None
            return super().loss(batch)

        def validate(self, batches):
            assert self.network._compiled_call_impl is None
            return super().validate(batches)

        def after_step(self, step, lr):
            assert self.network._compiled_call_impl is None

    task, report = trained(recipe.changed({"epochs": 1}), tmp_path, Looked)
    assert report.compiled and len(traced) == report.steps
    assert task.network._compiled_call_impl is None and type(pickle.loads(pickle.dumps(task.network))) is Tiny


@pytest.mark.parametrize("where", ["hook of a layer", "gradients of a layer", "hook of all modules", "taps"])
def test_whatever_looks_into_a_network_finds_it_as_it_is(recipe, plain_backend, where):
    network, seen = Tiny(), []

    def forward(inputs, taps=()):
        with compiling():
            return network(inputs, taps)

    compiling = Compiled(torch.nn.ModuleList([network]), True, "toy")
    inputs = torch.rand(2, 3, 16, 16)
    forward(inputs)
    assert compiling.ran
    compiling.ran = False
    hooks = {
        "hook of a layer": lambda: network.stem[1].register_forward_hook(lambda *_: seen.append(0)),
        "gradients of a layer": lambda: network.last.register_full_backward_hook(lambda *_: seen.append(0)),
        "hook of all modules": lambda: torch.nn.modules.module.register_module_forward_hook(lambda *_: seen.append(0)),
    }
    if where == "taps":
        forward(inputs, ("logits",))
    else:
        handle = hooks[where]()
        forward(inputs)["logits"].sum().backward()
        handle.remove()
        assert seen, where
    assert not compiling.ran
    forward(inputs)
    assert compiling.ran


def test_gradients_reach_the_images_and_weights_may_be_changed_in_between(plain_backend):
    network = Tiny().eval()
    compiling = Compiled(torch.nn.ModuleList([network]), True, "toy")
    inputs = torch.rand(2, 3, 16, 16, requires_grad=True)
    for _ in range(2):
        with compiling():
            (found,) = torch.autograd.grad(network(inputs)["logits"].square().sum(), inputs)
        (expected,) = torch.autograd.grad(network(inputs)["logits"].square().sum(), inputs)
        torch.testing.assert_close(found, expected)
        with torch.no_grad():
            network.last.weight.mul_(3)
    assert compiling.ran


def test_a_task_without_networks_has_nothing_to_compile(recipe, tmp_path):
    class Linear(Task):
        def __init__(self):
            super().__init__()
            self.slope = torch.nn.Linear(1, 1)

        def loss(self, batch):
            return self.slope(batch.images.float().mean().view(1, 1) / 255).square().mean()

    with seeded(recipe):
        task = Linear()
    report = train(task, recipe, Blobs(), None, machine(), tmp_path / "a.state", "line")
    assert not report.compiled and not Compiled(task, True, "line")
    marks = {identity(task, recipe, Blobs(), None, "fp32", bool(Compiled(task, wanted, ""))) for wanted in (0, 1)}
    assert len(marks) == 1, "its state goes on with and without"


def test_what_cannot_be_compiled_is_named_with_the_option_that_mends(recipe, tmp_path, plain_backend, monkeypatch):
    monkeypatch.setattr(compiled, "SIZES", 1)
    with pytest.raises(BenchmarkError, match=r"^blobs: torch.compile fails here \(.+\); train without --compile\.$"):
        trained(recipe.changed({"scales": (16, 24, 32)}), tmp_path)


def test_without_a_compiler_it_is_refused_before_anything_is_trained(bench, monkeypatch):
    monkeypatch.setenv("CXX", "nothing-of-that-name")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("nothing-of-that-name",))
    assert bench("run", "--methods", "msp", "--compile", "--device", "cpu") == 2
    assert "--compile: PyTorch finds no C++ compiler; install one" in bench.err
    monkeypatch.setattr("benchmark.distributed.world", lambda: 2)
    with pytest.raises(BenchmarkError, match="--compile: several processes share a network's forwards"):
        check_compiler(torch.device("cpu"))


def test_the_record_says_what_was_compiled(bench, plain_backend, monkeypatch):
    """The network was, and what is fitted to it without a network of its own was not; the evaluation never is."""
    monkeypatch.setattr("benchmark.training.compiled.check_compiler", lambda device: None)
    assert bench("run", "--methods", "dicnet", "--compile", "--device", "cpu") == 0, bench.err
    record = bench.record("dicnet")
    assert record["network"]["trained"]["compiled"] is True
    assert "compiled" not in record["method"]["fit"] and "compiled" not in record["provenance"]
    assert bench("run", "--methods", "dicnet", "--device", "cpu") == 0
    assert "current" in bench.out, "as with another arithmetic, what is trained stays"


def test_the_command_that_trains_again_compiles():
    assert training_again(Options(dataset="toy", compile=True)).endswith("--dataset toy --compile")
    assert "--compile" not in training_again(Options(dataset="toy"))
