"""What a kill, a full disk, Ctrl-C or an image that cannot be read leaves behind, and what the next run makes of it."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from faulty import Fault, full_disk
from harness import FAILING, measured
from own_networks import record, run

from benchmark.io import atomic
from benchmark.machine import Machine
from benchmark.run.journal import Journal
from benchmark.training import Segmentation
from benchmark.training.loop import _Run
from benchmark.weights.store import WeightsStore
from tests.datasets.files import noise, write

RUN = ["run", "--methods", "msp,energy"]
AGAIN = r"measured again"


def half_done(bench):
    """A pass that stopped at the third of four images; its state, and what it will come to."""

    def make():
        assert bench(*RUN) == 0
        reference = [(measured(bench.record(m)), bench.rows(m)) for m in ("msp", "energy")]
        for path in (bench.runs / "records").rglob("*.*"):
            path.unlink()
        (bench.data / "damaged").write_text("2")
        assert bench(*RUN) == 2
        (bench.data / "damaged").unlink()
        return reference

    bench.reference = bench.once("a pass half done", make)
    (path,) = (bench.runs / "partial").iterdir()
    return path


def states_that(write_over):
    """Arranges a half-done pass whose state is written over."""

    def arrange(bench):
        write_over(half_done(bench))

    return arrange


def counted(**numbers):
    """Overwrites numbers of a state, as the suite itself would have written them."""

    def write_over(path):
        state = Journal(path).read()
        state["numbers"] |= numbers
        Journal(path).write(state)

    return states_that(write_over)


def arrays(change):
    """Edits the arrays of a state behind the suite's back."""

    def write_over(path):
        with np.load(path) as archive:
            kept = dict(archive)
        change(kept)
        np.savez(path, **kept)

    return states_that(write_over)


def without(*parts):
    def change(kept):
        for key in [key for key in kept if key.startswith(parts)]:
            del kept[key]

    return arrays(change)


def add_hits(kept):
    """A hundred more pixels than were seen."""
    key = next(key for key in kept if key.startswith("methods/msp") and kept[key].dtype == np.int64)
    kept[key] = kept[key] + 100


def older(kept):
    """As states were before they named the records and had a seal."""
    del kept["seal|"], kept["records|"]


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def all_measured(bench):
    """Every image counts once and the numbers are those of an undisturbed run; nothing is left behind."""
    assert [(measured(bench.record(m)), bench.rows(m)) for m in ("msp", "energy")] == bench.reference
    assert bench.record("msp")["dataset"]["images"] == 4
    assert not list((bench.runs / "partial").iterdir())


def none(path):
    path.write_bytes(b"")


STATES = [
    Fault("done is a billion", counted(done=10**9), RUN, AGAIN, 0, all_measured),
    Fault("done is one too many", counted(done=3), RUN, AGAIN, 0, all_measured),
    Fault("done is one too few", counted(done=1), RUN, AGAIN, 0, all_measured),
    Fault("done is negative", counted(done=-1), RUN, AGAIN, 0, all_measured),
    Fault("done is text", counted(done="2"), RUN, AGAIN, 0, all_measured),
    Fault("done is true", counted(done=True), RUN, AGAIN, 0, all_measured),
    Fault("pixels are missing", counted(valid=None), RUN, AGAIN, 0, all_measured),
    Fault("seconds are text", counted(seconds={"msp": "long"}), RUN, AGAIN, 0, all_measured),
    Fault("an evaluator is missing", without("methods/energy"), RUN, AGAIN, 0, all_measured),
    Fault("the segmentation is missing", without("segmentation"), RUN, AGAIN, 0, all_measured),
    Fault("the numbers are missing", without("numbers"), RUN, AGAIN, 0, all_measured),
    Fault("the marks are missing", without("marks"), RUN, AGAIN, 0, all_measured),
    Fault("a count was edited", arrays(add_hits), RUN, AGAIN, 0, all_measured),
    Fault("an older layout", arrays(older), RUN, AGAIN, 0, all_measured),
    Fault("nothing in it", states_that(none), RUN, AGAIN, 0, all_measured),
    Fault("text", states_that(lambda path: path.write_text("images = 2")), RUN, AGAIN, 0, all_measured),
    Fault("one array", states_that(lambda path: np.save(path.open("wb"), np.zeros(3))), RUN, AGAIN, 0, all_measured),
    Fault(
        "lists without end",
        arrays(lambda kept: kept.update({"numbers|": np.array("[" * 100_000)})),
        RUN,
        AGAIN,
        0,
        all_measured,
    ),
    Fault("a pipe", states_that(pipe), RUN, "", 0, all_measured),
    Fault("sound", states_that(lambda path: None), RUN, "goes on after 2 of 4 images", 0, all_measured),
]


@pytest.mark.parametrize("fault", STATES, ids=str)
def test_states_of_an_evaluation(bench, fault):
    fault.meet(bench)


# An image that cannot be read costs only itself.


