"""Score maps that were made elsewhere stand in tables and comparisons like what was measured here."""

import json

import numpy as np
import pytest
from pandas import read_csv
from toy_records import HEAD

NAMED = ["--dataset", "town", "--name", "Mine"]


@pytest.fixture
def maps(bench):
    """Score maps of a method that is measured, too."""

    def make():
        assert bench("run", "--methods", "msp,energy") == 0
        assert bench("infer", "--methods", "msp", "--to", bench.folder / "maps") == 0

    bench.once("maps and records", make)
    return bench.folder / "maps/msp"


def score(bench, maps, *more):
    return bench("score", maps, *NAMED, "--data", bench.data, "--out", bench.runs, *more)


def test_the_record_of_maps_has_the_numbers_of_the_run_that_made_them(bench, maps):
    assert score(bench, maps) == 0
    mine, theirs = bench.record("Mine", "elsewhere"), bench.record("msp")
    assert f"Record: {bench.runs / 'records/town/elsewhere/Mine.json'}" in bench.out
    assert mine["metrics"] == theirs["metrics"] and mine["dataset"] == theirs["dataset"]
    assert len(mine["method"]["source"]["score maps"]) == 64
    first, second = ((bench.runs / "records/town" / place).read_bytes() for place in
                     ("elsewhere/Mine.rows.csv.gz", "pspnet-small/msp.rows.csv.gz"))  # fmt: skip
    assert first == second


def test_it_stands_in_tables_and_is_held_to_its_rows(bench, maps):
    cited = ["--paper", "A. Author, CVPR 2026"]
    assert score(bench, maps, "--network", "pspnet-small", *cited) == 0
    assert bench.record("Mine")["method"]["paper"] == cited[1]
    results = bench.folder / "results"
    (results / "published").mkdir(parents=True)
    (results / "published/town.csv").write_text(HEAD)
    where = ["table", "--no-readme", "--results", results]
    assert bench(*where, "--adopt", bench.runs, "--methods", "Mine,energy") == 0
    text = (results / "LEADERBOARD.md").read_text()
    assert "| Mine ‡ " in text and "| Energy " in text and text.count("‡") == 2
    legend = "‡ Score maps that were made elsewhere, of whose network nothing is known: Mine (A. Author, CVPR 2026)."
    assert legend in text and legend in (results / "tables/town.html").read_text()
    rows = read_csv(results / "tables/town.csv").set_index("method")
    assert rows["external"].to_dict() == {"Mine": "yes", "energy": "no"}
    for form, mark in (("--latex", r"Mine $\ddagger$"), ("--markdown", "Mine ‡"), ("--csv", "Mine,Mine,no,yes,")):
        assert bench("table", "--results", results, form, "--methods", "Mine,energy") == 0
        assert mark in bench.out
        assert form == "--csv" or bench.out.count("made elsewhere") == 1
    assert bench(*where, "--check") == 0
    path = results / "records/town/pspnet-small/Mine.json"
    content = json.loads(path.read_text())
    content["metrics"]["per-image"]["aupr"] = 0.5
    path.write_text(json.dumps(content))
    assert bench(*where, "--check") == 1 and "aupr is 0.5 in the record" in bench.err


def test_methods_are_compared_across_networks(bench, maps):
    assert score(bench, maps) == 0
    where = ["compare", "--results", bench.runs]
    assert bench(*where, "msp@pspnet-small", "Mine@elsewhere") == 0
    assert "Town" not in bench.err and "pspnet-small and elsewhere" in bench.out
    assert bench.out.count("+0.00 [+0.00, +0.00]") == 3, "they are the same maps"
    assert bench(*where, "Energy@pspnet-small", "mine@elsewhere") == 0 and "energy@pspnet-small" in bench.out
    for line, says in (
        (["msp@pspnet-small", "Mine"], "each method has its own behind an @"),
        (["msp@pspnet-small", "Mine@nowhere"], "no such record of 'Mine@nowhere'"),
        (["msp", "Mine"], "no record of msp and Mine with one network"),
    ):
        assert bench(*where, *line) == 2 and says in bench.err, bench.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--name", "msp", "--network", "pspnet-small"], r"msp.json is the record of a run; give"),
        (["--name", "a\nb"], "is one line of text"),
        (["--name", "a@b"], "--name 'a@b' is no name; it is one line of text without @"),
        (["--network", "a@b"], "--network 'a@b' is no name; it is one line of text without @"),
        (["--name", " "], "is one line of text"),
        (["--name", "", "--network", "x"], "give its method a --name"),
        (["--name", "", "--paper", "x"], "--paper says what to cite"),
        (["--paper", "x\ny"], "--paper is one line of text"),
    ],
)
def test_what_cannot_be_its_name(bench, maps, more, says):
    before = bench.records()
    assert score(bench, maps, *more) == 2 and says in bench.err, bench.err
    assert bench.records() == before
    np.save(maps / "toy/0.npy", np.zeros((48, 64), np.float32))
    assert score(bench, maps) == 0 and score(bench, maps) == 0, "its own record is replaced"
