"""The plan's estimate of time against closed forms, on a device of a thousand million operations per second."""

import dataclasses
import re
import time

import pytest
import torch
from benchmark.methods.dicnet.student import Student
from torch.utils.flop_counter import FlopCounterMode

from benchmark.networks import build_network
from benchmark.records.costs import Costs, MethodCost, TrainingCost
from benchmark.records.provenance import Provenance
from benchmark.run.contract import Toy, toy_workshop
from benchmark.run.forecast import Forecast, Hours
from benchmark.run.plan import make_steps
from benchmark.run.timing import PIXEL_SECONDS, Timing, beside

SPEED = 1e9
IMAGES, PIXELS = 4, 48 * 64


READING = 0.25
"""Seconds of reading an image."""


def counted(work, device=None) -> float:
    """Seconds that work takes on that device."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / SPEED


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.training.estimate.seconds", counted)
    monkeypatch.setattr("benchmark.run.timing.Timing.reading", lambda *_: READING)
    return toy_workshop(tmp_path, ("distillation", "rpl"))


@pytest.fixture
def forgetful(monkeypatch):
    """Nothing that another test tried is known."""
    monkeypatch.setattr("benchmark.run.timing.Timing._once", lambda self, key, make: make())


@pytest.fixture
def forward():
    """Seconds of a forward of one toy image."""
    network = build_network(Toy.policy.network, len(Toy.card.classes)).eval()
    return counted(lambda: network(torch.zeros(1, 3, 48, 64)))


def rows(workshop, *calls, evaluates=True):
    steps, _ = make_steps(workshop, calls)
    forecast = Forecast(workshop, steps, evaluates)
    return forecast, {step.entry.method.label: forecast.row(step.entry) for step in steps}


def test_a_row_is_its_networks_its_own_training_its_statistics_and_its_evaluation(workshop, forward):
    forecast, found = rows(workshop, "msp", "deep_ensemble", "sml", "dicnet", "tradi:members=3", "odin")
    one, arithmetic = IMAGES * forward, IMAGES * PIXELS * PIXEL_SECONDS
    # One step of two images, and one validation. A step is about three forwards: no gradient of the images, but a head
    # for deep supervision.
    network = found["msp"].networks
    assert network == pytest.approx(2 * 3 * forward + one, rel=0.1)
    read = 3 * IMAGES * READING  # training, validation and test images, each once
    evaluation = pytest.approx(one + arithmetic)
    assert found["msp"] == Hours(network, 0, 0, evaluation, read)
    assert found["deep_ensemble"] == Hours(pytest.approx(4 * network), 0, 0, pytest.approx(4 * one + arithmetic), read)
    assert found["sml"] == Hours(network, 0, evaluation, evaluation, read)
    assert found["tradi:members=3"].training == pytest.approx(network, rel=0.01), "a network like the shared one"
    assert found["tradi:members=3"].evaluation == pytest.approx(4 * one + arithmetic)
    assert found["odin"].evaluation == pytest.approx(4 * one + arithmetic)
    whole = forecast.whole
    assert whole.networks == pytest.approx(4 * network), "what rows share is trained once"
    assert whole.evaluation == pytest.approx(10 * one + 6 * arithmetic), "and run once"
    assert whole.images == read, "and read once"


def test_a_method_that_trains_is_tried_by_steps_of_its_own(workshop, forward):
    _, found = rows(workshop, "dicnet", "rpl:tap=penultimate")
    student = Student(build_network(Toy.policy.network, 4).channels["conv_last.1"], encoder="small").eval()
    own = counted(lambda: student(torch.zeros(1, 3, 48, 64)))
    expected = 2 * (forward + 3 * own) + IMAGES * (forward + own)
    assert found["dicnet"].training == pytest.approx(expected, rel=0.05)
    assert found["rpl:tap=penultimate"].training < 2 * 3 * forward, "of which the network is not trained"


def test_where_trials_took_long_further_trainings_are_guessed(workshop, forgetful, monkeypatch):
    monkeypatch.setattr("benchmark.run.probe.PATIENCE", 0)
    forecast, found = rows(workshop, "dicnet", "rpl:tap=penultimate")
    sources = [line.rpartition(", ")[2] for line in forecast.trainings()[-2:]]
    assert sources == ["by a trial", "a guess"], "the first is tried all the same"
    network = found["dicnet"].networks
    assert found["rpl:tap=penultimate"].training == pytest.approx(network, rel=0.01), "a network like the shared one"


def test_test_scales_count_by_their_pixels(workshop, forward):
    base = dataclasses.replace(workshop.setup.base, scales=(24, 48))
    workshop.setup = dataclasses.replace(workshop.setup, base=base)
    _, found = rows(workshop, "msp")
    assert found["msp"].evaluation == pytest.approx(IMAGES * (1.25 * forward + PIXELS * PIXEL_SECONDS))


def test_what_is_stored_takes_no_time(workshop):
    forecast, found = rows(workshop, "dicnet")
    assert found["dicnet"].networks and found["dicnet"].training
    workshop.prepare([step.entry for step in forecast.steps])
    _, found = rows(workshop, "dicnet", evaluates=False)
    assert found["dicnet"] == Hours()


def test_images_that_do_not_fit_in_memory_are_read_in_every_epoch(workshop, monkeypatch):
    monkeypatch.setattr("benchmark.run.forecast.fits_in_memory", lambda split: split.split != "train")
    workshop.setup = dataclasses.replace(
        workshop.setup,
        base=dataclasses.replace(workshop.setup.base, recipe=dataclasses.replace(workshop.setup.base.recipe, epochs=5)),
    )
    _, found = rows(workshop, "msp")
    assert found["msp"].images == pytest.approx((5 + 1 + 1) * IMAGES * READING)


def test_a_second_pass_counts_twice(workshop):
    _, once = rows(workshop, "msp")
    options = dataclasses.replace(workshop.setup.options, protocols=("smiyc-components",))
    workshop.setup = dataclasses.replace(workshop.setup, options=options)
    _, twice = rows(workshop, "msp")
    assert twice["msp"].evaluation == pytest.approx(2 * once["msp"].evaluation)
    assert twice["msp"].networks == once["msp"].networks


def test_hours_in_words():
    assert str(Hours(0, 0, 0, 42)) == "about 42 s"
    assert str(Hours(7200, 600, 0.2, 42)) == "about 2.2 h (networks 2.0 h, own training 10 min, evaluation 42 s)"


def test_a_dry_run_says_how_long_every_row_takes(bench):
    assert bench("run", "--methods", "msp,sml", "--dry-run") == 0
    lines = bench.out.splitlines()
    assert sum("not measured yet; alone about" in line for line in lines) == 2
    assert lines[-1].startswith("All together about ") and lines[-1].endswith(" on cpu.")
    assert bench("run", "--methods", "msp") == 0
    assert bench("run", "--methods", "msp") == 0 and "All together" not in bench.out


@pytest.mark.parametrize("verb", ["run", "train"])
def test_a_dry_run_says_how_it_knows_and_writes_nothing(bench, verb):
    """What a method does meanwhile, it does to a copy, with a random network."""
    assert bench(verb, "--methods", "dicnet,sml", "--dry-run") == 0
    assert re.search(r"^  train pspnet-small on town, about \d+ s, by a trial$", bench.out, re.MULTILINE)
    assert re.search(r"^  fit dicnet, about \d+ s, by a trial$", bench.out, re.MULTILINE)
    assert ("evaluate 2 methods on 4 images, a guess" in bench.out) == (verb == "run")
    assert not bench.runs.exists() and not bench.err


@pytest.mark.parametrize(("load", "busy"), [(0.9, False), (2.4, True), (None, False)])
def test_a_plan_says_where_the_machine_is_busy(monkeypatch, load, busy):
    monkeypatch.setattr("benchmark.run.timing.machine_load", lambda: load)
    words = beside(torch.device("cpu"))
    assert words == (
        "This machine is busy (2.4 processes a core); the times below are those of a quiet one." if busy else ""
    )
    assert not beside(torch.device("cuda")), "whose work does not wait for the cores"


class Waiting:
    """Images that a slow disk gives, or that wait for a core: 30 ms each, in which nothing is computed."""

    label, split = "waiting", "test"

    def __len__(self):
        return 3

    def __getitem__(self, index):
        time.sleep(0.03)


@pytest.mark.parametrize(("load", "counts"), [(0.9, True), (2.4, False)])
def test_on_a_busy_cpu_the_wait_for_an_image_is_no_time_of_a_quiet_one(tmp_path, monkeypatch, forgetful, load, counts):
    monkeypatch.setattr("benchmark.run.timing.machine_load", lambda: load)
    setup = toy_workshop(tmp_path, ()).setup
    seconds = Timing(setup).reading(Waiting()) * max(1, setup.machine.workers)
    assert (seconds >= 0.03) == counts


def test_a_training_that_cannot_be_tried_is_a_guess(workshop, forgetful, forward, monkeypatch):
    """It fails as it will when its turn comes, which is not the plan's to say; the shared network stands in for it."""

    def broken(self, data, networks):
        raise RuntimeError("no")

    monkeypatch.setattr("benchmark.methods.dicnet.DiCNet.fit", broken)
    forecast, found = rows(workshop, "msp", "dicnet")
    assert forecast.trainings()[-1].endswith(", a guess")
    assert found["dicnet"].training == pytest.approx(2 * 3 * forward + IMAGES * forward, rel=0.1)


