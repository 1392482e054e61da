"""``--json``: standard output holds the answer and nothing else, and it is what the tables say."""

import json

import numpy as np
import pytest

from benchmark.registry import METHODS


@pytest.fixture
def answer(bench):
    """Runs a command with ``--json`` and reads what it answers."""

    def ask(verb: str, *rest: str, code: int = 0):
        assert bench(verb, *rest, "--json") == code, bench.err
        return json.loads(bench.out)

    return ask


def test_run_answers_with_its_records(bench, answer):
    bench.plugin(
        "failing", "from benchmark.method import Method\n\nclass Failing(Method):\n    def score(self, b, n): 1 / 0\n"
    )
    found = answer("run", "--methods", "msp,failing", "--repetition", "0,1", code=1)
    assert [record["network"]["seed"] for record in found["records"]] == [0, 1]
    assert json.loads((bench.folder.parent / found["records"][0]["path"]).read_text()) == {
        key: value for key, value in found["records"][0].items() if key != "path"
    }
    assert len(found["failed"]) == 2 and "ZeroDivisionError" in found["failed"][0]
    assert "Network pspnet-small" in bench.err and "AUPR" in bench.err, "the table is for whoever watches"
    assert answer("run", "--methods", "msp")["records"][0]["metrics"] == found["records"][0]["metrics"]


def test_run_answers_with_the_dataset_that_failed_beside_the_others(bench):
    assert bench("run", "--dataset", "town,nowhere", "--methods", "msp", "--json") == 2
    found = json.loads(bench.out)
    assert len(found["records"]) == 1
    assert len(found["failed"]) == 1 and found["failed"][0].startswith("nowhere: There is no dataset")


def test_a_mistake_leaves_standard_output_empty(bench):
    assert bench("run", "--methods", "mps", "--json") == 2
    assert bench.out == "" and bench.err.splitlines()[-1].startswith("error: There is no method")


def test_list_answers_with_every_plugin_and_its_options(answer):
    found = answer("list")
    assert [method["name"] for method in found["methods"]] == METHODS.names()
    assert {"town", "minihazards"} <= {dataset["name"] for dataset in found["datasets"]}
    assert "pspnet-small" in next(n for n in found["networks"] if n["name"] == "pspnet")["variants"]
    assert "pooled" in {protocol["name"] for protocol in found["protocols"]}
    knn = next(m for m in found["methods"] if m["name"] == "knn")
    assert answer("list", "methods", "knn") == knn
    (k,) = (option for option in knn["options"] if option["name"] == "k")
    assert k["default"] == "none" and k["values"] == "a whole number or none"
    assert k["meaning"].startswith("number of neighbours")


def test_weights_runs_compare_score_and_table_answer(bench, answer):
    assert bench("run", "--methods", "msp,energy") == 0
    (network,) = answer("weights", "list", "--out", str(bench.runs))["weights"]
    assert network["sidecar"]["sha256"] and network["bytes"] > 1000
    assert answer("weights", "verify", "--out", str(bench.runs)) == {"files": 1, "broken": []}

    (pair,) = answer("compare", "msp", "energy", "--results", str(bench.runs))["comparisons"]
    aupr = pair["metrics"]["aupr"]
    values = {name: bench.record(name)["metrics"]["per-image"]["aupr"] for name in ("msp", "energy")}
    assert {name: each[0] / 100 for name, each in aupr["values"].items()} == pytest.approx(values)
    assert aupr["difference"] == pytest.approx(100 * (values["msp"] - values["energy"]))
    assert aupr["interval"][0] <= aupr["difference"] <= aupr["interval"][1]
    (matrix,) = answer("compare", "--results", str(bench.runs))["comparisons"]
    shares = {each["method"]: each["better_than"] for each in matrix["methods"]}
    assert shares["msp"]["energy"] + shares["energy"]["msp"] == pytest.approx(100)

    maps = bench.folder / "maps" / "toy"
    maps.mkdir(parents=True)
    for index in range(4):
        np.save(maps / f"{index}.npy", np.random.default_rng(index).random((48, 64), np.float32))
    found = answer("score", str(maps.parent), "--dataset", "town", "--data", str(bench.data))
    assert found["metrics"]["per-image"]["images"] == 4 and found["pixels"]["anomalous"] > 0

    boards = answer("table", "--results", str(bench.runs), "--no-readme")["boards"]
    (town,) = (board for board in boards if board["dataset"] == "town")
    rows = {row["method"]: row for row in town["blocks"][0]["rows"]}
    assert rows["msp"]["measured.aupr"] == pytest.approx(100 * values["msp"])
    assert answer("table", "--results", str(bench.runs), "--no-readme", "--check") == {"wrong": [], "stale": []}
