"""``bench device``: parts that are measured and stored one by one; what fails is said, and the others go on."""

import dataclasses
import json

import pytest

from benchmark.bench import device as module
from benchmark.bench.device import SHARES, Asked, measure_apart, measure_part, parse_parts
from benchmark.bench.pipeline import covered
from benchmark.errors import BenchmarkError
from benchmark.leaderboard.devices import markdown, terminal
from benchmark.leaderboard.generate import render
from benchmark.records.costs import Costs
from benchmark.records.device import DeviceReport, Part, known_costs, read_report, read_reports
from benchmark.records.provenance import Provenance

ON_CPU = Asked(device="cpu", quick=True)


def test_every_part_of_a_trial_is_measured_on_a_cpu_and_kept_beside_the_others(bench):
    for name in SHARES:
        assert bench("bench", "device", "--device", "cpu", "--quick", "--parts", name, "--write", "found") == 0, (
            bench.out + bench.err
        )
    (path,) = (bench.folder.parent / "found" / "devices").glob("*.json")
    report = read_report(path)
    assert list(report.parts) == list(SHARES) and not any(part.error for part in report.parts.values())
    assert len(report.contracts) == 2 and not any(row.failed for row in report.contracts)
    assert {"fp32"} == {precision for row in report.contracts for precision in row.gaps}
    assert sum(one.name.startswith("ours") for one in report.metrics) == 2
    assert report.costs.trainings and all(one.seconds > 0 for one in report.costs.trainings)
    assert all(one.method_ms > 0 for one in report.costs.methods) and report.costs.reduced
    found = report.pipeline
    assert found.images == 4 and found.ratio == pytest.approx(found.serial / found.whole) and found.busy is None
    assert found.limit in ("reading", "networks and scores", "metrics")
    assert "2 of 2 methods keep their contract" in " ".join(bench.out.split())
    assert "a trial at reduced size" in report.reduced and read_reports(bench.folder.parent / "found") == []


def test_a_part_that_kills_its_process_leaves_the_others(monkeypatch):
    """The plugin ends the process while it is loaded, as a driver does, on its way to the costs alone."""
    found = list(measure_apart(["metrics"], ON_CPU, ["missing.py"], _quiet))
    assert "ended with code 1 and without a result" in found[0].parts["metrics"].error
    monkeypatch.setattr(module, "GRACE", -60 * 10 * SHARES["costs"] + 0.05)
    (late,) = measure_apart(["costs"], ON_CPU, (), _quiet)
    assert late.parts["costs"].error == "stopped after 0 s" and late.costs is None


def _quiet(text):
    """Says nothing; a function of a module, as a process of its own needs it."""


def test_what_a_part_raises_is_its_error(monkeypatch):
    def broken(*_):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setitem(module._MEASURES, "costs", broken)
    report = measure_part("costs", ON_CPU)
    assert "device-side assert" in report.parts["costs"].error and report.costs is None
    assert "missing: RuntimeError: CUDA error" in " ".join(terminal(report).split())


def test_where_the_time_is_up_the_rest_is_named():
    report = measure_part("contracts", dataclasses.replace(ON_CPU, methods="msp,sml", minutes=0))
    assert report.contracts == [] and report.parts["contracts"].error == "the time was up before msp, sml"
    report = measure_part("costs", dataclasses.replace(ON_CPU, methods="msp", minutes=0), _quiet)
    assert "not begun, the time was up" in report.parts["costs"].error


def test_parts_are_known_and_in_order():
    assert parse_parts("costs, contracts") == ["contracts", "costs"]
    with pytest.raises(BenchmarkError, match="there is no part 'speed'; there are contracts, metrics, costs, pipeline"):
        parse_parts("costs,speed")


def test_the_time_that_intervals_cover_counts_once():
    assert covered([]) == 0 and covered([(0, 2), (1, 3), (5, 6), (5.2, 5.4)]) == 4


def made(date="2026-01-02T00:00:00Z"):
    return Provenance(versions={"torch": "9.9"}, device="Toy GPU", date=date)


def test_the_leaderboard_has_the_machines_and_the_later_costs(tmp_path):
    costs = _costs(made("2026-01-01T00:00:00Z"))
    costs.write(tmp_path)
    later = dataclasses.replace(costs, provenance=made(), train_images=7)
    part = Part(12.0, made(), "the time was up before odd")
    report = DeviceReport("Toy GPU", "", {"costs": part}, costs=later)
    assert known_costs(tmp_path) == [costs]
    path = report.write(tmp_path)
    assert path == tmp_path / "devices" / "toy-gpu.json" and read_report(path) == report
    assert known_costs(tmp_path) == [later]
    page = render(tmp_path)[tmp_path / "LEADERBOARD.md"]
    assert "## Machines" in page and "the time was up before odd" in page and "7 training images" in page
    assert markdown([report]) in page
    path.write_text(json.dumps({"schema": 99}))
    with pytest.raises(BenchmarkError, match=r"toy-gpu\.json is no record of a device"):
        read_reports(tmp_path)


def _costs(provenance):
    return Costs("town", "Town", "net", [48, 64], 6, 3, 1, "", [], [], provenance)