@pytest.mark.parametrize(("verb", "more"), [("run", ["--dry-run"]), ("train", [])])
def test_several_repetitions_have_a_total_before_the_first(bench, monkeypatch, verb, more):
    def given(forecast):
        return Hours(networks=100.0 * (1 + forecast.workshop.setup.options.repetition))

    monkeypatch.setattr("benchmark.run.forecast.Forecast.whole", property(given))
    assert bench(verb, "--methods", "msp", "--repetition", "0-2", *more) == 0
    lines = bench.out.splitlines()
    total = lines.index("All 3 repetitions together about 10 min on cpu.")
    assert total < lines.index("Repetition 0.") and lines.count("Dataset town.") == 3


@pytest.fixture
def slow(monkeypatch):
    """A CPU of ten operations per second."""
    monkeypatch.setattr("benchmark.training.estimate.seconds", lambda work, device: counted(work) * SPEED / 10)


def costs(network):
    """Two rows that share a network of 36,000 steps, one with a training of its own."""
    trainings = [TrainingCost(title, "x", 2, 36_000, "all", seconds) for title, seconds in (("net", 1.0), ("own", 0.5))]
    rows = [
        MethodCost("msp", "MSP", ["net"], 3600.0, 0.0),
        MethodCost("dicnet", "DiCNet", ["net", "own"], 0.0, 1800.0, fit_seconds=3600.0),
        MethodCost("deep_ensemble", "Deep Ensemble", ["net", "net", "net"], 3600.0, 0.0),
    ]
    made = Provenance(device="Fast GPU", precision="bf16", versions={"torch": "9"})
    return Costs("town", "Town", network, [48, 64], 4, 4000, 1, "", trainings, rows, made)


