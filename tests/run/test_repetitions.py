"""Several seeds in one command: measured one after the other, tabulated together, adopted and compared."""

import re
import statistics

import pytest

from benchmark.errors import BenchmarkError
from benchmark.run.options import parse_repetitions


@pytest.mark.parametrize(
    ("text", "found"), [("0", (0,)), (3, (3,)), ("0,2", (0, 2)), ("0-2", (0, 1, 2)), (" 4, 0-1,1 ", (4, 0, 1))]
)
def test_repetitions_are_numbers_lists_and_ranges(text, found):
    assert parse_repetitions(text) == found


@pytest.mark.parametrize("text", ["", "-1", "2-0", "a", "0,", "1.5", "0:2"])
def test_anything_else_is_one_sentence(text):
    with pytest.raises(BenchmarkError, match=r"--repetition .*: write numbers from 0, as in 1 or 0,1,2"):
        parse_repetitions(text)


def row(text: str, title: str) -> str:
    return next(line for line in text.splitlines() if line.lstrip("| ").startswith(title))


def test_seeds_are_measured_in_one_command_and_travel_together(bench):
    methods = ["--methods", "msp,dicnet,energy"]
    assert bench("run", "--methods", "msp,dicnet", "--repetition", "0") == 0
    assert bench("run", *methods, "--repetition", "0-1", "--protocols", "open-set") == 0
    assert [line for line in bench.out.splitlines() if line.startswith("Repetition")] == [
        "Repetition 0.",
        "Repetition 1.",
    ]
    assert bench.records() == {m + s for m in ("msp", "dicnet", "energy") for s in ("", "+seed1")}
    records = [bench.record("msp"), bench.record("msp+seed1")]
    assert records[0]["network"]["weights_sha256"] != records[1]["network"]["weights_sha256"]
    assert [r["network"]["recipe"]["seed"] for r in records] == [304, 1304]
    values = [100 * r["metrics"]["per-image"]["aupr"] for r in records]
    shown = f"{statistics.fmean(values):.1f}±{statistics.stdev(values):.1f}"
    assert bench.out.count("Town, pspnet-small") == 1 and shown in row(bench.out, "MSP ×2")
    assert "Not all rows" not in bench.out

    assert bench("run", *methods, "--repetition", "0,1") == 0, "answers from the records"
    assert bench.out.count("current") == 6 and shown in row(bench.out, "MSP ×2")

    results = bench.folder / "results"
    assert bench("table", "--adopt", str(bench.runs), "--no-readme", "--results", str(results)) == 0
    assert {p.name for p in (results / "records").rglob("*.gz")} == {
        p.name for p in (bench.runs / "records").rglob("*.gz")
    }
    assert bench("table", "--check", "--no-readme", "--results", str(results)) == 0
    line = row((results / "LEADERBOARD.md").read_text(), "MSP")
    assert shown.replace("±", " ± ") in line and line.split("|")[-2].strip() == "2"
    assert bench("compare", "msp", "energy", "--results", str(results)) == 0
    assert bench.out.startswith("Mean over the repetitions 0, 1.") and "Not all" not in bench.out


def test_one_repetition_may_fail_without_hiding_the_others(bench):
    fragile = """
        from benchmark.method import Method

        class Fragile(Method):
            def score(self, batch, networks):
                if networks["base"].spec.recipe.seed > 1000:
                    raise RuntimeError("not this seed")
                return -networks["base"](batch).logits().amax(dim=1)
        """
    bench.plugin("fragile", fragile)
    assert bench("run", "--methods", "fragile,msp", "--repetition", "0-1") == 1
    assert bench.records() == {"fragile", "msp", "msp+seed1"}
    assert re.search(r"^failed: .*fragile.*not this seed", bench.err, re.MULTILINE)
    assert "MSP ×2" in bench.out and re.search(r"^fragile  ", bench.out, re.MULTILINE)


def test_the_plans_of_all_repetitions_are_printed_by_a_dry_run(bench):
    assert bench("run", "--methods", "msp", "--repetition", "0,2", "--dry-run") == 0
    assert bench.out.count("  train pspnet-small on town") == 2 and not bench.records()
    assert bench("run", "--methods", "msp", "--repetition", "0-x") == 2
    assert bench.err == "error: --repetition 0-x: write numbers from 0, as in 1 or 0,1,2 or 0-2.\n"
