"""Times taken anew: metrics, rows and curves stay bit for bit, the times and where they come from do not."""

import json
from statistics import median

import pytest

from benchmark.records.record import read_all
from benchmark.run.history import History

QUIET, BUSY = 0.4, 2.6


@pytest.fixture
def load(monkeypatch):
    """Loads of the machine, one after the other; the last one stays."""
    found = [QUIET]
    take = lambda: found.pop(0) if len(found) > 1 else found[0]  # noqa: E731
    for place in ("benchmark.run.retime", "benchmark.records.provenance"):
        monkeypatch.setattr(f"{place}.machine_load", take)
    return found


@pytest.fixture
def measured(bench, load):
    """A run folder with three records that were measured on a busy machine, in two repetitions."""

    def make():
        load[:] = [BUSY]
        assert bench("run", "--methods", "msp,dicnet", "--repetition", "0-1") == 0
        assert bench("run", "--methods", "mahalanobis") == 0

    bench.once("retime", make)
    load[:] = [QUIET]
    return bench


def files(bench) -> dict:
    return {path.name: path.read_bytes() for path in (bench.runs / "records").rglob("*") if path.is_file()}


def test_times_change_and_nothing_else(measured, forwards, load, monkeypatch):
    bench, before = measured, files(measured)
    load[:] = [0.4, 0.5, 0.7, 0.6]
    monkeypatch.setattr("sys.argv", ["-m", "retime", "--images", "3"])  # whence a record has its command
    assert bench("retime", "--images", "3") == 0
    assert len(forwards) == 2 * (1 + 3), "of each repetition one that warms up and three that are timed"
    after = files(bench)
    assert before.keys() == after.keys()
    for name, content in before.items():
        if not name.endswith(".json"):
            assert after[name] == content
            continue
        old, new = json.loads(content), json.loads(after[name])
        cost = new.pop("cost")
        retimed = cost.pop("retimed")
        kept = {key: old["cost"][key] for key in ("peak_memory_mib", "memory_of", "fit_seconds", "batch_size")}
        assert kept.items() <= cost.items()
        assert cost["network_ms"] != old["cost"]["network_ms"] and cost["method_ms"] != old["cost"]["method_ms"]
        assert retimed["images"] == 3 and "retime" in retimed["provenance"]["command"]
        assert "retime" not in old["provenance"]["command"]
        assert retimed["provenance"]["cpu"] == old["provenance"]["cpu"]
        del old["cost"]
        assert new == old, "the provenance of the metrics, too"
    loads = {r.network.seed: r.timing.load for r in read_all(bench.runs)[0]}
    assert loads == {0: 0.7, 1: 0.6}, "the highest that was seen"
    shared = {json.loads(after[f"{m}.json"])["cost"]["network_ms"] for m in ("msp", "mahalanobis")}
    assert len(shared) == 1, "one network, one time"
    forwards.clear()
    assert bench("run", "--methods", "msp,dicnet", "--repetition", "0-1") == 0
    assert bench.out.count(": current, ") == 4 and not forwards
    assert "†" not in bench.out and "times taken in a later pass, over 3 images" in " ".join(bench.out.split())


def test_the_median_of_a_pass_counts(measured, monkeypatch):
    from benchmark.run import evaluate

    took = iter([9.0, 0.003, 0.001, 0.5, 0.002])
    score = evaluate.score
    monkeypatch.setattr(evaluate, "score", lambda *given: (score(*given)[0], next(took)))
    assert measured("retime", "--methods", "msp", "--repetition", "0") == 0
    cost = measured.record("msp")["cost"]
    assert cost["method_ms"] == pytest.approx(1000 * median([0.003, 0.001, 0.5, 0.002]))
    assert cost["retimed"]["images"] == 4


def test_what_takes_long_is_timed_on_fewer_images_and_the_others_on_all(measured, monkeypatch):
    from benchmark.run import evaluate

    score = evaluate.score
    slow = lambda room, entry, batch: (score(room, entry, batch)[0], 40.0 if entry.label == "dicnet" else 0.01)  # noqa: E731
    monkeypatch.setattr(evaluate, "score", slow)
    assert measured("retime", "--repetition", "0") == 0
    costs = {name: measured.record(name)["cost"] for name in ("dicnet", "msp")}
    assert {name: cost["retimed"]["images"] for name, cost in costs.items()} == {"dicnet": 3, "msp": 4}
    assert costs["dicnet"]["method_ms"] == pytest.approx(40_000)


