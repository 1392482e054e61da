"""``compare --ranks``: average ranks over datasets and networks, what tells methods apart, and the diagram of it."""

import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from pandas import DataFrame
from toy_records import measurement, record

from benchmark.cli import main as cli
from benchmark.leaderboard.ranks import ranks
from benchmark.metrics import write_rows
from benchmark.metrics.rows import COLUMNS

RESULTS = Path(__file__).resolve().parents[2] / "results"
IMAGES = 20


def write(results, name, dataset, aupr, network="net-small", seed=0, title=None, spread=0.0, key=None):
    """A record whose images have an AUPR about a value, and an FPR95 of one minus it."""
    noise = np.random.default_rng([ord(c) for c in name + dataset + network]).normal(size=IMAGES)
    table = DataFrame({c: ["known"] * IMAGES if kind is str else [0.5] * IMAGES for c, kind in COLUMNS.items()})
    table["image"], table["anomalous"], table["normal"] = [f"i{n:02}" for n in range(IMAGES)], 10, 100
    table["aupr"] = np.clip(aupr + spread * (noise - noise.mean()), 0, 1)
    table["fpr95_nearest"] = 1 - table["aupr"]
    made = record(name, dataset=dataset, metrics={"per-image": measurement()}, seed=seed, method_title=title)
    changed = {"label": network} if key is None else {"label": network, "key": key}
    made = dataclasses.replace(
        made, rows=f"{name}{seed}.rows.csv.gz", network=dataclasses.replace(made.network, **changed)
    )
    made.write(results)
    write_rows(made.path(results).parent / made.rows, table.astype(COLUMNS))


@pytest.fixture
def results(tmp_path):
    """Three methods at three places; a fourth at two of them."""
    for dataset, values in {
        "town": {"a": 0.9, "b": 0.5, "c": 0.1, "d": 0.3},
        "yard": {"a": 0.6, "b": 0.7, "c": 0.2, "d": 0.3},
    }.items():
        for name, aupr in values.items():
            write(tmp_path, name, dataset, aupr, title={"b": "Bee"}.get(name))
    for name, aupr in {"a": 0.8, "b": 0.4, "c": 0.4}.items():
        write(tmp_path, name, "town", aupr, "net-large", title={"b": "Bee"}.get(name))
    return tmp_path


