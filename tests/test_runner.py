"""Plan, one pass, records: what is measured once stays, what fails is named, what is killed goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import measured

from benchmark.network import Network
from benchmark.weights import WeightsStore

HOME = Path(__file__).resolve().parent.parent

FAILING = """
import torch
from benchmark.method import Method

class Failing(Method):
    def __init__(self, how: str = "hole", at: str = "toy/2"):
        super().__init__()
        self.how, self.at = how, at

    def score(self, batch, networks):
        scores = -networks["base"](batch).logits().amax(dim=1)
        if self.at not in batch.ids:
            return scores
        if self.how == "raise":
            raise RuntimeError("the prototypes are gone")
        if self.how == "interrupt":
            raise KeyboardInterrupt
        scores[:, 5, 7] = float("nan")
        return {"hole": scores, "shape": scores[:, :-1], "type": scores.numpy()}[self.how]
"""
UNFIT = """
from benchmark.method import Method

class Unfit(Method):
    def fit(self, data, networks):
        raise ZeroDivisionError("no images of class 7")

    def score(self, batch, networks):
        return networks["base"](batch).logits()[:, 0]
"""
STATISTICS = """
import torch
from benchmark.method import Method

class Statistics(Method):
    def build(self, networks):
        self.register_buffer("total", torch.zeros(3))

    def observe(self, batch, networks):
        self.total += networks["base"](batch).logits().sum(dim=(0, 2, 3))

    def score(self, batch, networks):
        return (networks["base"](batch).logits() - self.total.view(1, 3, 1, 1) / 1e4).amax(dim=1)