@pytest.mark.parametrize("loads", [[BUSY], [QUIET, QUIET, BUSY, QUIET]], ids=["before", "meanwhile"])
def test_a_busy_machine_changes_no_record(measured, load, loads, forwards):
    before = files(measured)
    load[:] = loads
    assert measured("retime", "--repetition", "0") == 2
    assert "error: The machine is busy (2.6 processes a core, more than 1.25)" in measured.err
    assert "--busy" in measured.err and measured.err.count("\n") == 1
    assert files(measured) == before and bool(forwards) == (len(loads) > 1)
    load[:] = loads
    assert measured("retime", "--repetition", "0", "--busy") == 0
    assert "2.60 †" in measured.out and files(measured) != before


def test_a_plan_changes_nothing(measured, forwards):
    before = files(measured)
    assert measured("retime", "--dry-run") == 0
    assert "3 of 3 records timed anew on 30 images, in about" in measured.out and "repetition 1" in measured.out
    assert files(measured) == before and not forwards


def test_what_is_not_in_the_store_is_named_and_nothing_is_trained(measured, forwards):
    before = files(measured)
    for path in (measured.runs / "weights").rglob("dicnet*"):
        path.unlink()
    assert measured("retime", "--repetition", "0") == 1
    assert "failed: dicnet: its fit town/dicnet-" in measured.err and "`python -m benchmark train`" in measured.err
    after = files(measured)
    assert {name for name in before if after[name] != before[name]} == {"msp.json", "mahalanobis.json"}
    assert not list((measured.runs / "weights").rglob("dicnet*"))


def test_a_stale_record_keeps_its_times(measured):
    path = measured.runs / "records" / "town" / "pspnet-small" / "msp.json"
    path.write_text(path.read_text().replace('"version": 1,\n    "auxiliary', '"version": 99,\n    "auxiliary'))
    kept = path.read_bytes()
    assert measured("retime", "--repetition", "0") == 1
    assert "failed: msp: its record is stale (the method's version changed from 99 to" in measured.err
    assert path.read_bytes() == kept and "retimed" in measured.record("dicnet")["cost"]


def test_what_is_not_there_is_one_sentence(bench, measured):
    assert bench("retime", "--network", "pspnet-resnet18") == 2
    assert "has no record of town with the network pspnet-resnet18" in bench.err
    assert bench("retime", "--methods", "energy", "--repetition", "0") == 1
    assert "failed: energy: it has no record here" in bench.err


def test_other_recipes_are_found_when_they_are_given(measured):
    recipe = ["--recipe", "distillation.epochs=2"]
    assert measured("run", "--methods", "dicnet", *recipe) == 0
    assert measured("retime", "--repetition", "0") == 1
    assert "failed: dicnet:distillation.epochs=2: it was measured with another --recipe" in measured.err
    assert measured("retime", "--repetition", "0", "--methods", "dicnet", *recipe) == 0
    assert "retimed" in measured.record("dicnet+distillation.epochs=2")["cost"]


def test_adopted_times_say_so(measured):
    results = ["--no-readme", "--results", str(measured.folder / "results")]
    assert measured("table", "--adopt", str(measured.runs), *results) == 0
    assert measured("retime") == 0
    assert measured("table", "--adopt", str(measured.runs), "--dry-run", *results) == 0
    assert "0 new, 0 replaced, 5 same numbers" in measured.out
    assert measured.out.count("times taken anew on 20") == 5 and "2.60 † → 0.40" in measured.out
    assert measured("table", "--adopt", str(measured.runs), *results) == 0
    assert measured("table", "--check", *results) == 0
    board = (measured.folder / "results" / "LEADERBOARD.md").read_text()
    assert "†" not in board and "times taken in a later pass, over 4 images" in board


def test_an_unfinished_pass_outlives_it(measured):
    (measured.data / "damaged").write_text("2")
    assert measured("run", "--methods", "msp", "--force") == 2
    (measured.data / "damaged").unlink()
    assert measured("retime", "--methods", "msp", "--repetition", "0") == 0
    assert measured("run", "--methods", "msp", "--force") == 0
    assert "goes on after 2 of 4 images" in measured.out


def test_forecasts_go_by_the_times_that_count(measured):
    import torch

    assert measured("retime", "--repetition", "0") == 0
    history = History(measured.runs, torch.device("cpu"), "fp32", "fp32")
    loads = {record.method.label: record.timing.load for record in history._records if record.network.seed == 0}
    assert loads == {"msp": QUIET, "dicnet": QUIET, "mahalanobis": QUIET}