def test_a_truncated_image_costs_only_itself(roads, forwards):
    assert run(roads) == 0
    reference = record(roads)
    assert run(roads, "--force") == 0
    image = roads.data / "anomaly_val/RoadAnomaly/images/1.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    assert run(roads, "--force") == 2 and "1.jpg" in roads.err and "Traceback" not in roads.err
    image.write_bytes(whole)
    forwards.clear()
    assert run(roads, "--force") == 0
    assert "goes on after 1 of 2 images" in roads.out and len(forwards) == 1
    assert measured(record(roads)) == measured(reference)


def test_an_image_that_was_replaced_after_it_was_seen_is_seen_again(roads, forwards):
    image = roads.data / "anomaly_val/RoadAnomaly/images/1.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    assert run(roads) == 2
    image.write_bytes(whole)
    write(image.with_name("0.jpg"), noise(7, size=(24, 40)))
    forwards.clear()
    assert run(roads) == 0
    assert "The images that were evaluated have changed since; all images are measured again." in roads.out
    assert len(forwards) == 2
    found = record(roads)
    assert run(roads, "--force") == 0 and measured(record(roads)) == measured(found)


def test_images_that_change_while_they_are_evaluated(bench):
    bench.plugin("meddler", f'''
        from benchmark.method import Method

        class Meddler(Method):
            def score(self, batch, networks):
                open({str(bench.data / "edition")!r}, "w").write("2")
                return networks["base"](batch).logits()[:, 0]
        ''')  # fmt: skip
    assert bench("run", "--methods", "meddler") == 2
    assert "The images of town were changed while they were evaluated; give the command again." in bench.err
    assert not bench.records()
    assert bench("run", "--methods", "meddler") == 0


# A full disk.


def nothing(bench):
    pass


def weights(bench):
    assert bench("train", "--methods", "dicnet,msp") == 0


def gone_on(bench):
    """What was whole stays whole, and with room the same command ends well."""
    assert not [path for path in bench.runs.rglob(".*.tmp")]
    for entry in WeightsStore(bench.runs / "weights").entries():
        WeightsStore(bench.runs / "weights").verify(entry.key)
    assert bench("run", "--methods", "dicnet,msp") == 0
    assert bench.records() == {"dicnet", "msp"}


DICNET = ["run", "--methods", "dicnet,msp"]
STATE = r"Cannot write .*\.state \(File too large\); free space or name a folder"


@contextmanager
def full_at_states(room):
    """The state of a pass is written after every batch, to a disk with so much room."""
    with pytest.MonkeyPatch.context() as patch, full_disk(room):
        patch.setattr("benchmark.run.evaluate.SAVE_EVERY", 0.0)
        yield


FULL = [
    Fault("no room", nothing, DICNET, r"Cannot write .*toml \(File", 2, gone_on, lambda: full_disk(100)),
    Fault("no room for a state", nothing, DICNET, STATE, 2, gone_on, lambda: full_disk(1000)),
    Fault("room for a part of a state", nothing, DICNET, STATE, 2, gone_on, lambda: full_disk(100_000)),
    Fault("room for no pass", weights, DICNET, r"Cannot write .*npz \(File", 2, gone_on, lambda: full_at_states(9000)),
]  # fmt: skip


@pytest.mark.parametrize("fault", FULL, ids=str)
def test_a_full_disk(bench, fault):
    fault.meet(bench)


@pytest.mark.parametrize("part", ["rows.csv.gz", "curves.csv.gz", "json"])
def test_a_full_disk_at_the_records(bench, monkeypatch, part):
    assert bench("train", "--methods", "msp") == 0
    to_disk = atomic._to_disk

    def full(path):
        if path.name.startswith(f".msp.{part}"):
            raise OSError(28, "No space left on device")
        to_disk(path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_to_disk", full)
        assert bench("run", "--methods", "msp") == 2
    assert f"msp.{part} (the disk is full)" in bench.err and not bench.records()
    assert bench("run", "--methods", "msp") == 0 and "goes on after 4 of 4" in bench.out


# Ctrl-C.


LONG = ["--recipe", "segmentation.steps_per_epoch=3"]
LABEL = "pspnet-small+segmentation.steps_per_epoch=3"


@pytest.fixture
def every_step(monkeypatch):
    """A training's state is saved after every step."""
    choose, save = Machine.choose, _Run._save

    def at_once(run):
        save(run)
        run.pause = -1.0

    monkeypatch.setattr(Machine, "choose", lambda *given: dataclasses.replace(choose(*given), save_every=-1.0))
    monkeypatch.setattr(_Run, "_save", at_once)


def stopped_at(bench, monkeypatch, at):
    """Ctrl-C in a step of a training of three, after one that was not disturbed; what that came to."""
    assert bench("run", "--methods", "msp", *LONG) == 0
    reference, loss, steps = measured(bench.record("msp", LABEL)), Segmentation.loss, []
    for path in bench.runs.rglob("*.*"):
        if path.is_file():
            path.unlink()

    def stopped(self, batch):
        steps.append(1)
        if len(steps) == at:
            raise KeyboardInterrupt
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Segmentation, "loss", stopped)
        assert bench("run", "--methods", "msp", *LONG) == 130
    return reference