def run(capsys, results, *words):
    code = cli.main(["compare", "--ranks", *words, "--results", str(results)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_ranks_are_averaged_over_the_places_of_all(results):
    found = ranks(results).values
    assert [(p["dataset"], p["network"]) for p in found["places"]] == [
        ("town", "net-large"),
        ("town", "net-small"),
        ("yard", "net-small"),
    ]
    assert {m["method"]: m["ranks"] for m in found["methods"]} == {"a": [1, 1, 2], "b": [2.5, 2, 1], "c": [2.5, 3, 3]}
    assert [m["average_rank"] for m in found["methods"]] == pytest.approx([4 / 3, 5.5 / 3, 8.5 / 3])
    assert found["methods"][0]["values"] == pytest.approx([80, 90, 60])
    assert found["methods"][0]["interval"] == pytest.approx([4 / 3, 4 / 3]), "all images are alike"
    assert found["critical_difference"] == pytest.approx(2.343 * np.sqrt(3 * 4 / 18), abs=1e-3)
    assert found["groups"] == [["a", "b", "c"]]
    assert ranks(results, metric="fpr95").values["methods"][0]["ranks"] == [1, 1, 2], "the smallest has rank 1"


def test_named_methods_are_compared_where_all_of_them_are(results, capsys):
    code, out, _ = run(capsys, results, "Bee", "d")
    assert code == 0 and "over 2 places, 2 methods" in out and "left out" not in out
    lines = [line.split() for line in out.splitlines() if line.split()[:1] in (["b"], ["d"])]
    assert [[line[0], line[1], *line[-2:]] for line in lines] == [["b", "1.00", "1", "1"], ["d", "2.00", "2", "2"]]
    everywhere = run(capsys, results)[1]
    assert "left out: 1 method;" in everywhere and "Some places share their images" in everywhere
    assert "share their images" not in run(capsys, results, "--network", "net-small")[1]
    assert "over 2 places, 4 methods" in run(capsys, results, "--network", "net-small", "--dataset", "town,yard")[1]


def test_the_interval_is_that_of_other_images(tmp_path):
    for dataset in ("town", "yard", "lane"):
        for name, aupr in {"near": 0.50, "nearer": 0.505, "far": 0.9}.items():
            write(tmp_path, name, dataset, aupr, spread=0.05 if name != "far" else 0.0)
    found = {m["method"]: m["interval"] for m in ranks(tmp_path).values["methods"]}
    assert found["far"] == [1, 1]
    assert found["near"][0] < 2.7 and found["near"][1] == 3 and found["nearer"][0] == 2 and found["nearer"][1] > 2.3
    assert {m["method"]: m["interval"] for m in ranks(tmp_path).values["methods"]} == found, "they repeat"


def test_repetitions_are_averaged(results):
    write(results, "c", "yard", 1.0, seed=1)
    (c,) = (m for m in ranks(results).values["methods"] if m["method"] == "c")
    assert c["values"][2] == pytest.approx(60) and c["ranks"][2] == 2.5, "beside the 60 of a"


def test_methods_that_are_far_apart_are_told_apart(tmp_path, capsys):
    for place in range(12):
        for name, aupr in {"best": 0.9, "good": 0.8, "poor": 0.2}.items():
            write(tmp_path, name, f"set{place:02}", aupr)
    code, out, _ = run(capsys, tmp_path)
    assert code == 0 and "chi2(2) = 24.00, p < 0.0001: the methods differ." in out
    letters = {line.split()[0]: line.split()[4] for line in out.splitlines() if line[:4] in ("best", "good", "poor")}
    assert letters == {"best": "a", "good": "b", "poor": "c"} or letters == {"best": "a", "good": "ab", "poor": "b"}
    assert ranks(tmp_path).values["critical_difference"] == pytest.approx(2.343 * np.sqrt(12 / 72), abs=1e-3)


def test_score_maps_from_elsewhere_are_marked(results, capsys):
    for dataset in ("town", "yard"):
        write(results, "mine", dataset, 0.95, key="")
    code, out, _ = run(capsys, results, "a", "mine", "--network", "net-small")
    assert code == 0 and "\nmine ‡ " in out and "‡ Score maps that were made elsewhere" in out
    assert cli.main(["compare", "a", "mine", "--network", "net-small", "--results", str(results)]) == 0
    assert "mine ‡ is better" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_the_diagram_is_drawn_and_repeats(results, tmp_path, capsys, suffix):
    paths = [tmp_path / f"{n}.{suffix}" for n in "xy"]
    for path in paths:
        assert run(capsys, results, "--figure", str(path))[0] == 0
    assert paths[0].read_bytes() == paths[1].read_bytes() and paths[0].stat().st_size > 2000
    if suffix == "pdf":
        assert b"/FontFile2" in paths[0].read_bytes()


def test_the_diagram_names_the_methods_as_printed(results, tmp_path, capsys):
    assert run(capsys, results, "--figure", str(tmp_path / "x.svg"))[0] == 0
    text = (tmp_path / "x.svg").read_text()
    ElementTree.fromstring(text)
    for words in ("Bee", "CD = 1.91", "1.83 [1.83, 1.83]", "average rank by AUPR over 3 places"):
        assert f"<!-- {words}" in text, "matplotlib states what it draws as paths"


def test_the_diagram_draws_any_name_and_says_what_its_marks_mean(results, tmp_path, capsys):
    for dataset in ("town", "yard"):
        write(results, "mine", dataset, 0.95, key="", title=r"Mine $\frac$")
    words = ("a", "mine", "--network", "net-small", "--figure", str(tmp_path / "x.svg"))
    code, _, err = run(capsys, results, *words)
    assert code == 0, err
    text = (tmp_path / "x.svg").read_text()
    assert r"<!-- Mine $\frac$ ‡ -->" in text and "<!-- ‡ score maps that were made elsewhere -->" in text


def test_the_answer_is_json(results, capsys):
    code, out, err = run(capsys, results, "--json")
    assert code == 0 and "Friedman" in err
    found = json.loads(out)["ranks"]
    assert found["metric"] == "aupr" and [m["method"] for m in found["methods"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a"], "takes two or more different methods"),
        (["a", "A"], "takes two or more different methods"),
        (["a@net-small", "b"], "leave out what stands behind an @"),
        (["a", "nothing"], "no such record of 'nothing'"),
        (["a", "d", "--dataset", "town"], "has a and d at 1 of 2"),
        (["--dataset", "village"], "has no record on 'village' (it has: town, yard)"),
        (["--figure", "x.abc"], "x.abc names no picture format"),
        (["--metric", "iou"], "invalid choice"),
    ],
)
def test_what_cannot_be_ranked_is_one_sentence(results, capsys, words, says):
    code, out, err = run(capsys, results, *words)
    assert code == 2 and says in err and err.count("\n") == 1 and not out


def test_options_of_ranks_need_it(results, capsys):
    assert cli.main(["compare", "a", "b", "--figure", "x.pdf", "--results", str(results)]) == 2
    assert "--metric and --figure are of --ranks" in capsys.readouterr().err


def test_the_examples_of_the_help_work_on_the_committed_records(capsys, tmp_path):
    code, out, err = run(capsys, RESULTS, "MSP", "Energy", "Max-logit", "GEN", "--metric", "fpr95")
    assert (code, err) == (0, "") and "4 methods" in out
    three = "road-anomaly,road-anomaly-21,road-obstacle-21"
    code, out, _ = run(capsys, RESULTS, "--dataset", three, "--figure", str(tmp_path / "ranks.pdf"))
    assert code == 0 and "over 3 places" in out and (tmp_path / "ranks.pdf").exists()
