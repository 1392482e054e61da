"""What an adoption changes is said before it is done: old and new values, times and what else differs."""

import dataclasses
import json

import pytest
from toy_records import measurement, record

from benchmark.leaderboard import preview
from benchmark.records.adoption import Candidate


def candidate(tmp_path, old, new):
    return Candidate(new, tmp_path, new.path(tmp_path), old)


def timed(made, network_ms, load, device="cpu"):
    return dataclasses.replace(
        made,
        cost=dataclasses.replace(made.cost, network_ms=network_ms),
        provenance=dataclasses.replace(made.provenance, load=load, device=device),
    )


def line_of(text, *starts):
    """The cells of the lines that begin so."""
    return [line.split() for line in text.splitlines() if line.split()[:1] == [*starts]]


def test_values_stand_beside_those_that_they_replace(tmp_path):
    old = record("msp", aupr=0.2, fpr95=0.3, auroc=0.9)
    new = record("msp", aupr=0.2125, fpr95=0.3, auroc=0.85)
    found = preview.values(candidate(tmp_path, old, new))
    assert found["record"] == "toyset/net-small/msp" and found["change"] == "replaces"
    assert found["metrics"]["streethazards"]["aupr"] == pytest.approx({"old": 20, "new": 21.25, "difference": 1.25})
    assert found["metrics"]["pooled"]["auroc"] == pytest.approx({"old": 80, "new": 75, "difference": -5})
    text = preview.text([candidate(tmp_path, old, new)])
    assert text.startswith("toyset, net-small: 0 new, 1 replaced, 0 same numbers\n")
    metrics = line_of(text, "msp")[0]
    assert metrics[2:] == [
        *["replaces", "20.00", "→", "21.25", "(+1.25)", "30.00", "90.00", "→", "85.00", "(-5.00)"],
        *["streethazards", "v1"],
    ]
    assert "msp: values under pooled change, too." in text


def test_what_is_new_or_the_same_shows_one_value(tmp_path):
    same = record("energy", seed=1)
    text = preview.text([candidate(tmp_path, None, record("msp")), candidate(tmp_path, same, same)])
    assert text.startswith("toyset, net-small: 1 new, 0 replaced, 1 same numbers\n")
    assert line_of(text, "msp")[0][1:6] == ["0", "new", "20.00", "30.00", "90.00"]
    assert line_of(text, "energy")[0][1:7] == ["1", "same", "numbers", "20.00", "30.00", "90.00"]
    assert "→" not in text and "energy:" not in text
    assert preview.values(candidate(tmp_path, None, record("msp")))["metrics"]["pooled"]["aupr"]["difference"] is None


def test_times_show_machine_and_load(tmp_path):
    old, new = timed(record("msp"), 20.0, 0.3), timed(record("msp"), 5.5, 2.5, "A GPU")
    text = preview.text([candidate(tmp_path, old, new)])
    times = line_of(text, "msp")[1]
    assert times[2:6] == ["20.0", "→", "5.5", "(-14.5)"] and "0.30 → 2.50 †" in text
    assert "A CPU (fp32, 2 threads, batch 4) → A GPU (fp32, batch 4)" in text and "† beside other work" in text
    found = preview.values(candidate(tmp_path, old, new))["times"]
    assert (found["old"]["network_ms"], found["new"]["load"]) == (20.0, 2.5)
    assert "†" not in preview.text([candidate(tmp_path, None, old)])


def test_every_place_has_its_tables_and_odd_records_their_remarks(tmp_path):
    new = record("msp", dirty=True)
    other = record("msp", dataset="yard")
    text = preview.text([candidate(tmp_path, None, other), candidate(tmp_path, None, new)])
    assert [part.splitlines()[0].partition(":")[0] for part in text.split("\n\n\n")] == [
        "toyset, net-small",
        "yard, net-small",
    ]
    assert "msp: measured with uncommitted changes in the code." in text
    gone = record("msp", metrics={"streethazards": measurement()})
    (tmp_path / "x").mkdir()
    assert "values under pooled go" in preview.text([candidate(tmp_path, record("msp"), gone)])
    new.path(tmp_path).parent.mkdir(parents=True)
    new.path(tmp_path).write_text("{")
    text = preview.text([candidate(tmp_path, None, new)])
    assert "1 replaced" in text and "takes the place of msp.json, which is no record" in text


def test_a_dry_run_prints_the_preview_and_nothing_else(bench):
    assert bench("run", "--methods", "msp,energy") == 0
    where = ["table", "--adopt", str(bench.runs), "--no-readme", "--results", str(bench.folder / "r")]
    assert bench(*where, "--methods", "msp", "--dry-run", "--json") == 0
    (found,) = json.loads(bench.out)["adopt"]
    assert found["record"] == "town/pspnet-small/msp" and found["change"] == "new" and found["seed"] == 0
    new = found["metrics"]["per-image"]["aupr"]["new"]
    assert new == pytest.approx(100 * bench.record("msp")["metrics"]["per-image"]["aupr"])
    assert bench.err.startswith("town, pspnet-small: 1 new, 0 replaced") and not (bench.folder / "r").exists()
    assert bench(*where, "--methods", "msp") == 0 and bench.out.splitlines()[-1].startswith(str(bench.folder / "r"))
    assert bench(*where, "--methods", "msp", "--dry-run") == 0 and "1 same numbers" in bench.out
