"""False alarms where the network errs: a table from records, a picture from the table."""

import csv
import dataclasses
import io

import pytest
from matplotlib.image import imread
from toy_records import measurement, published, record

from benchmark.leaderboard import generate
from benchmark.leaderboard.failures import TITLE, failures
from benchmark.pictures import failure_split
from benchmark.records.record import read_all


def split(method, efpr, cfpr, seed=0, fpr95=0.3):
    found = {
        "per-image": measurement(),
        "failure-split": measurement(fpr95=fpr95, extra={"efpr": efpr, "cfpr": cfpr}),
    }
    return record(method, metrics=found, seed=seed)


RECORDS = [split("msp", 0.6, 0.2), split("knn", 0.1, 0.05), split("knn", 0.3, 0.15, seed=1), record("energy")]


def test_a_row_per_method_that_was_measured_so_with_the_mean_over_seeds():
    table = failures(RECORDS)
    assert list(table["method"]) == ["knn", "msp"] and list(table["seeds"]) == [2, 1]
    knn = table.iloc[0]
    assert (knn["efpr"], knn["cfpr"], knn["fpr95"]) == pytest.approx((20, 10, 30))
    assert knn["efpr_std"] == pytest.approx(100 * 0.2 / 2**0.5)
    assert table["efpr_std"].isna().tolist() == [False, True]


def test_a_rate_that_is_not_known_is_neither_zero_nor_a_row_less():
    table = failures([split("msp", float("nan"), 0.2)])
    assert table["efpr"].isna().all() and table["cfpr"].tolist() == [20]


def test_the_page_has_a_section_where_something_was_measured(tmp_path):
    results = published(tmp_path)
    record("energy").write(results)
    page = results / "LEADERBOARD.md"
    assert TITLE not in generate.render(results)[page]
    for each in RECORDS:
        each.write(results)
    text = generate.render(results)[page]
    assert "under the protocol failure-split v1:" in text[text.index(TITLE) :]
    lines = text[text.index(TITLE) :].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert cells[0] == ["Method", "all normal pixels", "wrongly classified", "correctly classified", "Seeds"]
    assert cells[2] == ["KNN", "**30.0 ± 0.0**", "**20.0 ± 14.1**", "**10.0 ± 7.1**", "2"]
    assert cells[3] == ["MSP", "**30.0**", "60.0", "20.0", "1"]


def test_methods_that_saw_outliers_stand_apart_in_every_format(tmp_path):
    results = published(tmp_path)
    saw = split("void", 0.01, 0.01)
    for each in (*RECORDS, dataclasses.replace(saw, method=dataclasses.replace(saw.method, auxiliary_data=True))):
        each.write(results)
    table = failures([r for r in read_all(results)[0]])
    assert list(table["method"]) == ["knn", "msp", "void"], "fewest false alarms first, those that saw outliers last"
    files = {path.suffix: text for path, text in generate.render(results).items()}
    section = files[".md"][files[".md"].index(TITLE) :]
    names = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
    assert names[2:6] == ["KNN", "MSP", "*With outlier images in training*", "VOID"]
    assert "1.0**" not in section, "alone there it is better than nothing"
    assert TITLE in files[".html"] and TITLE in files[".tex"]
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(files[".csv"]))}
    assert float(rows["knn"]["failure-split.efpr"]) == 20 and rows["energy"]["failure-split.efpr"] == ""
    assert rows["knn"]["failure-split.protocol"] == "failure-split v1"


def test_the_picture_is_the_same_for_the_same_table_and_another_for_another(tmp_path):
    for name, records in (("a", RECORDS), ("b", RECORDS), ("c", RECORDS[:1])):
        failure_split(failures(records), tmp_path / f"{name}.png", 600)
    one, same, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert one == same != other and imread(tmp_path / "a.png").shape[1] == pytest.approx(600, abs=1)


def test_show_draws_it_where_records_hold_it(bench):
    assert bench("run", "--methods", "msp,energy", "--protocols", "failure-split") == 0
    assert bench("show", "--methods", "msp,energy", "--images", "1", "--width", "400") == 0
    assert (bench.runs / "pictures" / "town-pspnet-small-failures.png").exists()
