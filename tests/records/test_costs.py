"""The record of what rows cost: hours, tables, and a file that is read back."""

import dataclasses
import re

import pytest

from benchmark.errors import BenchmarkError
from benchmark.leaderboard.costs import markdown, terminal
from benchmark.leaderboard.generate import render
from benchmark.records.costs import Costs, MethodCost, TrainingCost, read_costs
from benchmark.records.provenance import Provenance


def costs(reduced="", **more) -> Costs:
    trainings = [
        TrainingCost("net", "segmentation", 8, 36_000, "native", seconds=0.2, memory_gib=12.34),
        TrainingCost("student distillation", "distillation", 16, 7200, "native", seconds=0.5, memory_gib=20.0),
        TrainingCost("giant", "segmentation", 8, 10, "native", error="does not fit into the memory of 80 GiB"),
    ]
    methods = [
        MethodCost("ensemble", "Ensemble", ["net", "net"], network_ms=30.0, method_ms=6.0, memory_gib=3.0),
        MethodCost("student", "Student", ["net", "student distillation"], 20.0, 4.0, None, 36.0, 5.0),
        MethodCost("statistics", "Statistics", ["net"], 20.0, 4.0, statistics_ms=72.0, memory_gib=5.0),
        MethodCost("giant", "Giant", ["giant"], 20.0, 4.0, memory_gib=5.0),
        MethodCost("broken", "Broken", ["net"], error="evaluation: ValueError: no"),
    ]
    made = Provenance(device="NVIDIA H100 80GB HBM3", precision="bf16", versions={"torch": "2.9"})
    values = {"dataset": "streethazards", "title": "StreetHazards", "network": "net", "size": [720, 1280]}
    return Costs(
        **values,
        train_images=5000,
        test_images=1000,
        batch_size=1,
        reduced=reduced,
        trainings=trainings,
        methods=methods,
        provenance=made,
        **more,
    )


def test_hours_are_steps_times_seconds_and_images_times_milliseconds():
    found = costs()
    ensemble, student, statistics, giant, broken = map(found.hours, found.methods)
    assert ensemble == pytest.approx({"training": 4.0, "fit": 0.0, "evaluation": 0.01, "row": 4.01})
    assert student == pytest.approx({"training": 3.0, "fit": 0.01, "evaluation": 24 / 3600, "row": 3.01 + 24 / 3600})
    assert statistics["fit"] == pytest.approx(0.1)
    assert giant["training"] is None and giant["row"] is None and giant["evaluation"] > 0
    assert broken["training"] == 2.0 and broken["row"] is None
    assert set(costs(reduced="64x32").hours(found.methods[0]).values()) == {None}


def test_a_record_is_read_back_and_stands_in_the_tables(tmp_path):
    found = costs()
    (tmp_path / "published").mkdir()
    assert "costs" not in render(tmp_path)[tmp_path / "LEADERBOARD.md"]
    path = found.write(tmp_path)
    assert path == tmp_path / "costs" / "nvidia-h100-80gb-hbm3.json"
    assert read_costs(tmp_path) == [found]
    page = render(tmp_path)[tmp_path / "LEADERBOARD.md"]
    assert markdown([found]) in page
    page = re.sub(" +", " ", page)  # cells are padded
    assert "| net | 8 | native | 200 | 40.0 | 12.3 | 36000 | 2.0 |" in page
    assert "| Ensemble | 30.0 + 6.0 | 3.0 | 4.00 | 0.00 | 0.01 | 4.01 |" in page
    assert "| giant: does not fit into the memory of 80 GiB | 8 | native | – |" in page
    assert "NVIDIA H100 80GB HBM3 (bf16, torch 2.9)" in page


def test_what_is_reduced_enters_no_table(tmp_path):
    reduced = costs(reduced="64x32, 8 images")
    with pytest.raises(BenchmarkError, match=r"reduced measurement \(64x32, 8 images\) enters no table"):
        reduced.write(tmp_path)
    assert not list(tmp_path.iterdir())
    assert "so that no hours follow" in terminal(reduced) and "2.0" not in terminal(reduced).split("distillation")[0]


def test_a_damaged_record_is_named(tmp_path):
    path = costs().write(tmp_path)
    path.write_text(path.read_text().replace('"steps": 10', '"steps": "ten"'))
    with pytest.raises(BenchmarkError, match=f"{path.name} is no record of costs.*steps.*not an integer"):
        read_costs(tmp_path)
    dataclasses.replace(costs(), schema=0).write(tmp_path)
    with pytest.raises(BenchmarkError, match="schema is not 1"):
        read_costs(tmp_path)
