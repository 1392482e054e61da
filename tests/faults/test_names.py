"""Labels that hold paths, are long or strange: their files stay in the folder, and each has one of its own."""

import os

import pytest
from faulty import Fault
from hypothesis import given
from hypothesis import strategies as st

from benchmark.io.names import file_name
from benchmark.network import NetworkSpec
from benchmark.recipe import Recipe
from benchmark.records.record import read, record_path

NOTED = """
from benchmark.method import Method

class Noted(Method):
    def __init__(self, note: str = ""):
        super().__init__()
        self.note = note

    def fit(self, data, networks):
        pass

    def score(self, batch, networks):
        return -networks["base"](batch).logits().amax(dim=1)
"""
"""A method with a fit and an option that may be any text."""

STRANGE = {
    "a way out of the folder": "/../../../../out",
    "an absolute path": "/data/x/y",
    "a path of Windows": "C:\\\\x\\\\..\\\\y",
    "a drive": "C:/x/y",
    "a number": "2024",
    "a truth": "true",
    "nothing": "none",
    "a comma": '"a,b"',
    "an option": '"a:k=1"',
    "blanks": "a  b",
    "three hundred letters": "a" * 300,
    "a hundred letters of three bytes": "あ" * 100,
    "a hidden file": ".git",
    "a plus": "a+seed1",
}
"""What the text of an option may be -> as typed."""


def stayed(bench):
    outside = {p.name for p in bench.folder.parent.iterdir()} | {p.name for p in bench.folder.iterdir()}
    assert outside == {"bench", "data", "runs", "town.py", "noted.py"}
    (path,) = (bench.runs / "records").rglob("*.json")
    assert read(path).path(bench.runs) == path
    weights = {p.parent for p in (bench.runs / "weights").rglob("*.safetensors")}
    assert weights == {bench.runs / "weights" / "town"}
    for found in bench.runs.rglob("*"):
        assert len(os.fsencode(found.name)) <= 230
    assert bench("run", "--methods", bench.call) == 0 and ": current" in bench.out


@pytest.mark.parametrize("what", STRANGE)
def test_an_option_that_is_any_text(bench, what):
    bench.plugin("noted", NOTED)
    bench.call = f"noted:note={STRANGE[what]}"

    def said(bench):
        stayed(bench)
        (path,) = (bench.runs / "records").rglob("*.json")
        assert read(path).method.config["note"] == STRANGE[what].strip('"')

    Fault(what, lambda bench: None, ["run", "--methods", bench.call], "Records:", 0, said).meet(bench)


@given(st.lists(st.text(max_size=300), min_size=2, max_size=8, unique=True))
def test_every_label_has_one_part_of_a_path_of_its_own(labels):
    names = [file_name(label) for label in labels]
    assert len(set(names)) == len(labels)
    for name in names:
        assert 0 < len(name.encode()) <= 180 and name.isascii() and not name.startswith(".")
        assert not set(name) & set('/\\\\:"*?<>|\0 ')


def test_names_that_are_committed_stay():
    assert file_name("odin:epsilon=0.0:temperature=100") == "odin+epsilon=0.0+temperature=100"
    path = record_path("r", "pasted:base=camvid-ood", "pspnet-small", "knn:k=20:variant=mean", 1)
    assert path.as_posix() == "r/records/pasted+base=camvid-ood/pspnet-small/knn+k=20+variant=mean+seed1.json"


def test_weights_of_a_data_set_by_path_stay_below_their_folder():
    spec = NetworkSpec("pspnet-small", "folder:path=../../set", 4, Recipe())
    assert spec.key.startswith("folder:path=..%2F..%2Fset/pspnet-small-m0-")
    assert NetworkSpec("pspnet-small", "bdd-anomaly:variant=2", 4, Recipe()).key.startswith(
        "bdd-anomaly:variant=2/pspnet-small-"
    )
