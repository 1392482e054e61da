import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from training_toys import Blobs, Tiny, slow_training

from benchmark.cost_meter import out_of_memory
from benchmark.derived import Subset
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.training import Segmentation, Task, seeded, train


class Killed(Exception):
    """Stands for the end of the process."""


class Mortal(Segmentation):
    """Dies after the steps it is told to, and tracks its weights as TRADI does."""

    def __init__(self, network, classes, deaths=()):
        super().__init__(network, classes)
        self.deaths = list(deaths)
        self.register_buffer("mean", torch.zeros_like(network.last.weight))
        self.rates = []

    def after_step(self, step, lr):
        self.rates.append(lr)
        self.mean.mul_(0.9).add_(self.network.last.weight, alpha=0.1).sub_(self.network.last.weight.grad, alpha=lr)
        if step in self.deaths:
            raise Killed


def fresh(recipe, kind=Mortal, **keywords):
    with seeded(recipe):
        return kind(Tiny(), Blobs.card.classes, **keywords)


def run(task, recipe, machine, folder, images=12):
    return train(task, recipe, Blobs(images=images), Blobs("val", 4), machine, folder / "a.state", "blobs")


def same(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_it_learns(recipe, machine, tmp_path):
    recipe = recipe.changed({"epochs": 8, "scales": (32,), "max_size": 64})
    task = fresh(recipe)
    report = run(task, recipe, machine, tmp_path)
    first, last = report.history[0], report.history[-1]
    assert last["loss"] < 0.5 * first["loss"] and last["aux"] < 0.5 * first["aux"]
    assert report.validation["mIoU"] > 0.7 > first["validation"]["mIoU"]
    assert next(iter(report.validation)) == "mIoU"
    assert (report.steps, report.epochs, len(report.history), report.resumed) == (40, 8, 8, 0)
    assert not task.training
    assert task.rates[0] == recipe.lr and task.rates[-1] == pytest.approx(recipe.lr * (1 / 40) ** 0.9)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_killed_anywhere_it_ends_as_if_it_had_run_through(recipe, tmp_path, optimiser):
    recipe = recipe.changed({"optimiser": optimiser, "lr": 0.01, "scales": (16, 24, 32)})
    always = Machine(torch.device("cpu"), progress=False, save_every=-1)
    whole = fresh(recipe)
    expected = run(whole, recipe, Machine(torch.device("cpu"), progress=False), tmp_path / "whole")
    for deaths in ((0,), (4,), (3, 9, 14), tuple(range(15))):
        folder, last = tmp_path / f"{deaths[0]}-{len(deaths)}", None
        for death in (*deaths, None):
            task = fresh(recipe, deaths=[] if death is None else [death])
            try:
                last = run(task, recipe, always, folder)
                break
            except Killed:
                torch.rand(3)  # whatever the next session has drawn before
        assert same(task, whole)
        assert last.history == expected.history
        assert (last.loss, last.validation) == (expected.loss, expected.validation)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("began", [True, None])
def test_a_state_goes_on_with_the_kernels_of_this_machine(recipe, tmp_path, optimiser, began):
    """As on a GPU, whose optimisers are fused, after a CPU, and the other way round."""

    class Elsewhere(Mortal):
        fused = None

        def optimisers(self, recipe):
            self.made = super().optimisers(recipe)
            for made in self.made:
                for group in made.param_groups:
                    group["fused"] = self.fused
            return self.made

    recipe = recipe.changed({"optimiser": optimiser, "lr": 0.01})
    machine = Machine(torch.device("cpu"), progress=False, save_every=-1)
    first, then, whole = fresh(recipe, Elsewhere, deaths=[6]), fresh(recipe, Elsewhere), fresh(recipe)
    first.fused, then.fused = began, None if began else True
    with pytest.raises(Killed):
        run(first, recipe, machine, tmp_path)
    assert run(then, recipe, machine, tmp_path).resumed == 1
    assert {group["fused"] for made in then.made for group in made.param_groups} == {then.fused}
    run(whole, recipe, machine, tmp_path / "whole")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(then.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_death_between_two_states_loses_steps_but_not_the_result(recipe, machine, tmp_path):
    class Sometimes(Mortal):
        def after_step(self, step, lr):
            # A state is written after a step during which the interval has run out: here the sixth and the twelfth.
            if step in (5, 11):
                self.settings_clock[0] += 1e9
            super().after_step(step, lr)

    clock = [0.0]
    real = time.perf_counter
    whole = fresh(recipe)
    run(whole, recipe, machine, tmp_path / "whole")
    patch = pytest.MonkeyPatch()
    patch.setattr("benchmark.training.loop.time.perf_counter", lambda: real() + clock[0])
    try:
        for death in (2, 8, 13, None):
            task = fresh(recipe, Sometimes, deaths=[] if death is None else [death])
            task.settings_clock = clock
            if death is None:
                report = run(task, recipe, machine, tmp_path)
            else:
                with pytest.raises(Killed):
                    run(task, recipe, machine, tmp_path)
    finally:
        patch.undo()
    assert same(task, whole)
    assert report.resumed == 2


def test_after_kill_9_the_next_process_ends_bit_for_bit_the_same(tmp_path):
    script = "import sys, pathlib, training_toys; training_toys.slow_training(pathlib.Path(sys.argv[1]), 0.5)"
    home = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home.parents[1]), str(home)])}
    victim = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment)
    state, deadline = tmp_path / "a.state", time.monotonic() + 90
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.8)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL

    threads = torch.get_num_threads()
    try:
        survivor, report = slow_training(tmp_path, 0)
        whole, expected = slow_training(tmp_path / "whole", 0)
    finally:
        torch.set_num_threads(threads)
    assert (report.resumed, expected.resumed) == (1, 0)
    assert same(survivor, whole)
    assert report.history == expected.history