"""


@pytest.fixture
def forwards(monkeypatch):
    """The number of images of every forward of a network."""
    seen = []
    segment = Network.segment

    def counted(self, images, *rest, **keywords):
        seen.append(len(images))
        return segment(self, images, *rest, **keywords)

    monkeypatch.setattr(Network, "segment", counted)
    return seen


def test_every_method_gets_a_record_and_the_second_run_answers_from_them(bench, forwards):
    assert bench("train", "--methods", "msp") == 0
    forwards.clear()
    assert bench("run", "--methods", "msp,energy,max_logit,max-logit,msp:double_softmax=false") == 0
    assert bench.records() == {"msp", "energy", "max_logit"}
    assert len(forwards) == 4, "one per image, however many methods"
    assert "train" not in bench.out and "evaluate 3 methods on 4 images" in bench.out
    record = bench.record("msp")
    assert record["dataset"]["images"] == 4 and record["dataset"]["limit"] is None
    assert set(record["metrics"]) == {"per-image", "pooled"}
    assert 0 <= record["metrics"]["pooled"]["auroc"] <= 1
    assert 0 < record["dataset"]["anomaly_fraction"] < 0.1
    assert record["cost"]["network_ms"] > 0 and record["cost"]["batch_size"] == 1
    assert bench.rows("msp").count(b"toy/") >= 4
    assert not list((bench.runs / "partial").glob("*")), "nothing is left of a complete evaluation"
    forwards.clear()
    assert bench("run", "--methods", "msp,energy") == 0
    assert not forwards
    assert bench.out.count("current") == 2 and "MSP" in bench.out and "Energy" in bench.out
    assert bench("run", "--methods", "msp,max_entropy") == 0
    assert len(forwards) == 4 and "msp: current" in bench.out and "max_entropy: not measured yet" in bench.out


def test_force_measures_again_and_finds_the_same(bench, forwards):
    assert bench("run", "--methods", "msp,dicnet") == 0
    first, rows = [bench.record(m) for m in ("msp", "dicnet")], [bench.rows(m) for m in ("msp", "dicnet")]
    forwards.clear()
    assert bench("run", "--methods", "msp,dicnet", "--force") == 0
    assert len(forwards) == 4 and "msp: --force" in bench.out and "train" not in bench.out
    again = [bench.record(m) for m in ("msp", "dicnet")]
    assert list(map(measured, again)) == list(map(measured, first))
    assert [bench.rows(m) for m in ("msp", "dicnet")] == rows
    assert bench("run", "--methods", "msp,dicnet", "--retrain") == 0
    assert "msp: --retrain" in bench.out
    assert list(map(measured, map(bench.record, ("msp", "dicnet")))) == list(map(measured, first))


def test_a_trial_does_not_replace_the_whole_measurement(bench):
    assert bench("run", "--methods", "msp") == 0
    whole = bench.record("msp")
    assert bench("run", "--methods", "msp", "--limit", "2") == 0
    assert "the first 2 images only" in bench.out
    trial = bench.record("msp+first2")
    assert (trial["dataset"]["limit"], trial["dataset"]["images"]) == (2, 2)
    assert bench.record("msp") == whole
    assert bench("run", "--methods", "msp") == 0 and "msp: current" in bench.out


def test_the_plan_says_what_made_a_record_stale(bench, monkeypatch):
    bench.plugin("statistics", STATISTICS)
    assert bench("run", "--methods", "msp,statistics") == 0

    def reasons(method, *options):
        assert bench("run", "--dry-run", "--methods", method, *options) == 0
        return next(line for line in bench.out.splitlines() if line.startswith(f"  {method}: "))

    assert "current" in reasons("msp")
    assert "network's training (architecture, data or recipe) changed" in reasons(
        "msp", "--recipe", "segmentation.lr=0.5"
    )
    assert "what the method is fitted with changed" in reasons("statistics", "--recipe", "segmentation.lr=0.5")
    assert "arithmetic changed from fp32 to bf16" in reasons("msp", "--precision", "bf16")
    (bench.data / "edition").write_text("b")
    assert "the dataset's images or labels changed from toy-test to toy-testb" in reasons("msp")
    (bench.data / "edition").unlink()
    text = (bench.folder / "statistics.py").read_text()
    bench.plugin("statistics", text.replace("class Statistics(Method):", "class Statistics(Method):\n    version = 2"))
    assert "the method's version changed from 1 to 2" in reasons("statistics")
    bench.plugin("statistics", text.replace("class Statistics(Method):", "class Statistics(Method):\n    x = 2"))
    assert "current" in reasons("statistics"), "only what the author declares as changed is"


def test_another_default_of_an_option_is_stale(bench):
    source = Path(bench.plugin("failing", FAILING))
    assert bench("run", "--methods", "failing", "--limit", "2") == 0
    bench.plugin("failing", source.read_text().replace('"hole"', '"shape"'))
    assert bench("run", "--methods", "failing", "--limit", "2", "--dry-run") == 0
    assert "the method's option how changed from hole to shape" in bench.out


def test_other_scales_are_another_record(bench):
    assert bench("run", "--methods", "msp") == 0
    assert bench("run", "--methods", "msp", "--scales", "24,40") == 0
    native, scaled = bench.record("msp"), bench.record("msp", "pspnet-small+scales=24-40")
    assert scaled["network"]["scales"] == [24, 40] and native["network"]["scales"] == []
    assert scaled["network"]["weights_sha256"] == native["network"]["weights_sha256"]
    assert bench("run", "--methods", "msp") == 0 and "current" in bench.out


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("hole", "NaN"),
        ("raise", "RuntimeError: the prototypes are gone"),
        ("shape", r"must return one value per pixel, (1, 48, 64); it returned a tensor of shape (1, 47, 64)"),
        ("type", "it returned ndarray"),
    ],
)
def test_a_method_that_fails_is_named_with_the_image_and_the_others_finish(bench, how, words):
    bench.plugin("failing", FAILING)
    assert bench("run", "--methods", f"msp,failing:how={how},energy") == 1
    assert bench.records() == {"msp", "energy"}
    (sentence,) = [line for line in bench.err.splitlines() if "failing" in line]
    assert words in sentence and "toy/2" in sentence and "Traceback" not in bench.err


def test_a_fit_that_fails_leaves_the_others_alone(bench):
    bench.plugin("unfit", UNFIT)
    bench.plugin("statistics", STATISTICS)
    assert bench("run", "--methods", "unfit,msp,statistics") == 1
    assert bench.records() == {"msp", "statistics"}
    assert "failed: unfit: ZeroDivisionError: no images of class 7" in bench.err


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
    monkeypatch.setattr("benchmark.runner.SAVE_EVERY", 0.0)
    assert bench("run", "--methods", "msp,failing:how=interrupt", "--force") == 130
    assert "goes on where it stopped" in bench.err
    bench.plugin("failing", FAILING.replace("raise KeyboardInterrupt", "return scores"))
    assert bench("run", "--methods", "msp,failing:how=interrupt", "--force") == 0
    assert "goes on after 2 of 4 images" in bench.out
    assert measured(bench.record("msp")) == reference


def test_a_pass_that_could_not_be_recorded_is_not_made_again(bench, forwards, monkeypatch):
    from benchmark.commands import run
    from benchmark.errors import BenchmarkError

    def full(*arguments):
        raise BenchmarkError("Cannot write msp.json; free space.")

    with monkeypatch.context() as patch:
        patch.setattr(run, "make_record", full)
        assert bench("run", "--methods", "msp") == 2
    forwards.clear()
    assert bench("run", "--methods", "msp") == 0
    assert not forwards and bench.records() == {"msp"}


def test_kill_9_goes_on_to_the_same_record(bench):
    """A slow method's process is killed after its second image; the next run only evaluates the rest."""
    slow = """
        import pathlib, time
        import benchmark.runner
        from benchmark.method import Method

        benchmark.runner.SAVE_EVERY = 0.0

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
        fit.path.write_bytes(base.path.read_bytes())
    assert bench("run", "--methods", "dicnet,msp") == 2
    assert bench.records() == {"msp"}
    (sentence,) = bench.err.strip().splitlines()
    assert str(fit.path) in sentence and "python -m benchmark train --retrain --dataset town" in sentence
    assert ("truncated or damaged" if damage == "truncated" else "does not fit a DiCNet") in sentence
    assert bench("train", "--methods", "dicnet", "--retrain") == 0
    assert bench("run", "--methods", "dicnet,msp") == 0 and bench.records() == {"msp", "dicnet"}


def test_an_unreadable_record_is_measured_again(bench):
    assert bench("run", "--methods", "msp") == 0
    reference = measured(bench.record("msp"))
    (path,) = (bench.runs / "records").rglob("msp.json")
    path.write_text(path.read_text()[:100])
    assert bench("run", "--methods", "msp") == 0
    assert "is not a whole record" in bench.out
    assert measured(json.loads(path.read_text())) == reference
