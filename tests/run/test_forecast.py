"""The plan's estimate of time against closed forms, on a device of a thousand million operations per second."""

import dataclasses

import pytest

from benchmark.networks import build_network
from benchmark.run.contract import Toy, toy_workshop
from benchmark.run.forecast import PIXEL_SECONDS, Forecast, Hours
from benchmark.run.plan import make_steps
from benchmark.training import forward_flops

SPEED = 1e9
IMAGES, PIXELS = 4, 48 * 64


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.training.estimate._throughput", lambda *_: SPEED)
    return toy_workshop(tmp_path, ("distillation",))


@pytest.fixture
def forward():
    """Seconds of a forward of one toy image."""
    return forward_flops(build_network(Toy.policy.network, len(Toy.card.classes)), (48, 64)) / SPEED


def rows(workshop, *calls, evaluates=True):
    steps, _ = make_steps(workshop, calls)
    forecast = Forecast(workshop, steps, evaluates)
    return forecast, {step.entry.method.label: forecast.row(step.entry) for step in steps}


def test_a_row_is_its_networks_its_own_training_its_statistics_and_its_evaluation(workshop, forward):
    forecast, found = rows(workshop, "msp", "deep_ensemble", "sml", "dicnet", "tradi:members=3", "odin")
    network, arithmetic = 2 * 3 * forward, IMAGES * PIXELS * PIXEL_SECONDS  # one step of two images
    one = IMAGES * forward
    assert found["msp"] == Hours(network, 0, 0, pytest.approx(one + arithmetic))
    assert found["deep_ensemble"] == Hours(4 * network, 0, 0, pytest.approx(4 * one + arithmetic))
    assert found["sml"] == Hours(network, 0, pytest.approx(one), pytest.approx(one + arithmetic))
    assert found["dicnet"] == Hours(network, pytest.approx(2 * 4 * forward), 0, pytest.approx(one + arithmetic))
    assert found["tradi:members=3"].training > 0
    assert found["tradi:members=3"].evaluation == pytest.approx(4 * one + arithmetic)
    assert found["odin"].evaluation == pytest.approx(4 * one + arithmetic)
    whole = forecast.whole
    assert whole.networks == pytest.approx(4 * network), "what rows share is trained once"
    assert whole.evaluation == pytest.approx(10 * one + 6 * arithmetic), "and run once"


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
