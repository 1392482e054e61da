"""The command line as its user meets it: help, one sentence for every mistake, plugins, tables, scores, weights."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import METHOD, TOWN, fresh_registries

from benchmark.cli import main as cli
from benchmark.metrics import PROTOCOLS
from benchmark.registry import METHODS, load_plugin

HOME = Path(__file__).resolve().parents[2]
NAMES = list(cli.make_parser().parse_args(["list"]).verbs)
KINDS = {
    "bench": ("metrics", "pooled", "pipeline", "device", "costs", "switches"),
    "weights": ("list", "verify", "import"),
}
MARKS = "# Town\n\n<!-- leaderboard:begin -->\n<!-- leaderboard:end -->\n"

MY_METHOD = '''
"""Distance of the largest logit to the second."""
from benchmark.method import Method

class Margin(Method):
    title = "Margin"
    paper = "nobody, 2024"

    def score(self, batch, networks):
        first, second = networks["base"](batch).logits().topk(2, dim=1).values.unbind(1)
        return second - first
'''


@pytest.mark.parametrize(
    "verb", [*NAMES, *(f"bench {k}" for k in KINDS["bench"]), *(f"weights {k}" for k in KINDS["weights"])]
)
def test_every_verb_explains_itself_with_examples_that_parse(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*verb.split(), "--help"])
    assert stop.value.code == 0
    _, _, examples = capsys.readouterr().out.partition("examples:\n")
    lines = [shlex.split(line) for line in examples.splitlines() if line.strip()]
    assert lines
    for line in lines:
        assert " ".join(line).startswith(f"python -m benchmark {verb}")
        assert cli.make_parser().parse_args(line[3:]).handler


@pytest.mark.parametrize(
    "verb", [*NAMES, *(f"bench {k}" for k in KINDS["bench"]), *(f"weights {k}" for k in KINDS["weights"])]
)
def test_help_sends_nobody_to_a_command_that_does_not_exist(verb, capsys):
    with pytest.raises(SystemExit):
        cli.main([*verb.split(), "--help"])
    options = capsys.readouterr().out.partition("examples:\n")[0]
    for command in re.findall(r"`([^`]+)`", re.sub(r"\s+", " ", options)):
        name, *more = command.split()
        assert name in NAMES and (name not in KINDS or not more or more[0] in KINDS[name]), command


def test_the_first_help_names_every_verb(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert all(re.search(rf"^ +{verb}\s", out, re.MULTILINE) for verb in NAMES)
    assert cli.main([]) == 2 and capsys.readouterr().out == out, "also where nothing was typed"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["run", "--methods", "mps"], "no method 'mps'; did you mean msp"),
        (["run", "--methods", "msp:double=true"], "'msp'.*'double'; it knows double_softmax"),
        (["run", "--methods", ","], "names no method"),
        (["run", "--methods", "msp", "--dataset", "minihazard"], "no dataset 'minihazard'; did you mean minihazards"),
        (["run", "--methods", "msp", "--network", "pspnat-small"], "no network 'pspnat'; did you mean pspnet"),
        (
            ["run", "--methods", "msp", "--network", "pspnet-resnet18:depth=3"],
            "'depth'; it knows encoder_weights, head",
        ),
        (["run", "--methods", "msp", "--scales", "300,big"], "--scales 300,big: write short sides"),
        (["run", "--methods", "msp", "--recipe", "segmentation.epoch=1"], "no field 'epoch'"),
        (["run", "--methods", "msp", "--device", "gpu"], "no device 'gpu'"),
        (["run", "--methods", "msp", "--dataset", "streethazards"], "streethazards|StreetHazards"),
        (["run", "--plugin", "missing.py"], "--plugin missing.py: there is no such file"),
        (["score", ".", "--dataset", "minihazards", "--protocols", "pooles"], "no protocol 'pooles'; did you mean"),
        (["check", "mspp"], r"no plugin 'mspp'; did you mean msp"),
        (["check", "qqqqq"], "no plugin 'qqqqq'; `python -m benchmark list` shows"),
        (["export", "minihazards", "x", "--size", "big"], "--size: write WIDTHxHEIGHT as in 1280x720, not 'big'"),
        (["weights", "import", "csail", "one.pth"], "weights import csail ENCODER DECODER"),
        (["table"], "no folder results; .*--results runs"),
        (["table", "--check"], "no folder results"),
        (["table", "--results", "nowhere", "--no-readme"], "no folder nowhere"),
        (["compare", "--results", "nowhere"], "no folder nowhere"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(line, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOMALY_DATA", raising=False)
    with fresh_registries():
        assert cli.main(line) == 2
    err = capsys.readouterr().err
    assert re.search(words, err)
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_a_real_process_exits_with_2_and_no_traceback(tmp_path):
    (tmp_path / "bad.py").write_text("raise RuntimeError('half written')")
    line = [sys.executable, "-m", "benchmark", "list", "--plugin", str(tmp_path / "bad.py")]
    done = subprocess.run(line, cwd=HOME, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: --plugin {tmp_path / 'bad.py'} cannot be imported: RuntimeError: half written "
        f"({tmp_path / 'bad.py'}, line 1, in <module>)\n",
    )


def test_a_plugin_file_is_listed_checked_run_and_ranked(bench):
    assert len(MY_METHOD.strip().splitlines()) <= 15
    path = bench.plugin("margin", MY_METHOD)
    assert bench("list", "methods") == 0
    assert re.search("^margin +nobody, 2024 ", bench.out, re.MULTILINE)
    assert f"\nmargin is of file {path}.\n" in bench.out and " is of " not in bench.out.replace("margin is of", "")
    assert bench("list", "datasets") == 0 and re.search("^town .*Town", bench.out, re.MULTILINE)
    assert bench("check", "margin") == 0
    assert "margin: keeps its contract." in bench.out and "FAIL" not in bench.out
    assert bench("run", "--methods", "margin,msp") == 0
    table = bench.out.partition("Town, pspnet-small")[2]
    assert "Margin" in table and "MSP" in table
    assert bench.records() == {"margin", "msp"}


def test_every_protocol_is_listed_with_what_it_gives_and_needs(bench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert bench("list", "protocols") == 0
    assert set(re.findall(r"^([\w-]+) v\d", bench.out, re.MULTILINE)) == set(PROTOCOLS)
    assert re.search("^conformal v1 +FPR, TPR +a second pass, validation images$", bench.out, re.MULTILINE)
    assert bench("list", "protocol", "conformal") == 0 and "Angelopoulos et al." in bench.out


def test_check_reports_a_broken_contract(bench):
    bench.plugin("broken", METHOD.replace(".amax(dim=1)", ""))
    assert bench("check", "broken") == 1
    assert "FAIL  scores are float32, one per pixel" in bench.out
    assert bench("check", "town", "--data", str(bench.data)) == 0 and "town: keeps its contract" in bench.out
    assert bench("check", "pspnet-small") == 0


def test_a_built_in_plugin_that_cannot_be_imported_is_listed_with_its_reason(bench, monkeypatch):
    monkeypatch.setattr(METHODS, "_sources", {**dict(METHODS._find()), "odd": ("built in", "no_such_module")})
    assert bench("list", "methods") == 0
    assert "unavailable: The method 'odd' (built in) cannot be imported: ModuleNotFoundError" in bench.out
    assert re.search("^msp ", bench.out, re.MULTILINE)


def test_all_is_every_method_that_can_be_imported(bench, monkeypatch):
    sources = {name: METHODS._find()[name] for name in ("msp", "energy")}
    monkeypatch.setattr(METHODS, "_sources", {**sources, "odd": ("built in", "no_such_module")})
    assert bench("run", "--methods", "all", "--dry-run") == 0
    assert "  msp: not measured yet" in bench.out and "  energy: not measured yet" in bench.out
    assert "odd" not in bench.out and not bench.records()


def test_a_method_that_cannot_be_set_up_is_one_sentence(bench):
    bench.plugin("unready", METHOD.replace("self.gain = gain", "raise RuntimeError('no prototypes')"))
    assert bench("run", "--methods", "unready") == 1
    sentence = "failed: unready: The method 'unready' cannot be set up: RuntimeError: no prototypes (bench/unready.py, "
    assert bench.err.startswith(sentence) and bench.err.count("\n") == 1


def test_train_makes_what_run_then_uses(bench):
    assert bench("train", "--methods", "msp,dicnet") == 0
    assert not bench.records()
    assert bench("run", "--methods", "dicnet") == 0
    assert "train " not in bench.out and "fit " not in bench.out and bench.records() == {"dicnet"}


def test_tables_are_checked_and_adopt_whole_records_only(bench):
    results, readme = bench.folder / "results", bench.folder / "README.md"
    readme.write_text(MARKS)
    (results / "published").mkdir(parents=True)
    for name in ("streethazards.csv", "datasets.toml"):
        shutil.copy(HOME / "results" / "published" / name, results / "published")
    where = ["--results", str(results), "--readme", str(readme)]
    assert bench("run", "--methods", "msp,energy") == 0
    assert bench("run", "--methods", "max_logit", "--limit", "2") == 0
    assert bench("table", "--adopt", str(bench.runs), *where) == 0
    assert {p.stem for p in (results / "records").rglob("*.json")} == {"msp", "energy"}
    assert len(list((results / "records").rglob("*.rows.csv.gz"))) == 2
    assert "MSP" in readme.read_text() and "MSP" in (results / "LEADERBOARD.md").read_text()
    assert bench("table", "--check", *where) == 0
    record = next((results / "records").rglob("msp.json"))
    for path in (record, results / "tables" / "town.csv", readme):
        text = path.read_text()
        digit = re.search(r'"aupr": 0\.\d|\d\d\.\d', text).end() - 1
        path.write_text(f"{text[:digit]}{(int(text[digit]) + 5) % 10}{text[digit + 1 :]}")
        assert bench("table", "--check", *where) == 1, path
        assert "is not what the records say" in bench.err
        path.write_text(text)
    assert bench("table", "--check", *where) == 0
    record.write_text("{")
    assert bench("table", "--check", *where) == 1 and "msp.json is not a whole record" in bench.err


def test_adopting_nothing_is_an_error(bench):
    assert bench("table", "--adopt", str(bench.runs), "--no-readme", "--results", str(bench.folder)) == 2
    assert "holds no complete record" in bench.err


def test_score_maps_from_elsewhere_measure_as_in_a_run(bench):
    maps = bench.folder / "maps"
    dump = f"""
        import pathlib
        import numpy as np
        from benchmark.method import Method

        class Dump(Method):
            def score(self, batch, networks):
                scores = networks["base"](batch).logits()[:, 0]
                for name, one in zip(batch.ids, scores):
                    path = pathlib.Path({str(maps)!r}) / f"{{name}}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, one.numpy())
                return scores
        """
    bench.plugin("dump", dump)
    assert bench("run", "--methods", "dump") == 0
    arguments = [str(maps), "--dataset", "town", "--data", str(bench.data)]
    assert bench("score", *arguments) == 0
    for name, measurement in bench.record("dump")["metrics"].items():
        for metric in ("auroc", "aupr", "fpr95"):
            line = next(r for r in bench.out.splitlines() if r.startswith(f"{name} v") and f" {metric.upper()} " in r)
            assert f" {100 * measurement[metric]:.2f} " in line + " "
    np.save(maps / "toy" / "0.npy", np.zeros((3, 3), np.float32))
    assert bench("score", *arguments) == 2 and "toy/0" in bench.err
    (maps / "toy" / "0.npy").unlink()
    assert bench("score", *arguments) == 2 and "There is no score map of image 'toy/0'" in bench.err


def test_weights_are_listed_and_a_changed_file_is_found(bench):
    out = ["--out", str(bench.runs)]
    assert bench("weights", "list", *out) == 0 and "No weights yet." in bench.out
    assert bench("train", "--methods", "dicnet") == 0
    assert bench("weights", "list", *out) == 0
    assert "town/pspnet-small-m0-" in bench.out and "town/dicnet-" in bench.out and "miou" in bench.out.lower()
    assert bench("weights", "verify", *out) == 0 and "2 of 2 files" in bench.out
    path = next((bench.runs / "weights").rglob("dicnet*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert bench("weights", "verify", *out) == 2
    assert f"{path} has changed since it was saved" in bench.out and "1 of 2 files" in bench.out


def test_the_town_is_a_sound_plugin(registries, tmp_path):
    (tmp_path / "town.py").write_text(TOWN)
    assert load_plugin(tmp_path / "town.py") == "dataset"
