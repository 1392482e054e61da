"""What further protocols say of the rows of a board, in every format."""

import csv
import io
import re
from dataclasses import replace

import pytest
from toy_records import measurement, published, record

from benchmark.leaderboard import console, generate
from benchmark.leaderboard.board import block
from benchmark.leaderboard.protocols import SIZES_TITLE, TITLE, Extra, calibration
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


def tables(records) -> list[Extra]:
    """The further tables of a block of records."""
    return block(records, []).extras


def texts(made: Extra, row: int) -> list[str]:
    return [cell.text for cell in made.cells.iloc[row]]


def best(made: Extra) -> dict[str, list[str]]:
    """Titles of the columns in which a method is marked."""
    return {
        label: [title for (_, title), cell in made.cells.iloc[row].items() if cell.kind == "best"]
        for row, label in enumerate(made.methods)
    }


def test_headlines_stand_under_their_protocols_with_the_mean_over_seeds():
    made, by_size = tables(RECORDS)
    assert made.title == TITLE and made.methods == ["msp", "void"] and made.saw == [False, True]
    assert list(made.cells) == [
        ("", "Method"),
        ("tpr-fpr05 v1", "TPR at 5 % FPR"),
        ("conformal v1", "FPR"),
        ("conformal v1", "TPR"),
        ("", "Seeds"),
    ]
    assert texts(made, 0) == ["MSP", "–", "6.0 ± 1.4", "30.0 ± 14.1", "2"]
    assert texts(made, 1) == ["VOID", "50.0", "–", "–", "1"]
    assert made.numbers.loc["msp", "conformal.fpr_per_image"] == pytest.approx(6)
    assert made.numbers.loc["msp", "conformal.protocol"] == "conformal v1"
    assert by_size.title == SIZES_TITLE and by_size.methods == ["msp", "void"]
    assert {head for head, _ in by_size.cells} == {"", "49-256 px, 3 components, constant 1.23"}, (
        "empty classes are left out"
    )
    assert ("", "Seeds") not in by_size.cells, "only one of msp's seeds was measured so"


def test_the_best_is_that_of_methods_that_saw_the_same_outliers():
    plain = [record(m, metrics=metrics(**sizes(v))) for m, v in (("msp", 0.2), ("knn", 0.3))]
    saw = [record(m, metrics=metrics(**sizes(v)), auxiliary=True) for m, v in (("void", 0.4), ("rpl", 0.5))]
    (made,) = tables([*plain, *saw])
    wanted = {"knn": ["AUPR"], "rpl": ["AUPR"], "msp": [], "void": []}
    assert {label: [t for t in marked if t == "AUPR"] for label, marked in best(made).items()} == wanted
    assert all("FPR95" in marked for marked in best(made).values()), "equals are marked together"
    (alone,) = tables([*plain[:1], *saw[:1]])
    assert not any(best(alone).values()), "each is the only one of its kind"


def test_versions_that_are_mixed_are_all_named_and_nothing_is_the_best_of_them():
    older = [replace(m, version=2) if name in ("conformal", "sizes") else m for name, m in RECORDS[0].metrics.items()]
    mixed = [*RECORDS, record("knn", metrics=dict(zip(RECORDS[0].metrics, older)))]
    made, by_size = tables(mixed)
    assert ("conformal v1 or v2", "FPR") in made.cells and ("tpr-fpr05 v1", "TPR at 5 % FPR") in made.cells
    assert {head for head, _ in by_size.cells} == {"", "49-256 px, 3 components, constant 1.23, v1 or v2"}
    assert not any(best(by_size).values())
    assert made.numbers.loc[["msp", "knn"], "conformal.protocol"].tolist() == ["conformal v1", "conformal v2"]


def test_a_second_protocol_that_ranks_pixels_is_a_further_one():
    """Its values would stand nowhere else."""
    second = {"densehybrid": replace(measurement(aupr=0.456), extra={}), "pooled-anomalous": measurement("pooled")}
    made = record("msp", metrics=metrics() | second)
    (table,) = tables([made])
    assert [head for head in table.cells if head[0]] == [
        (f"{name} v1", title) for name in second for title in ("AUROC", "AUPR", "FPR95")
    ]
    assert texts(table, 0)[2] == "45.6" and table.numbers.loc["msp", "densehybrid.aupr"] == pytest.approx(45.6)
    assert "AUPR" in console.summary([made]) and "45.6" in console.summary([made])


def test_counts_and_columns_are_those_of_all_records_whatever_their_order():
    other = record("knn", metrics=metrics(**sizes(0.3, components=4.0)))
    lacks = record("energy", metrics=metrics(conformal={"fpr_per_image": 0.1}))
    for records in ([RECORDS[0], other, lacks], [lacks, other, RECORDS[0]]):
        made, by_size = tables(records)
        assert ("conformal v1", "TPR") in made.cells
        (head,) = {head for head, _ in by_size.cells if head}
        assert head in [f"49-256 px, {n} components, constant 1.23" for n in ("3 or 4", "4 or 3")]


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
    assert tables([record("msp")]) == [] and calibration([record("msp")]) == []


def test_the_networks_calibration_is_what_the_rows_share():
    found = {"calibration": {"ece": 0.0123, "adaptive_ece": 0.02, "nll": 0.5, "brier": 0.25, "pixels": 9.0}}
    made = [record(m, metrics=metrics(**found)) for m in ("msp", "energy")]
    assert tables(made) == [] and console.summary(made) == "", "it is said once, and in one unit"
    assert calibration(made) == ["calibration of the network: ECE 1.23, adaptive ECE 2.00, NLL 0.50, Brier 0.25"]


def test_every_format_holds_them(tmp_path):
    results = published(tmp_path)
    for each in RECORDS:
        each.write(results)
    files = {path.suffix: text for path, text in generate.render(results).items()}
    for suffix in (".md", ".html"):
        assert TITLE in files[suffix] and SIZES_TITLE in files[suffix] and "3 components" in files[suffix]
    assert "| 40.0 |" in re.sub(" +", " ", files[".md"])
    for suffix, elsewhere in ((".md", 1), (".html", 1), (".tex", 0)):
        assert files[suffix].count("With outlier images in training") == 3 + elsewhere, "in every table"
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
