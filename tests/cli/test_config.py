"""Command lines as files: what one says is what would be typed, and what was typed is kept as such a file."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmark.cli.config import Intent, expanded
from benchmark.cli.main import make_parser
from benchmark.errors import BenchmarkError

IGNORED = ("config", "intent")


def read(tmp_path, text: str, *line: str, verb: str = "run") -> dict:
    """The arguments of a verb with a file."""
    (tmp_path / "run.toml").write_text(text)
    found = expanded(make_parser(), [verb, *line, "--config", str(tmp_path / "run.toml")])
    return {key: value for key, value in vars(found).items() if key not in IGNORED and key not in ("verbs", "handler")}


def typed(*line: str, verb: str = "run") -> dict:
    found = vars(make_parser().parse_args([verb, *line]))
    return {key: value for key, value in found.items() if key not in IGNORED and key not in ("verbs", "handler")}


@pytest.fixture(autouse=True)
def argv(monkeypatch):
    """Reading a file changes what records state as the command; here nobody asks."""
    monkeypatch.setattr("sys.argv", ["anomaly-benchmark"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", []),
        ('methods = "msp,knn:k=5"', ["--methods", "msp,knn:k=5"]),
        ('methods = ["msp", "knn:k=5"]', ["--methods", "msp,knn:k=5"]),
        ("limit = 20\nquiet = true\nforce = false", ["--limit", "20", "--quiet"]),
        ("scales = [300, 450]", ["--scales", "300,450"]),
        ("repetition = [0, 2]", ["--repetition", "0,2"]),
        ("repetition = 1", ["--repetition", "1"]),
        ('recipe = ["segmentation.epochs=2"]', ["--recipe", "segmentation.epochs=2"]),
        (
            "[recipe]\nsegmentation.epochs = 2\nsegmentation.crop = [96, 128]\ndistillation.lr = 0.1",
            ["--recipe=segmentation.epochs=2", "--recipe=segmentation.crop=96,128", "--recipe=distillation.lr=0.1"],
        ),
        ('data = "a b/c"\nout = "d"\nplugin = ["x.py", "y.py"]', "--data=a b/c --out=d --plugin=x.py --plugin=y.py"),
        ('train-precision = "bf16"\nmax-size = 1024', ["--train-precision", "bf16", "--max-size", "1024"]),
    ],
)
def test_a_file_says_what_would_be_typed(tmp_path, text, line):
    line = line if isinstance(line, list) else ["--data=a b/c", *line.split(" ")[2:]]
    assert read(tmp_path, text) == typed(*line)


@pytest.mark.parametrize(
    ("text", "line", "whole"),
    [
        ("limit = 20", ["--limit", "3"], ["--limit", "3"]),
        ("quiet = true\nforce = true", ["--no-force"], ["--quiet"]),
        (
            "[recipe]\nsegmentation.epochs = 2\nsegmentation.lr = 0.1",
            ["--recipe", "segmentation.epochs=9"],
            ["--recipe", "segmentation.lr=0.1", "--recipe", "segmentation.epochs=9"],
        ),
        ('plugin = ["x.py", "y.py"]', ["--plugin", "x.py"], ["--plugin", "y.py", "--plugin", "x.py"]),
        ('methods = "msp"', ["--methods=all"], []),
    ],
)
def test_the_command_line_comes_before_the_file(tmp_path, text, line, whole):
    assert read(tmp_path, text, *line) == typed(*whole)


def test_words_without_a_flag_have_a_name_too(tmp_path):
    text = 'images = ["a.png", "b.png"]\nmethods = "msp"'
    assert read(tmp_path, text, verb="infer") == typed("a.png", "b.png", "--methods", "msp", verb="infer")
    assert read(tmp_path, text, "c.png", verb="infer") == typed("c.png", "--methods", "msp", verb="infer")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('metods = "msp"', r"run\.toml: 'metods' is no option of `run`; did you mean 'methods'\?"),
        ('train_precision = "fp32"', r"'train_precision' is no option of `run`; did you mean 'train-precision'"),
        ("config = 'x.toml'", r"'config' is no option"),
        ("no-force = true", r"'no-force' is no option of `run`; did you mean 'force'"),
        ("limit = 0", r"run\.toml: limit: .*is a whole number from 1"),
        ("limit = true", r"run\.toml: limit: .*not 'true'"),
        ("quiet = 1", r"run\.toml: quiet: it is true or false, not 1"),
        ('precision = "fp64"', r"run\.toml: precision: .*invalid choice: 'fp64'"),
        ("[methods]\nmsp = 1", r"run\.toml: methods: it takes a value, no table\.$"),
        ("every = 5", r"run\.toml: 'every' is no option of `run` but of `infer`; leave it out"),
        ("methods = msp", r"run\.toml is no TOML \(.*\); strings stand in quotation marks"),
        ("a = 1\na = 2", r"run\.toml is no TOML"),
    ],
)
def test_what_a_file_may_not_say(tmp_path, text, words):
    with pytest.raises(BenchmarkError, match=words):
        read(tmp_path, text)


def test_an_image_whose_name_would_be_an_option(tmp_path):
    with pytest.raises(BenchmarkError, match=r"images: '--force' would be taken for an option; write './--force'\.$"):
        read(tmp_path, 'images = ["--force"]\nmethods = "msp"', verb="infer")


def test_a_mark_of_order_before_the_text_is_no_part_of_it(tmp_path):
    assert read(tmp_path, "\ufefflimit = 20") == typed("--limit", "20")


def test_the_example_of_the_page_is_read(tmp_path):
    page = Path(__file__).resolve().parents[2] / "benchmark" / "cli" / "README.md"
    (block,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    line = ["--dataset=camvid-ood", "--methods=dicnet,knn:k=5", "--repetition=0-2", "--recipe=segmentation.epochs=20"]
    assert read(tmp_path, block) == typed(*line)


def test_a_file_that_is_not_there_or_is_none(tmp_path):
    for name, words in (("nothing.toml", "there is no such file"), (".", "is a folder")):
        with pytest.raises(BenchmarkError, match=words):
            expanded(make_parser(), ["run", "--config", str(tmp_path / name)])


def test_records_state_the_command_without_the_file(tmp_path, monkeypatch):
    import sys

    read(tmp_path, 'methods = "msp"\nlimit = 2\nquiet = true', "--limit", "3")
    assert sys.argv == ["anomaly-benchmark", "run", "--methods=msp", "--limit=2", "--quiet", "--limit", "3"]


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--methods", 'void:base="a:b=1",msp', "--limit", "3", "--quiet"],
        ["--recipe", "segmentation.epochs=2", "--recipe", "distillation.lr=0.5", "--scales", "native"],
        ["--data", 'a "b"\\c ä', "--repetition", "0-2", "--workers", "0"],
    ],
)
def test_what_was_asked_for_is_kept_as_a_file_that_says_the_same(tmp_path, line):
    asked = make_parser().parse_args(["run", *line, "--out", str(tmp_path / "runs")])
    intent = Intent(asked)
    intent.keep()
    again = expanded(make_parser(), ["run", "--config", str(intent.path)])
    same = [{k: v for k, v in vars(each).items() if k not in (*IGNORED, "verbs", "handler")} for each in (asked, again)]
    assert same[0] == same[1]
    assert Intent(again).path == intent.path, "the same words are one file"


def test_a_run_keeps_what_it_was_asked_for_and_does_it_again(bench):
    assert bench("run", "--methods", "msp", "--limit", "2", "--dry-run") == 0
    assert not (bench.runs / "commands").exists(), "nothing was done"
    assert bench("run", "--methods", "msp", "--limit", "two") == 2 and not (bench.runs / "commands").exists()
    assert bench("run", "--methods", "msp", "--limit", "2") == 0
    (kept,) = (bench.runs / "commands").glob("run-*.toml")
    said = tomllib.loads(kept.read_text())
    assert said["methods"] == "msp" and said["limit"] == 2 and said["quiet"] is True
    assert "force" not in said and "config" not in said, "what is usual goes without saying"
    before = bench.record("msp+first2")
    assert bench.type("run", "--config", str(kept), "--force") == 0
    again = bench.record("msp+first2")
    assert again["metrics"] == before["metrics"] and again["provenance"]["date"] >= before["provenance"]["date"]
    assert "--methods=msp" in again["provenance"]["command"] and "--config" not in again["provenance"]["command"]
    assert len(list((bench.runs / "commands").glob("run-*.toml"))) == 2, "forced, it was another command"


@pytest.mark.parametrize("verb", ["train", "infer"])
def test_other_verbs_keep_it_too(bench, verb):
    assert bench("train", "--methods", "msp") == 0
    assert bench(verb, "--methods", "msp") == 0
    (kept,) = (bench.runs / "commands").glob(f"{verb}-*.toml")
    assert tomllib.loads(kept.read_text())["methods"] == "msp"