def test_a_finished_training_is_not_repeated(recipe, machine, tmp_path):
    first = fresh(recipe)
    report = run(first, recipe, machine, tmp_path)
    second = fresh(recipe, deaths=range(100))
    assert run(second, recipe, machine, tmp_path) == report
    assert same(first, second)


def test_members_are_other_networks(recipe, machine, tmp_path):
    tasks = []
    for number, changes in enumerate(({"member": 2}, {"seed": recipe.seed + 2}, {})):
        changed = dataclasses.replace(recipe, **changes)
        tasks.append(fresh(changed))
        run(tasks[-1], changed, machine, tmp_path / str(number))
    assert same(tasks[0], tasks[1])
    assert not same(tasks[0], tasks[2])


@pytest.mark.parametrize("what", ["recipe", "data", "precision", "truncated", "rubbish"])
def test_a_state_that_does_not_fit_is_refused_in_a_sentence(recipe, tmp_path, what, capsys):
    talkative = Machine(torch.device("cpu"), progress=True, save_every=-1)
    with pytest.raises(Killed):
        run(fresh(recipe, deaths=[7]), recipe, talkative, tmp_path)
    state = tmp_path / "a.state"
    images = 12
    if what == "recipe":
        recipe = recipe.changed({"lr": 0.02})
    elif what == "data":
        images = 11
    elif what == "precision":
        talkative = dataclasses.replace(talkative, precision="bf16")
    elif what == "truncated":
        state.write_bytes(state.read_bytes()[:-500])
    else:
        state.write_bytes(b"rubbish")
    capsys.readouterr()
    task, anew = fresh(recipe), fresh(recipe)
    report = run(task, recipe, talkative, tmp_path, images)
    text = capsys.readouterr().err
    assert "a.state" in text and "starts anew" in text
    run(anew, recipe, talkative, tmp_path / "anew", images)
    assert report.resumed == 0 and same(task, anew)


def test_a_log_gets_a_line_per_tenth(recipe, tmp_path, capsys):
    run(fresh(recipe), recipe.changed({"epochs": 20}), Machine(torch.device("cpu")), tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if " %" in line]
    assert len(lines) == 10
    assert "blobs: 50 %, epoch 11/20, loss" in lines[4] and "mIoU" in lines[4] and "left" in lines[4]


