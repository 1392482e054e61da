"""What several GPUs bring: schedules within the bounds that are proven for them, and the page that is made of them."""

import dataclasses
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.leaderboard import scale
from benchmark.leaderboard.scale import Job, Plan, markdown, rendered
from benchmark.records.costs import Costs, MethodCost, TrainingCost
from benchmark.records.device import known_costs
from benchmark.records.provenance import Provenance

RESULTS = Path(__file__).resolve().parents[2] / "results"
HOUR = 3600.0


def training(title, hours):
    return TrainingCost(title, "segmentation", 8, 1, "native", hours * HOUR, 1.0)


def row(label, *trainings, hours=0.5):
    return MethodCost(label, label.upper(), list(trainings), 0.0, hours * HOUR)  # ms for 1000 images


COSTS = Costs(
    "town",
    "Town",
    "net",
    [720, 1280],
    10,
    1000,
    1,
    "",
    [training("net", 2.0), training("b own", 5.0), training("other", 1.0)],
    [row("a", "net"), row("b", "net", "b own"), row("c", *["net"] * 3), row("d", "other")],
    Provenance(device="Toy GPU"),
)


def test_trainings_that_rows_share_are_done_once_and_their_order_is_kept():
    plan = Plan.of(COSTS)
    assert sorted(job.title for job in plan.jobs) == ["A", "B", "C", "D", "b own", "net", "net", "net", "other"]
    assert plan.work == pytest.approx(COSTS.together(["a", "b", "c", "d"])) == pytest.approx(6 + 5 + 1 + 4 * 0.5)
    assert plan.chain == ["net", "b own", "B"] and plan.shortest == 7.5
    assert [plan.hours(n) for n in (1, 2, 3, 100)] == pytest.approx([14, 7.5, 7.5, 7.5])
    assert plan.enough() == 2
    assert (plan.seeds(1), plan.seeds(1, within=14), plan.seeds(2), plan.seeds(4), plan.seeds(2, within=7)) == (
        0,
        1,
        1,
        3,
        0,
    )


def test_a_row_without_a_measurement_is_left_out():
    broken = dataclasses.replace(COSTS.methods[1], method_ms=None)
    plan = Plan.of(dataclasses.replace(COSTS, methods=[COSTS.methods[0], broken]))
    assert [job.title for job in plan.jobs] == ["net", "A"]


@st.composite
def plans(draw):
    jobs = []
    for index in range(draw(st.integers(1, 12))):
        needs = draw(st.sets(st.integers(0, index - 1))) if index else set()
        jobs.append(Job(str(index), draw(st.floats(0.1, 9)), tuple(needs)))
    return Plan(tuple(jobs))


@given(plans(), st.integers(1, 6))
def test_a_schedule_keeps_the_bounds_of_graham(plan, gpus):
    """Not below the work shared by all nor the longest chain, nor above the two together (Graham 1966)."""
    found, work, chain = plan.hours(gpus), plan.work, plan.shortest
    assert max(work / gpus, chain) <= found * (1 + 1e-9)
    assert found <= (work / gpus + (1 - 1 / gpus) * chain) * (1 + 1e-9)
    by_title = {job.title: job.hours for job in plan.jobs}
    assert sum(by_title[title] for title in plan.chain) == pytest.approx(chain)


def test_seeds_share_nothing():
    plan = Plan((Job("x", 2.0), Job("y", 1.0, (0,))))
    assert plan.repeated(3).work == 9 and plan.repeated(3).shortest == 3 and plan.repeated(3).jobs[5].needs == (4,)


def test_many_short_seeds_are_counted_quickly():
    begun = time.process_time()
    assert Plan((Job("x", 0.0625),)).seeds(64) == 64 * 12 * 16
    assert time.process_time() - begun < 10, "one by one these take minutes"


def test_costs_without_a_whole_row_are_one_sentence():
    broken = [dataclasses.replace(method, method_ms=None) for method in COSTS.methods]
    text = markdown(dataclasses.replace(COSTS, methods=broken))
    assert text.startswith("On Toy GPU") and text.endswith("no row of Town was measured to its end.")


def test_the_page_says_what_is_measured_and_what_is_not():
    text = markdown(COSTS)
    assert "Measured on Toy GPU" in text and "take 14.0 h of one GPU" in text
    assert "it makes 3 of them, the cheapest first, in 8.5 h; not B." in text
    assert "Extrapolated: that every further GPU is as fast" in text and "stops getting faster at 2 GPUs" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| one machine with 8 GPUs")]
    assert [cell.strip() for cell in line.strip("|").split("|")][1:] == ["7.5", "1.9", "23%", "6"]


def test_the_committed_page_is_made_of_the_committed_costs():
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert scale.BEGIN in page and rendered(page, known_costs(RESULTS)) == page
    assert rendered("without lines", known_costs(RESULTS)) == "without lines"