def test_rows_together_share_their_trainings():
    found = costs("net")
    assert found.together(["msp"]) == 10 + 4
    assert found.together(["msp", "dicnet"]) == 10 + 5 + 1 + 4 + 2
    assert found.together(["msp", "dicnet", "deep_ensemble"]) == 3 * 10 + 5 + 1 + 4 + 2 + 4
    assert found.together(["msp", "sml"]) is None, "which was not measured"


@pytest.mark.parametrize("methods", ["msp,dicnet", "msp,dicnet,sml"])
def test_a_plan_for_years_on_a_cpu_names_what_it_needs_instead(bench, slow, monkeypatch, tmp_path, methods):
    monkeypatch.setattr("benchmark.run.forecast.RESULTS", tmp_path / "results")
    assert bench("run", "--methods", methods, "--dry-run") == 0
    last = bench.out.splitlines()[-1]
    assert last.startswith("A CPU is out of the question") and "`bench costs` says how long" in last
    assert "alone too long for a CPU" in bench.out and not re.search(r"\d h", bench.out)
    costs("pspnet-small").write(tmp_path / "results")
    assert bench("run", "--methods", methods, "--dry-run") == 0
    who = "they" if methods == "msp,dicnet" else "2 of the 3 methods"
    assert f"on Fast GPU (bf16, torch 9) {who} take about 22 h from nothing" in bench.out.splitlines()[-1]
