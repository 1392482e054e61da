"""Pipes, folders and other encodings where the suite reads files of its own: a sentence, never a wait without end."""

import os
import signal

import pytest
from faulty import Fault
from roads import pipe
from toy_records import HEAD, PAPER, record

from benchmark.errors import BenchmarkError
from benchmark.metrics import read_curves, read_rows
from benchmark.records.published import read_published

RESULTS = ["table", "--no-readme", "--results", "{}/results"]
NO_FILE = "is a folder, a pipe or a device, no file"


@pytest.fixture(autouse=True)
def in_time():
    """Reading a pipe that nobody writes takes for ever."""

    def late(*_):
        raise AssertionError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def piped(place):
    """Arrange by a pipe in a results folder with one record."""

    def arrange(bench):
        made = record().write(bench.folder / "results")
        path = made if place == "msp.json" else bench.folder / "results" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        pipe(path)

    return arrange


def published(content):
    """Arrange by the bytes of a table of published values."""

    def arrange(bench):
        path = bench.folder / "results/published/toyset.csv"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    return arrange


FAULTS = [
    Fault("a pipe for a record", piped("msp.json"), ["compare", "--results", "{}/results"], rf"msp\.json {NO_FILE}"),
    Fault("a pipe for costs", piped("costs/gpu.json"), RESULTS, rf"gpu\.json {NO_FILE}"),
    Fault("a pipe for published values", piped("published/a.csv"), RESULTS, rf"a\.csv {NO_FILE}"),
    Fault("a pipe for a README", piped("R.md"), [*RESULTS[:1], *RESULTS[2:], "--readme", "{}/results/R.md"],
          rf"R\.md {NO_FILE}"),
    Fault("a pipe for rows", piped("records/toyset/net-small/msp.rows.csv.gz"), [*RESULTS, "--check"],
          rf"msp\.rows\.csv\.gz {NO_FILE}", 1),
    Fault("published values in Latin-1", published((HEAD + PAPER).replace("MSP", "Müller").encode("latin-1")), RESULTS,
          r"toyset\.csv cannot be read \(.*write it as CSV in UTF-8"),
    Fault("published values with a NUL", published((HEAD + PAPER).encode() + b"\0"), RESULTS, r"toyset\.csv"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_survived(bench, fault):
    fault.meet(bench)


@pytest.mark.parametrize("read", [read_rows, read_curves])
def test_what_lies_beside_a_record_is_a_file(tmp_path, read):
    os.mkfifo(tmp_path / "a.csv.gz")
    with pytest.raises(BenchmarkError, match=NO_FILE):
        read(tmp_path / "a.csv.gz")


def test_published_values_as_a_spreadsheet_saves_them(tmp_path):
    """With a mark of order and lines that end in two characters."""
    for name, content in (("plain", HEAD + PAPER), ("marked", "\ufeff" + (HEAD + PAPER).replace("\n", "\r\n"))):
        (tmp_path / name / "published").mkdir(parents=True)
        (tmp_path / name / "published/toyset.csv").write_bytes(content.encode())
    assert read_published(tmp_path / "marked").rows == read_published(tmp_path / "plain").rows != {}
