"""``runs``: every file of a run folder is in one of its lines, and only what is named is deleted."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture
def kept(bench):
    """A run folder with two records, a network, a fit, states of three kinds and pictures."""
    assert bench.once("msp and dicnet", lambda: bench("run", "--methods", "msp,dicnet")) == 0
    states = {
        "weights/town/other-m0-1.state": b"state",
        "partial/abc.npz": b"damaged",
        "weights/town/.x.json.elsewhere-1.abc.tmp": b"half",
        "pictures/a.png": b"12345",
        "notes.txt": b"mine",
    }
    for name, content in states.items():
        path = bench.runs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        old = time.time() - 10_000
        os.utime(path, (old, old))
    return bench


def things(bench) -> dict[str, dict]:
    assert bench("runs", "--out", str(bench.runs), "--json") == 0
    return {thing["name"]: thing for thing in json.loads(bench.out)["things"]}


def files(bench) -> set[str]:
    return {path.relative_to(bench.runs).as_posix() for path in bench.runs.rglob("*") if path.is_file()}


def test_every_file_is_in_one_thing(kept):
    found = things(kept)
    listed = [file for thing in found.values() for file in thing["files"]]
    assert sorted(listed) == sorted(str(kept.runs / name) for name in files(kept))
    assert sum(thing["bytes"] for thing in found.values()) == sum(
        (kept.runs / name).stat().st_size for name in files(kept)
    )
    kinds = {name: thing["kind"] for name, thing in found.items()}
    assert kinds["records/town/pspnet-small/msp"] == kinds["records/town/pspnet-small/dicnet"] == "record"
    assert len(found["records/town/pspnet-small/msp"]["files"]) == 3, "with its rows and curves"
    weights = {name: thing["about"] for name, thing in found.items() if thing["kind"] == "weights"}
    (network,) = (about for name, about in weights.items() if "pspnet" in name)
    (fit,) = (about for name, about in weights.items() if "dicnet" in name)
    assert "mIoU" in network and "used in 2 records" in network and "used in 1 record here" in fit
    unfinished = {name for name, kind in kinds.items() if kind == "unfinished"}
    assert unfinished == {
        "partial/abc.npz",
        "weights/town/other-m0-1.state",
        "weights/town/.x.json.elsewhere-1.abc.tmp",
    }


def test_what_table_and_report_wrote_is_known_and_may_go(kept):
    names = {"LEADERBOARD.md", "tables/town.csv", "report.html"}
    for name in names:
        (kept.runs / name).parent.mkdir(exist_ok=True)
        (kept.runs / name).write_text("made")
    assert kept("table", "--results", str(kept.runs), "--no-readme") == 0
    found = things(kept)
    assert {found[name]["kind"] for name in ("LEADERBOARD.md", "tables", "report.html")} == {"other"}
    assert found["notes.txt"]["kind"] == "foreign"
    assert kept("runs", "--out", str(kept.runs), "--delete", "LEADERBOARD.md", "tables") == 0
    assert not {"LEADERBOARD.md", "tables/town.csv"} & files(kept)


def test_the_tables_name_everything_and_the_size_of_all(kept):
    found = things(kept)
    assert kept("runs", "--out", str(kept.runs)) == 0
    for name in found:
        assert name in kept.out.split()
    assert "Measured: 2" in kept.out and "Unfinished: 3" in kept.out and "All together " in kept.out


def test_a_record_goes_with_its_rows_and_curves_and_nothing_else(kept):
    before = files(kept)
    assert kept("runs", "--out", str(kept.runs), "--delete", "records/town/pspnet-small/msp", "--dry-run") == 0
    assert "would be deleted: records/town/pspnet-small/msp" in kept.out and files(kept) == before
    assert kept("runs", "--out", str(kept.runs), "--delete", "records/town/pspnet-small/msp") == 0
    gone = {"msp.json", "msp.rows.csv.gz", "msp.curves.csv.gz"}
    assert before - files(kept) == {f"records/town/pspnet-small/{name}" for name in gone}
    assert kept("run", "--methods", "msp,dicnet", "--dry-run") == 0
    assert "msp: not measured yet" in kept.out and "dicnet: current" in kept.out


def test_a_pattern_never_takes_a_record(kept):
    measured = {name for name in files(kept) if name.startswith("records/")}
    assert kept("runs", "--out", str(kept.runs), "--delete", "records/*") == 2
    assert "fits nothing but records, which go by their full names" in kept.err
    assert kept("runs", "--out", str(kept.runs), "--delete", "*") == 0
    assert files(kept) == measured | {"notes.txt"} and kept.out.count("deleted: ") == kept.out.count("\n") > 5
    assert {path.name for path in kept.runs.iterdir()} == {"records", "notes.txt"}, "empty folders go, too"
    assert kept("run", "--methods", "msp,dicnet", "--dry-run") == 0 and kept.out.count(": current") == 2


def test_what_a_command_may_be_at_work_on_stays(kept):
    os.utime(kept.runs / "weights" / "town" / "other-m0-1.state")
    before = files(kept)
    assert kept("runs", "--out", str(kept.runs), "--delete", "*.state", "pictures") == 2
    assert "may be at work on it" in kept.err and files(kept) == before, "all or nothing"


def test_what_a_lost_record_and_a_report_leave_behind_goes(kept):
    (kept.runs / "records/town/pspnet-small/msp.json").unlink()
    (kept.runs / "records/town/pspnet-small/folder.json").mkdir()
    (kept.runs / "report.html").write_text("a page")
    for path in (kept.runs / "records").rglob("msp.*"):
        os.utime(path, (0, 0))
    found = things(kept)
    rows = found["records/town/pspnet-small/msp.rows.csv.gz"]
    assert rows["kind"] == "unfinished" and "without its record" in rows["about"]
    assert found["report.html"]["kind"] == "other" and "records/town/pspnet-small/folder" not in found
    assert kept("runs", "--out", str(kept.runs), "--delete", "*/msp.*", "report.html") == 0
    assert {name for name in files(kept) if "msp." in name or name == "report.html"} == set()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--delete", "records/town/pspnet-small/mps"], "no 'records/town/pspnet-small/mps' there"),
        (["--delete", "../bench/data"], "no '../bench/data' there"),
        (["--delete", "notes.txt"], "notes.txt was not made by this suite; delete it by hand"),
        (["--dry-run"], "name something to delete"),
        (["--out", "nowhere"], "no folder nowhere"),
    ],
)
def test_mistakes(kept, line, words):
    before = files(kept)
    assert kept("runs", "--out", str(kept.runs), *line) == 2
    assert words in kept.err and kept.err.count("\n") == 1 and files(kept) == before


def test_a_folder_without_anything(bench, tmp_path):
    (tmp_path / "empty").mkdir()
    assert bench("runs", "--out", str(tmp_path / "empty")) == 0 and "is empty" in bench.out


def test_what_takes_seconds_to_import_is_left_alone(tmp_path):
    check = (
        "import sys; from benchmark.cli.main import main\n"
        "assert main(['runs', '--out', sys.argv[1]]) == 0\n"
        "sys.exit(', '.join({'torch', 'pandas', 'scipy'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", check, str(tmp_path)], cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
