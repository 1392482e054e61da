"""What a plan takes from former times: those of the same work on the same machine, and no others."""

import dataclasses
import json

import pytest
import torch

from benchmark.run.contract import toy_workshop
from benchmark.run.forecast import Forecast
from benchmark.run.history import History, Past
from benchmark.run.plan import make_steps
from benchmark.run.timing import BEFORE, TRIED, Time, Timing


def history(workshop) -> History:
    setup = workshop.setup
    return History(setup.options.out, setup.machine.device, setup.machine.precision, setup.options.precision)


def rewritten(path, **changes) -> None:
    """Change what a sidecar states."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def trained(tmp_path):
    """A toy run with a trained network and a fitted DiCNet, whose sidecars state 20 steps of 3 and 5 seconds."""
    workshop = toy_workshop(tmp_path, ("distillation",))
    steps, _ = make_steps(workshop, ["msp", "dicnet"])
    workshop.prepare([step.entry for step in steps])
    sidecars = {}
    for entry in workshop.store.entries():
        path = entry.path.with_name(entry.path.name.replace(".safetensors", ".json"))
        kind = "fit" if "method" in entry.sidecar else "network"
        (report,) = entry.sidecar["reports"]
        report = report | {"steps": 20, "seconds": 20.0 * {"network": 3, "fit": 5}[kind]}
        rewritten(path, reports=[report], provenance=entry.sidecar["provenance"] | {"load": 0.5})
        sidecars[kind] = path
    return workshop, {step.entry.method.label: step.entry for step in steps}, sidecars


def test_steps_of_the_same_network_and_fit_are_known(trained):
    workshop, entries, _ = trained
    past, base = history(workshop), workshop.setup.base
    assert past.network_step(base).seconds == 3.0
    assert past.fit_step("dicnet", list(entries["dicnet"].recipes.values()), base).seconds == 5.0
    longer = dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, epochs=90, lr=0.5, seed=4, member=2))
    assert past.network_step(longer).seconds == 3.0, "how long and how fast it learns changes no step"


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {"batch_size": 7}},
        {"recipe": {"crop": (16, 16)}},
        {"recipe": {"label_size": "full"}},
        {"arch": "pspnet-resnet18"},
        {"options": (("head", "cosine"),)},
        {"data": "other images"},
    ],
    ids=str,
)
def test_other_work_tells_nothing(trained, changes):
    workshop, _, _ = trained
    recipe = changes.pop("recipe", {})
    base = workshop.setup.base
    other = dataclasses.replace(base, **changes, recipe=dataclasses.replace(base.recipe, **recipe))
    assert history(workshop).network_step(other) is None


@pytest.mark.parametrize("changes", [{"cpu": "another"}, {"threads": 99}, {"device": "A GPU"}, {"precision": "tf32"}])
def test_another_machine_tells_nothing(trained, changes):
    workshop, entries, sidecars = trained
    for path in sidecars.values():
        rewritten(path, provenance=json.loads(path.read_text())["provenance"] | changes)
    past, base = history(workshop), workshop.setup.base
    assert past.network_step(base) is None
    assert past.fit_step("dicnet", list(entries["dicnet"].recipes.values()), base) is None


@pytest.mark.parametrize("changes", [{"options": 5}, {"recipe": "short"}, {"reports": [{"steps": "x"}]}], ids=str)
def test_a_sidecar_that_somebody_wrote_into_tells_nothing(trained, changes):
    workshop, _, sidecars = trained
    rewritten(sidecars["network"], **changes)
    assert history(workshop).network_step(workshop.setup.base) is None


def test_a_few_steps_tell_nothing_and_of_several_trainings_the_middle_one_counts(trained):
    workshop, _, sidecars = trained
    path, base = sidecars["network"], workshop.setup.base
    content = json.loads(path.read_text())
    for name, seconds in (("b", 1.0), ("c", 80.0)):
        more = content | {"key": f"{content['key']}{name}", "reports": [{"steps": 20, "seconds": seconds}]}
        workshop.store.path(more["key"]).write_bytes(b"")
        path.with_name(f"{path.stem}{name}.json").write_text(json.dumps(more))
    assert history(workshop).network_step(base).seconds == 3.0
    rewritten(path, reports=[{"steps": 9, "seconds": 1.0}])
    assert history(workshop).network_step(base).seconds == pytest.approx((1 / 20 + 80 / 20) / 2)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(9.0, 0.2), (5.0, None), (2.0, 3.0), (7.0, 1.2)], Past(7.0, True)),
        ([(9.0, 4.0), (5.0, 1.3)], Past(5.0, False)),
        ([], None),
    ],
    ids=["quiet times count", "else the least", "none"],
)
def test_what_stood_beside_other_work_took_too_long(found, expected):
    assert Past.of(found) == expected


@pytest.mark.parametrize(
    ("load", "trial", "seconds", "source"),
    [(0.1, 1.0, 60.0, BEFORE), (3.0, 1.0, 1.0, TRIED), (3.0, 99.0, 60.0, BEFORE)],
    ids=["known", "a busy machine", "still less than a trial"],
)
def test_a_plan_believes_a_time_of_a_busy_machine_only_where_a_trial_takes_no_less(
    trained, monkeypatch, load, trial, seconds, source
):
    """The network's step took 3 seconds, of which it makes 20 here."""
    workshop, _, sidecars = trained
    rewritten(
        sidecars["network"], provenance=json.loads(sidecars["network"].read_text())["provenance"] | {"load": load}
    )
    monkeypatch.setattr(Timing, "_as_network", lambda *_: trial)
    base = workshop.setup.base
    spec = dataclasses.replace(base, recipe=dataclasses.replace(base.recipe, epochs=5, steps_per_epoch=4))
    found = Timing(workshop.setup).network(spec)
    assert (found.seconds, found.source) == (seconds, source)


def test_a_plan_counts_in_steps_that_were_taken_before(trained):
    workshop, _, _ = trained
    base = workshop.setup.base
    recipe = dataclasses.replace(base.recipe, epochs=7, steps_per_epoch=4)
    workshop.setup = dataclasses.replace(workshop.setup, base=dataclasses.replace(base, recipe=recipe))
    steps, _ = make_steps(workshop, ["msp"])
    forecast = Forecast(workshop, steps, evaluates=False)
    (time,) = forecast.networks.values()
    assert time == Time(7 * 4 * 3.0, BEFORE)
    assert forecast.trainings() == ["train pspnet-small on toy, about 84 s, as before"]


def test_an_evaluation_is_known_from_records(bench, monkeypatch):
    """Ten images are enough; the times are those that records state."""
    monkeypatch.setattr("benchmark.run.history.STEPS", 1)
    assert bench("run", "--methods", "msp,knn:k=2") == 0
    past = History(bench.runs, torch.device("cpu"), "fp32", "fp32")
    for call, label in (("msp", "msp"), ("knn:k=2", "knn+k=2")):
        cost = bench.record(label)["cost"]
        assert past.method_image(call, "pspnet-small", "town") == pytest.approx(cost["method_ms"] / 1000)
    assert past.method_image("msp", "pspnet-resnet18", "town") is None
    assert past.method_image("msp", "pspnet-small", "minihazards") is None
    assert past.method_image("msp:double_softmax=true", "pspnet-small", "town") is None
    assert History(bench.runs, torch.device("cpu"), "fp32", "bf16").method_image("msp", "pspnet-small", "town") is None
