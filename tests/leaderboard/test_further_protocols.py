"""What further protocols say of the rows of a board, in every format."""

import csv
import io
import re
from dataclasses import replace

import pytest
from toy_records import measurement, published, record

from benchmark.leaderboard import console, generate
from benchmark.leaderboard.protocols import SIZES_TITLE, TITLE, calibration, extras
from benchmark.metrics import PROTOCOLS, Measurement


def metrics(**further):
    made = {name: Measurement(1, PROTOCOLS[name].family, 24, extra=extra) for name, extra in further.items()}
    return {"streethazards": measurement(), "pooled": measurement("pooled"), **made}


def sizes(aupr, components=3.0):
    return {"sizes": {"mean_aupr": aupr, "components_49-256": components, "components_0-49": 0.0} | {
        "aupr_49-256": aupr, "fpr95_49-256": 0.5, "f1_49-256": 0.25, "constant_aupr_49-256": 0.0123}}  # fmt: skip


RECORDS = [
    record(
        "msp", metrics=metrics(conformal={"fpr_per_image": 0.07, "tpr_per_image": 0.4, "threshold": 9.0}, **sizes(0.2))
    ),
    record("msp", metrics=metrics(conformal={"fpr_per_image": 0.05, "tpr_per_image": 0.2, "threshold": 9.0}), seed=1),
    record("void", metrics=metrics(**{"tpr-fpr05": {"tpr": 0.5, "threshold": 1.0}}, **sizes(0.4)), auxiliary=True),
    record("energy"),
]
ORDER = ["energy", "msp", "void"]


def test_headlines_stand_under_their_protocols_with_the_mean_over_seeds():
    made, by_size = extras(RECORDS, ORDER)
    assert made.title == TITLE and made.methods == ["msp", "void"] and made.titles == ["MSP", "VOID *"]
    assert list(made.values) == [
        ("tpr-fpr05 v1", "TPR at 5 % FPR"),
        ("conformal v1", "FPR"),
        ("conformal v1", "TPR"),
    ]
    assert [value.text for value in made.values.iloc[0]] == ["–", "6.0 ± 1.4", "30.0 ± 14.1"]
    assert made.numbers.loc["msp", "conformal.fpr_per_image"] == pytest.approx(6)
    assert "saw outliers in training" in made.legend
    assert by_size.title == SIZES_TITLE and by_size.methods == ["msp", "void"]
    assert {head for head, _ in by_size.values} == {"49-256 px, 3 components, constant 1.23"}, (
        "empty classes are left out"
    )
    assert [value.best for value in by_size.values.iloc[1]] == [True, True, True]


def test_versions_that_are_mixed_are_all_named():
    older = [replace(m, version=2) if name in ("conformal", "sizes") else m for name, m in RECORDS[0].metrics.items()]
    mixed = [*RECORDS, record("knn", metrics=dict(zip(RECORDS[0].metrics, older)))]
    made, by_size = extras(mixed, [*ORDER, "knn"])
    assert ("conformal v1 or v2", "FPR") in made.values and ("tpr-fpr05 v1", "TPR at 5 % FPR") in made.values
    assert {head for head, _ in by_size.values} == {"49-256 px, 3 components, constant 1.23, v1 or v2"}


def test_a_program_gets_the_numbers_of_the_tables(tmp_path):
    results = published(tmp_path)
    for each in RECORDS:
        each.write(results)
    (board,) = generate.plain(results)
    rows = {row["method"]: row for row in board["blocks"][0]["rows"]}
    assert rows["void"]["sizes.aupr_49-256"] == pytest.approx(40) and rows["msp"]["published.aupr"] == pytest.approx(
        6.6
    )
    assert [row["title"] for row in board["published_elsewhere"]] == ["Other & one"]


def test_nothing_is_added_where_no_further_protocol_was_measured():
    assert extras([record("msp")], ["msp"]) == [] and calibration([record("msp")]) == []


def test_the_networks_calibration_is_what_the_rows_share():
    found = {"calibration": {"ece": 0.0123, "adaptive_ece": 0.02, "nll": 0.5, "brier": 0.25, "pixels": 9.0}}
    made = [record(m, metrics=metrics(**found)) for m in ("msp", "energy")]
    assert extras(made, ["msp"]) == []
    assert calibration(made) == ["calibration of the network: ECE 1.23, adaptive ECE 2.00, NLL 0.50, Brier 0.25"]


def test_every_format_holds_them(tmp_path):
    results = published(tmp_path)
    for each in RECORDS:
        each.write(results)
    files = {path.suffix: text for path, text in generate.render(results).items()}
    for suffix in (".md", ".html"):
        assert TITLE in files[suffix] and SIZES_TITLE in files[suffix] and "3 components" in files[suffix]
    assert "<strong>40.0</strong>" in files[".html"] and "**40.0**" in files[".md"]
    assert files[".tex"].count(r"\begin{tabular}") == files[".tex"].count(r"\end{tabular}") == 3
    assert r"TPR at 5 \% FPR" in files[".tex"]
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(files[".csv"]))}
    assert float(rows["void"]["sizes.aupr_49-256"]) == 40 and rows["energy"]["sizes.aupr_49-256"] == ""
    assert float(rows["msp"]["conformal.tpr_per_image"]) == 30


def test_a_terminal_shows_more_columns_than_fit_in_further_tables():
    names = ("open-set-fpr", "open-set-conformal", "conformal", "tpr-fpr05", "sizes")
    values = {name: dict.fromkeys(PROTOCOLS[name].headlines, 0.5) for name in names}
    text = console.summary([record("msp", metrics=metrics(**values))])
    assert max(map(len, text.splitlines())) <= 120 and text.count("Method") == 3
    for name in names:
        assert len(re.findall(rf"(?<![\w-]){name} v1", text)) == len(values[name])
    alone = console.summary([record("msp", metrics=metrics(conformal=values["conformal"]))])
    assert alone.count("Method") == 1 and console.summary([record("msp")]) == ""
