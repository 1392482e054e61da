"""Records that were edited, lost a file or come from elsewhere, published numbers out of range, outputs that fail."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faulty import Fault

from benchmark.leaderboard.generate import BEGIN, END
from benchmark.records import adoption

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture
def measured(bench):
    """A run folder with one record, and results of which it is a part."""
    bench.results = bench.folder / "results"

    def make():
        assert bench("run", "--methods", "msp") == 0
        assert bench("table", "--adopt", str(bench.runs), "--no-readme", "--results", str(bench.results)) == 0

    bench.once("an adopted record", make)
    return bench


def record_of(folder: Path) -> Path:
    return next((folder / "records").rglob("msp.json"))


def edit(*where, to, also=()):
    """Sets a value of the record in the results and in the run folder."""

    def arrange(bench):
        for folder in (bench.results, bench.runs):
            path = record_of(folder)
            content = json.loads(path.read_text())
            for place, value in ((where, to), *also):
                part = content
                for key in place[:-1]:
                    part = part[key]
                part[place[-1]] = value
            path.write_text(json.dumps(content))

    return arrange


def lose(ending: str):
    def arrange(bench):
        for folder in (bench.results, bench.runs):
            next((folder / "records").rglob(f"*{ending}")).unlink()

    return arrange


def rewrite(ending: str, change):
    """Changes the text of a packed file beside the record."""

    def arrange(bench):
        for folder in (bench.results, bench.runs):
            path = next((folder / "records").rglob(f"*{ending}"))
            path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode()))

    return arrange


AUPR = ("metrics", "per-image", "aupr")
INTERVALS = ("metrics", "per-image", "intervals")
POOLED = ("metrics", "pooled")
EDITED = {
    "an AUPR below 0": (edit(*AUPR, to=-5), "aupr' is not a number from 0 up to 1"),
    "an AUPR of 1e308": (edit(*AUPR, to=1e308), "aupr' is not a number from 0 up to 1"),
    "an AUPR that is NaN": (edit(*AUPR, to=float("nan")), "aupr' is not a finite number"),
    "an AUPR in percent": (edit(*AUPR, to=17.3), "aupr' is not a number from 0 up to 1"),
    "an AUPR that is text": (edit(*AUPR, to="0.5"), "aupr' is not a number"),
    "an AUPR that is true": (edit(*AUPR, to=True), "aupr' is not a number"),
    "another AUPR": (edit(*AUPR, to=0.5), "aupr is 0.5 in the record"),
    "another pooled AUPR": (edit(*POOLED, "aupr", to=0.999), "aupr is 0.999 in the record"),
    "another pooled AUROC": (edit(*POOLED, "auroc", to=0.999), "auroc is 0.999 in the record"),
    "another pooled FPR95": (edit(*POOLED, "fpr95", to=0.001), "fpr95 is 0.001 in the record"),
    "no pooled AUPR": (edit(*POOLED, "aupr", to=None), "aupr is None in the record"),
    "another mIoU": (edit("segmentation", "miou", to=0.999), "miou is 0.999 in the record"),
    "an mIoU of 61": (edit("segmentation", "miou", to=61.2), "miou' is not a number from 0 up to 1"),
    "a negative time": (edit("cost", "network_ms", to=-1), "network_ms' is not a number from 0"),
    "an interval of three ends": (edit(*INTERVALS, "aupr", to=[0, 0.5, 1]), "intervals.aupr' is not a list of 2"),
    "another interval": (edit(*INTERVALS, "aupr", to=[0.4, 0.41]), "the interval of aupr is"),
    "an interval of nothing": (edit(*INTERVALS, "speed", to=[0.4, 0.41]), "an interval of speed"),
    "a negative number of images": (edit("dataset", "images", to=-4), "images' is not a number from 0"),
    "no images": (edit("dataset", "images", to=0), "0 images of the dataset in the record, 4 in the rows"),
    "other pixels": (edit("dataset", "pixels", "ignored", to=7), "pixels in the record"),
    "lost rows": (lose("rows.csv.gz"), "No such file"),
    "lost curves": (lose("curves.csv.gz"), "No such file"),
    "rows that nobody names": (edit("rows", to=""), "it names no rows"),
    "curves that nobody names": (edit("curves", to=""), "the record names no curves"),
    "the rows of another record": (edit("rows", to="dicnet.rows.csv.gz"), "belongs to another record"),
    "rows outside the folder": (edit("rows", to="../../../../README.md"), "does not name a file beside it"),
    "curves outside the folder": (edit("curves", to="/etc/x.curves.csv.gz"), "does not name a file beside it"),
    "rows by another kind of path": (edit("rows", to="..\\x.rows.csv.gz"), "does not name a file beside it"),
    "garbage curves": (rewrite("curves.csv.gz", lambda text: text[:30]), "curves"),
    "curves of numbers in no order": (
        rewrite("curves.csv.gz", lambda t: "\n".join([t.splitlines()[0], *t.splitlines()[:0:-1], ""])),
        "no curves of a ranking"),
    "rows of three images": (
        rewrite("rows.csv.gz", lambda text: "\n".join([*text.splitlines()[:-1], ""])), "in the rows"),
}  # fmt: skip
"""What was done to a record -> how, and what must be said of it."""
RESAMPLED = {"another interval", "an interval of nothing"}
"""Left to the check, since a run does not draw the resamples again."""
KINDS = (
    "an AUPR of 1e308", "an AUPR that is text", "another AUPR", "another pooled FPR95", "no pooled AUPR",
    "another mIoU", "a negative time", "another interval", "no images", "other pixels", "lost rows", "lost curves",
    "rows that nobody names", "the rows of another record", "curves outside the folder", "garbage curves",
)  # fmt: skip
"""One of each kind; how a record is held against its files does not depend on who asks."""


def remeasured(bench):
    """The next run has noticed, and its record is whole again."""
    assert "msp: current" not in bench.out
    assert bench("run", "--methods", "msp") == 0 and "msp: current" not in bench.out
    assert bench("run", "--methods", "msp") == 0 and "msp: current" in bench.out


@pytest.mark.parametrize("what", [k for k in KINDS if k not in RESAMPLED])
def test_an_edited_record_is_not_current(measured, what):
    arrange, says = EDITED[what]
    Fault(what, arrange, ["run", "--methods", "msp", "--dry-run"], says, 0, remeasured).meet(measured)


@pytest.mark.parametrize("what", EDITED)
def test_the_check_of_tables_names_an_edited_record(measured, what):
    arrange, says = EDITED[what]
    line = ["table", "--check", "--no-readme", "--results", str(measured.results)]

    def named(bench):
        assert "msp.json" in bench.err

    Fault(what, arrange, line, says, 1, named).meet(measured)


ADOPTED = {kind: EDITED[kind] for kind in KINDS} | {
    "a path of the user": (edit("network", "options", to={"checkpoint": "/home/somebody/secret/w.pth"}),
                           "holds the path /home/somebody/secret/w.pth"),
    "a path of the user in words": (edit("dataset", "note", to="made from C:\\Users\\me"), "holds the path C:"),
}  # fmt: skip


@pytest.mark.parametrize("what", ADOPTED)
def test_an_edited_record_is_not_adopted(measured, what):
    arrange, says = ADOPTED[what]
    readme = measured.folder / "README.md"
    readme.write_text("mine")
    before = {}

    def and_remember(bench):
        arrange(bench)
        before.update({p: p.read_bytes() for p in bench.results.rglob("*") if p.is_file()})

    def untouched(bench):
        assert before == {p: p.read_bytes() for p in bench.results.rglob("*") if p.is_file()}
        assert readme.read_text() == "mine"

    line = ["table", "--adopt", str(measured.runs), "--no-readme", "--results", str(measured.results)]
    Fault(what, and_remember, line, says, 2, untouched).meet(measured)


def test_a_part_is_adopted_and_said_beforehand(measured):
    where = ["table", "--adopt", str(measured.runs), "--no-readme", "--results", str(measured.results)]
    assert measured("run", "--methods", "energy,max_logit") == 0
    assert measured(*where, "--methods", "energy", "--dry-run") == 0
    assert measured.out.startswith("town, pspnet-small: 1 new, 0 replaced, 0 same numbers\n")
    assert not list(measured.results.rglob("energy.json"))
    assert measured(*where, "--methods", "energy") == 0
    assert {p.stem for p in (measured.results / "records").rglob("*.json")} == {"msp", "energy"}
    (measured.data / "edition").write_text("2")
    assert measured("run", "--methods", "msp,energy") == 0
    assert measured(*where, "--dry-run") == 0
    assert measured.out.startswith("town, pspnet-small: 1 new, 0 replaced, 2 same numbers\n")
    said = [line for line in measured.out.splitlines() if line.startswith("energy: ")]
    assert len(said) == 1 and "the dataset's images or labels" in said[0]
    assert measured(*where, "--methods", "knn") == 2 and "no complete record of knn" in measured.err


@pytest.mark.parametrize("stage", ["copying", "moving"])
def test_a_full_disk_adopts_nothing(measured, monkeypatch, stage):
    assert measured("run", "--methods", "energy,msp", "--force") == 0
    before = {p: p.read_bytes() for p in measured.results.rglob("*") if p.is_file()}
    target, name = (adoption.shutil, "copyfile") if stage == "copying" else (adoption.os, "replace")
    real, calls = getattr(target, name), []

    def full(source, place):
        calls.append(place)
        if len(calls) == 4:
            Path(place).touch()
            raise OSError(28, "No space left on device")
        return real(source, place)

    monkeypatch.setattr(target, name, full)
    assert measured("table", "--adopt", str(measured.runs), "--no-readme", "--results", str(measured.results)) == 2
    assert "the disk is full" in measured.err and "nothing was adopted" in measured.err
    assert before == {p: p.read_bytes() for p in measured.results.rglob("*") if p.is_file()}


def killed(monkeypatch, name, at, line):
    """Run a command in a process that ends, as by a kill, when it calls a function of the adoption for the nth time."""
    module, calls = {"copyfile": adoption.shutil, "replace": adoption.os}[name], []
    real = getattr(module, name)

    def call(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            os._exit(9)
        return real(*arguments)

    process = os.fork()
    if not process:
        monkeypatch.setattr(module, name, call)
        try:
            line()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9


@pytest.mark.parametrize(
    ("name", "at", "finished"), [("copyfile", 4, False), *(("replace", n, True) for n in (1, 2, 5, 9))]
)
@pytest.mark.parametrize("then", ["table", "adopt"])
def test_a_killed_adoption_is_finished_or_swept(measured, monkeypatch, name, at, finished, then):
    where = ["table", "--no-readme", "--results", str(measured.results)]
    (measured.data / "edition").write_text("2")
    assert measured("run", "--methods", "energy,msp") == 0

    def content(folder):
        return {p.relative_to(folder): p.read_bytes() for p in (folder / "records").rglob("*") if p.is_file()}

    old, new = content(measured.results), content(measured.runs)
    killed(monkeypatch, name, at, lambda: measured(*where, "--adopt", str(measured.runs)))
    (left,) = adoption.interrupted(measured.results)
    assert measured(*where, "--check") == 1 and f"stale: {left} is an adoption that was interrupted" in measured.err
    assert left.exists()
    if then == "table":
        assert measured(*where) == 0 and ("Finished an adoption" in measured.out) == finished
        assert content(measured.results) == (new if finished else old)
    assert measured(*where, "--adopt", str(measured.runs)) == 0
    assert content(measured.results) == new and not left.exists()
    assert measured(*where, "--check") == 0


def test_a_readme_without_its_marks_is_noticed_before_anything_is_adopted(bench):
    assert bench("run", "--methods", "msp") == 0
    readme, results = bench.folder / "README.md", bench.folder / "results"
    readme.write_text(f"{END}{BEGIN}")
    where = ["table", "--adopt", str(bench.runs), "--results", str(results), "--readme", str(readme)]
    assert bench(*where) == 2 and "README.md must hold" in bench.err and not results.exists()


HEAD = "dataset,method,title,backbone,auroc,aupr,fpr95,miou,protocol,source,note,second_hand,auxiliary_data"


@pytest.mark.parametrize("value", ["191.2", "-10.5", "nan", "inf", "1e400", "x", "0x10", "9_0"])
@pytest.mark.parametrize("column", ["auroc", "aupr", "fpr95", "miou"])
def test_a_published_number_is_a_percentage(bench, column, value):
    folder = bench.folder / "results" / "published"
    folder.mkdir(parents=True)
    cells = dict.fromkeys(HEAD.split(","), "") | {"dataset": "town", "title": "A", "source": "B", column: value}
    cells |= {"second_hand": "no", "auxiliary_data": "no"}
    (folder / "town.csv").write_text(f"{HEAD}\n{','.join(cells.values())}\n")
    says = rf"town\.csv line 2: {column} '{value}' is no percentage"
    line = ["table", "--no-readme", "--results", str(folder.parent)]
    Fault("published", lambda bench: None, line, says).meet(bench)


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """A command line of a shell, in which $B is the benchmark."""
    env = {**os.environ, "B": f"{sys.executable} -m benchmark", "PYTHONPATH": str(HOME), **environment}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture
def trained(bench):
    """A bench whose networks need no training, which takes a new process long."""
    line = ("train", "--methods", "msp", "--repetition", "0,1")
    assert bench.once("two repetitions trained", lambda: bench(*line)) == 0
    return bench


def test_a_closed_output_does_not_keep_a_run_from_measuring(trained):
    line = " ".join(trained.arguments("run", "--methods", "msp"))
    done = shell(f"$B {line} | head -1; exit ${{PIPESTATUS[0]}}", trained.folder)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert trained.records() == {"msp"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_output_is_one_sentence_and_loses_nothing(trained):
    line = " ".join(trained.arguments("run", "--methods", "msp"))
    done = shell(f"$B {line} > /dev/full", trained.folder)
    assert done.returncode == 2 and done.stderr.count("error: ") == 1, done.stderr
    assert "No space left" in done.stderr and "Traceback" not in done.stderr
    assert trained.records() == {"msp"}


def test_no_output_at_all_and_one_that_knows_ascii_only(trained):
    line = " ".join(trained.arguments("run", "--methods", "msp", "--repetition", "0,1"))
    done = shell(f"$B {line} >&- 2>&-", trained.folder)
    assert done.returncode == 0 and trained.records() == {"msp", "msp+seed1"}
    done = shell(f"$B {line}", trained.folder, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "+-" in done.stdout and "MSP x2" in done.stdout