def test_a_loss_that_is_no_number_names_training_step_and_mend(recipe, machine, tmp_path):
    class Explodes(Mortal):
        def loss(self, batch):
            losses = super().loss(batch)
            return {**losses, "loss": losses["loss"] * (float("nan") if len(self.rates) == 6 else 1)}

    with pytest.raises(BenchmarkError, match=r"^blobs: the loss became nan in step 7 of 15; lower 'lr'"):
        run(fresh(recipe, Explodes), recipe, machine, tmp_path)
    assert not (tmp_path / "a.state").exists()


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (3, r"^blobs: a step on 3 images does not fit .* the record says .* --recipe segmentation\.batch_size=1, and"),
        (1, r"^blobs: training on one image does not fit into the memory"),
    ],
)
def test_a_step_that_does_not_fit_is_not_made_another_one_without_a_word(recipe, machine, tmp_path, images, sentence):
    class Greedy(Mortal):
        def loss(self, batch):
            if len(self.rates) == 6:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().loss(batch)

    recipe = recipe.changed({"batch_size": images})
    with pytest.raises(BenchmarkError, match=sentence) as caught:
        run(fresh(recipe, Greedy), recipe, machine, tmp_path)
    assert out_of_memory(caught.value)


def test_validation_that_does_not_fit_goes_on_in_halves_and_measures_the_same(recipe, machine, tmp_path, capsys):
    class Greedy(Mortal):
        def validate(self, batches):
            def few():
                for batch in batches:
                    if len(batch) > 1:
                        raise RuntimeError("CUDA error: out of memory")
                    yield batch

            return super().validate(few())

    usual = run(fresh(recipe), recipe, machine, tmp_path)
    (tmp_path / "a.state").unlink()
    report = run(fresh(recipe, Greedy), recipe, machine, tmp_path)
    assert report.validation == pytest.approx(usual.validation) and report.loss == usual.loss
    said = [line for line in capsys.readouterr().err.splitlines() if "validating" in line]
    assert [[int(word) for word in re.findall(r"\d+", line)] for line in said] == [[3, 2], [2, 1]]


def test_two_optimisers_keep_their_ratio_under_the_schedule(recipe, machine, tmp_path):
    class Gan(Task):
        def __init__(self):
            super().__init__()
            self.fake, self.judge = nn.Linear(1, 1), nn.Linear(1, 1)
            self.seen = []

        def optimisers(self, recipe):
            return [
                torch.optim.Adam(self.fake.parameters(), recipe.lr),
                torch.optim.Adam(self.judge.parameters(), 4 * recipe.lr),
            ]

        def loss(self, batch):
            raise AssertionError("step is overridden")

        def step(self, batch, optimisers):
            self.seen.append([o.param_groups[0]["lr"] for o in optimisers])
            losses = []
            for optimiser, sign in zip(optimisers, (1, -1)):
                optimiser.zero_grad()
                loss = sign * self.judge(self.fake(torch.rand(4, 1))).mean()
                loss.backward()
                optimiser.step()
                losses.append(loss.detach())
            return {"loss": losses[0], "judge": losses[1]}

    task = Gan()
    report = train(task, recipe, Blobs(), None, machine, tmp_path / "gan.state", "gan")
    assert all(judge == pytest.approx(4 * fake) for fake, judge in task.seen)
    assert task.seen[-1][0] < task.seen[0][0] == recipe.lr
    assert "judge" in report.history[0] and report.validation == {}


def test_long_trainings_are_validated_about_twenty_times_and_at_the_end(recipe, machine, tmp_path):
    recipe = recipe.changed({"epochs": 50, "steps_per_epoch": 1})
    report = run(fresh(recipe), recipe, machine, tmp_path)
    validated = [entry["epoch"] for entry in report.history if "validation" in entry]
    assert validated == [*range(3, 50, 3), 50]


def test_no_images_is_an_error(recipe, machine, tmp_path):
    with pytest.raises(BenchmarkError, match="no images"):
        train(fresh(recipe), recipe, Subset(Blobs(), 0), None, machine, tmp_path / "a.state", "blobs")