@pytest.mark.parametrize(("at", "says"), [(1, "nothing of these 3 steps of pspnet-small on town"), (3, "after 2 of 3")])
def test_an_interrupted_training_says_what_was_kept(bench, monkeypatch, every_step, at, says):
    reference = stopped_at(bench, monkeypatch, at)
    assert says in bench.err and len(bench.err.strip().splitlines()) == 1
    steps, loss = [], Segmentation.loss
    monkeypatch.setattr(Segmentation, "loss", lambda self, batch: steps.append(1) or loss(self, batch))
    assert bench("run", "--methods", "msp", *LONG) == 0
    assert len(steps) == 3 - (at - 1) and measured(bench.record("msp", LABEL)) == reference


def test_an_interrupted_evaluation_says_what_was_kept(bench, monkeypatch):
    bench.plugin("failing", FAILING)
    monkeypatch.setattr("benchmark.run.evaluate.SAVE_EVERY", 3600.0)
    assert bench("run", "--methods", "failing:how=interrupt") == 130
    assert "nothing of these 4 images was kept yet, the same command begins them again" in bench.err
    monkeypatch.setattr("benchmark.run.evaluate.SAVE_EVERY", 0.0)
    assert bench("run", "--methods", "failing:how=interrupt") == 130
    assert "the same command goes on where it stopped, after 2 of 4 images" in bench.err


# What kills leave is swept.


def nobody() -> int:
    """The number of a process that runs no more."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_unfinished_files_of_nobody_are_swept_and_those_of_others_are_not(bench):
    assert bench("run", "--methods", "msp") == 0
    weights = bench.runs / "weights/town"
    host = socket.gethostname().replace(".", "-")[:64]
    dead, alive = (weights / f".x.safetensors.{host}-{each}.ab_c.tmp" for each in (nobody(), os.getpid()))
    away, old = weights / ".y.json.elsewhere-7.abc.tmp", bench.runs / "partial/.z.npz.abc.tmp"
    old.parent.mkdir(exist_ok=True)  # a short pass keeps no state
    for path in (dead, alive, away, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    assert bench("run", "--methods", "msp", "--dry-run") == 0 and dead.exists()
    assert bench("run", "--methods", "msp") == 0
    assert [path.exists() for path in (dead, alive, away, old)] == [False, True, True, False]


def test_states_of_what_was_measured_otherwise_are_swept(bench):
    """Two methods stopped together and were then measured one by one."""
    half_done(bench)
    assert bench("run", "--methods", "msp") == 0
    assert len(list((bench.runs / "partial").iterdir())) == 1, "energy may still go on with it"
    assert bench("run", "--methods", "energy") == 0
    assert not list((bench.runs / "partial").iterdir())


def test_resume_states_of_what_is_trained_are_swept(bench):
    assert bench("run", "--methods", "msp") == 0
    (weights,) = (bench.runs / "weights").rglob("*.safetensors")
    left, begun = (weights.with_name(f"{weights.stem}.{end}.state") for end in ("0123456789", "abcdefabcd"))
    for path in (left, begun):
        path.write_bytes(b"state")
    os.utime(left, (time.time() - 100,) * 2)
    os.utime(begun, (time.time() + 100,) * 2)
    assert bench("run", "--methods", "msp") == 0
    assert begun.exists() and not left.exists(), "a retraining that is under way is newer than the weights"


def first_weight(state):
    return next(value for name, value in state["task"].items() if name.endswith("weight"))


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["journal"].update(step=10**9),
        lambda state: state["journal"].update(step="1"),
        lambda state: first_weight(state).add_(1),
        lambda state: state.pop("journal"),
        lambda state: state.pop("optimisers"),
    ],
    ids=["step of a billion", "step of text", "other weights", "no journal", "no optimisers"],
)
def test_a_resume_state_that_was_edited_is_not_gone_on_from(bench, monkeypatch, every_step, change):
    reference = stopped_at(bench, monkeypatch, 3)
    (path,) = bench.runs.rglob("*.state")
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)
    assert bench("run", "--methods", "msp", *LONG) == 0
    assert "training starts anew" in bench.out + bench.err
    assert measured(bench.record("msp", LABEL)) == reference


def test_a_resume_state_without_a_seal_is_gone_on_from(bench, monkeypatch, every_step):
    reference = stopped_at(bench, monkeypatch, 3)
    (path,) = bench.runs.rglob("*.state")
    state = torch.load(path, weights_only=True)
    del state["seal"]
    torch.save(state, path)
    assert bench("run", "--methods", "msp", *LONG) == 0
    assert "anew" not in bench.out + bench.err and measured(bench.record("msp", LABEL)) == reference
