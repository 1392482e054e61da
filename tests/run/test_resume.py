"""Kills, unreadable files and full disks: what was measured stays, and the next run ends with the same numbers."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness import FAILING, measured
from toy_records import OTHER_PARTS, WHOLE

from benchmark.errors import BenchmarkError
from benchmark.run import measure, resume
from benchmark.weights.store import WeightsStore

HOME = Path(__file__).resolve().parents[2]


def test_an_image_that_cannot_be_read_loses_nothing(bench, forwards):
    assert bench("run", "--methods", "msp,energy") == 0
    reference = measured(bench.record("energy"))
    for path in (bench.runs / "records").rglob("energy*"):
        path.unlink()
    (bench.data / "damaged").write_text("3")
    forwards.clear()
    assert bench("run", "--methods", "msp,energy") == 2
    assert "town/3.png is truncated; fetch it again." in bench.err and "Traceback" not in bench.err
    assert bench.records() == {"msp"} and len(forwards) == 3
    (bench.data / "damaged").unlink()
    assert bench("run", "--methods", "msp,energy") == 0
    assert "goes on after 3 of 4 images" in bench.out and len(forwards) == 4
    assert measured(bench.record("energy")) == reference


def test_an_interrupted_batch_counts_once(bench, monkeypatch):
    """The interrupted image was already counted for one method and not yet for the other."""
    bench.plugin("failing", FAILING)
    assert bench("run", "--methods", "msp") == 0
    reference = measured(bench.record("msp"))
    monkeypatch.setattr("benchmark.run.evaluate.SAVE_EVERY", 0.0)
    assert bench("run", "--methods", "msp,failing:how=interrupt", "--force") == 130
    assert "goes on where it stopped" in bench.err
    Path("mended").touch()
    assert bench("run", "--methods", "msp,failing:how=interrupt", "--force") == 0
    assert "goes on after 2 of 4 images" in bench.out
    assert measured(bench.record("msp")) == reference


def test_a_failed_method_takes_nothing_from_the_others(bench, forwards):
    """It fails at the second image, the fourth cannot be read: the others keep three images, it begins anew."""
    bench.plugin("failing", FAILING)
    methods = "msp,failing:at=toy/1,energy"
    assert bench("run", "--methods", "msp,energy") == 0
    reference = [(measured(bench.record(m)), bench.rows(m)) for m in ("msp", "energy")]
    (bench.data / "damaged").write_text("3")
    assert bench("run", "--methods", methods, "--force") == 2
    assert "failing:at=toy/1" in bench.out and "town/3.png is truncated" in bench.err
    assert len(list((bench.runs / "partial").iterdir())) == 1
    (bench.data / "damaged").unlink()
    bench.plugin("failing", FAILING.replace('float("nan")', "0.0"))
    forwards.clear()
    assert bench("run", "--methods", methods, "--force") == 0
    assert "goes on after 3 of 4 images" in bench.out
    assert len(forwards) == 1 + 4, "the last image for the others, all for the failed one"
    assert [(measured(bench.record(m)), bench.rows(m)) for m in ("msp", "energy")] == reference
    assert measured(bench.record("failing+at=toy%2F1"))["dataset"]["images"] == 4
    assert not list((bench.runs / "partial").iterdir())


def test_methods_asked_for_later_leave_an_unfinished_pass_as_it_is(bench, forwards):
    assert bench("train", "--methods", "msp") == 0
    (bench.data / "damaged").write_text("2")
    assert bench("run", "--methods", "msp") == 2
    forwards.clear()
    assert bench("run", "--methods", "msp,energy") == 2 and not forwards
    (bench.data / "damaged").unlink()
    assert bench("run", "--methods", "msp,energy") == 0
    assert "goes on after 2 of 4 images" in bench.out and len(forwards) == 2 + 4
    assert not list((bench.runs / "partial").iterdir())


def test_of_two_unfinished_passes_the_one_with_more_in_it_goes_on(bench, forwards):
    for methods, damaged in (("msp,energy", 2), ("msp", 3)):
        (bench.data / "damaged").write_text(str(damaged))
        assert bench("run", "--methods", methods) == 2
    assert len(list((bench.runs / "partial").iterdir())) == 2
    (bench.data / "damaged").unlink()
    forwards.clear()
    assert bench("run", "--methods", "msp,energy") == 0
    assert "goes on after 2 of 4 images" in bench.out and len(forwards) == 2
    assert bench.records() == {"msp", "energy"} and not list((bench.runs / "partial").iterdir())


def test_nothing_is_read_once_all_methods_have_failed(bench, forwards):
    bench.plugin("failing", FAILING)
    assert bench("train", "--methods", "failing") == 0
    forwards.clear()
    assert bench("run", "--methods", "failing:at=toy/1") == 1
    # The metrics of an image may be computed beside the forward of the next.
    assert len(forwards) in (2, 3) and not list((bench.runs / "partial").glob("*"))


def test_a_pass_that_could_not_be_recorded_is_not_made_again(bench, forwards, monkeypatch):
    def full(*arguments):
        raise BenchmarkError("Cannot write msp.json; free space.")

    with monkeypatch.context() as patch:
        patch.setattr(measure, "make_record", full)
        assert bench("run", "--methods", "msp") == 2
    forwards.clear()
    assert bench("run", "--methods", "msp") == 0
    assert not forwards and bench.records() == {"msp"}


def test_kill_9_goes_on_to_the_same_record(bench):
    """A slow method's process is killed after its second image; the next run only evaluates the rest."""
    slow = """
        import pathlib, time
        import benchmark.run.evaluate
        from benchmark.method import Method

        benchmark.run.evaluate.SAVE_EVERY = 0.0

        class Slow(Method):
            def score(self, batch, networks):
                marks = pathlib.Path(FOLDER)
                (marks / batch.ids[0].replace("/", "-")).write_text("")
                if batch.ids == ("toy/2",) and not (marks / "mended").exists():
                    time.sleep(120)
                return networks["base"](batch).logits()[:, 0]
        """
    marks = bench.folder / "marks"
    marks.mkdir()
    bench.plugin("slow", slow.replace("FOLDER", repr(str(marks))))
    assert bench("train", "--methods", "slow,msp") == 0  # which takes a new process long
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}
    line = [sys.executable, "-m", "benchmark", *bench.arguments("run", "--methods", "slow,msp")]
    with open(bench.folder / "log", "w") as log:
        process = subprocess.Popen(line, cwd=bench.folder, env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 120
            while not (marks / "toy-2").exists():
                assert process.poll() is None and time.monotonic() < deadline, (bench.folder / "log").read_text()
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert not bench.records()
    for mark in [*marks.iterdir(), marks / "mended"]:
        mark.unlink(missing_ok=True)
    (marks / "mended").write_text("")
    assert bench("run", "--methods", "slow,msp") == 0
    assert "goes on after 2 of 4 images" in bench.out
    assert {p.name for p in marks.iterdir()} == {"mended", "toy-2", "toy-3"}
    resumed = [(measured(bench.record(m)), bench.rows(m)) for m in ("slow", "msp")]
    assert bench("run", "--methods", "slow,msp", "--force") == 0
    assert [(measured(bench.record(m)), bench.rows(m)) for m in ("slow", "msp")] == resumed


@pytest.mark.parametrize("damage", ["other architecture", "truncated"])
def test_weights_that_do_not_fit_are_one_sentence_and_the_others_finish(bench, damage):
    assert bench("run", "--methods", "dicnet,msp") == 0
    for path in (bench.runs / "records").rglob("*.json"):
        path.unlink()
    store = WeightsStore(bench.runs / "weights")
    (fit,) = [entry for entry in store.entries() if "dicnet" in entry.key]
    (base,) = [entry for entry in store.entries() if "dicnet" not in entry.key]
    if damage == "truncated":
        fit.path.write_bytes(fit.path.read_bytes()[: fit.size // 2])
    else:
        store.save(
            fit.key, store.load(base.key), {k: v for k, v in fit.sidecar.items() if k not in ("sha256", "tensors")}
        )
    assert bench("run", "--methods", "dicnet,msp") == 2
    assert bench.records() == {"msp"}
    (sentence,) = bench.err.strip().splitlines()
    assert str(fit.path) in sentence and "python -m benchmark train --retrain --dataset town" in sentence
    assert ("truncated or damaged" if damage == "truncated" else "does not fit a DiCNet") in sentence
    assert bench("train", "--methods", "dicnet", "--retrain") == 0
    assert bench("run", "--methods", "dicnet,msp") == 0 and bench.records() == {"msp", "dicnet"}


def marked(monkeypatch, identity=WHOLE, label="msp", dataset="town", precision="fp32"):
    monkeypatch.setattr(resume, "expected_identity", lambda *_: identity)
    workshop = SimpleNamespace(setup=SimpleNamespace(dataset=dataset), pool=SimpleNamespace(precision=precision))
    return resume.mark(workshop, SimpleNamespace(entry=SimpleNamespace(label=label)))


def test_a_state_is_that_of_all_that_decides_what_is_measured_but_the_images(monkeypatch):
    """These it is held against one by one where their fingerprint has changed."""
    others = {part: {"identity": replace(WHOLE, **{part: value})} for part, value in OTHER_PARTS.items()}
    others |= {what: {what: "another"} for what in ("label", "dataset", "precision")}
    same = {what for what, change in others.items() if marked(monkeypatch, **change) == marked(monkeypatch)}
    assert same == {"fingerprint"}


def test_an_unreadable_record_is_measured_again(bench):
    assert bench("run", "--methods", "msp") == 0
    reference = measured(bench.record("msp"))
    (path,) = (bench.runs / "records").rglob("msp.json")
    path.write_text(path.read_text()[:100])
    assert bench("run", "--methods", "msp") == 0
    assert "is not a whole record" in bench.out
    assert measured(json.loads(path.read_text())) == reference
