"""The leaderboard is a pure function of what was published and measured, in four formats and two places."""

import dataclasses
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_records import HEAD, PAPER, measurement, published, record, rows

from benchmark.errors import BenchmarkError
from benchmark.leaderboard import generate as leaderboard
from benchmark.leaderboard.board import COLUMNS, block, boards
from benchmark.leaderboard.console import print_table
from benchmark.leaderboard.wording import method_title
from benchmark.records.published import read_published
from benchmark.values import SYNTHETIC

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results(tmp_path):
    return published(tmp_path)


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n\nBefore.\n\n{leaderboard.BEGIN}\n{leaderboard.END}\n\nAfter.\n")
    return path


def page(results):
    return leaderboard.render(results)[results / "LEADERBOARD.md"]


def test_measured_stands_beside_published_with_the_difference(results):
    record("msp", aupr=0.081, auroc=0.9, fpr95=0.3).write(results)
    heads, msp = rows(page(results))["Method"], rows(page(results))["MSP"]
    value = dict(zip(heads, msp))
    assert value["AUPR<br>published"] == "6.6"
    assert value["AUPR<br>per image"].startswith("8.1")
    assert "<sub>[3.1, 12.1]</sub>" in value["AUPR<br>per image"]
    assert value["AUPR<br>difference"] == "+1.5"
    assert value["FPR95<br>difference"] == "−3.7"
    assert value["AUPR<br>pooled"] == "4.0" or value["AUPR<br>pooled"] == "4.1"
    assert value["net + method<br>ms/image"] == "12.2 + 0.8"
    assert value["mIoU<br>network"] == "60.0"


def test_a_published_row_is_only_compared_under_its_own_aggregation(results):
    path = results / "published" / "toyset.csv"
    path.write_text(HEAD + PAPER.replace("93.4,16.2,17.6,,per-image mean", "93.4,16.2,17.6,,pooled pixels"))
    record("dicnet", aupr=0.5).write(results)  # 25 % pooled
    value = dict(zip(rows(page(results))["Method"], rows(page(results))["DiCNet"]))
    assert value["AUPR<br>difference"] == "+8.8"
    path.write_text(HEAD + PAPER.replace("per-image mean", "some protocol"))
    value = dict(zip(rows(page(results))["Method"], rows(page(results))["DiCNet"]))
    assert value["AUPR<br>difference"] == "–"


def test_the_setting_line_and_the_note(results):
    record("msp").write(results)
    text = page(results)
    assert "> Toy scenes, no benchmark." in text
    for phrase in (
        "Network net-small; native size",
        "streethazards v1",
        "pooled v1",
        "24 images",
        "mIoU",
        "60.0 over 12",
    ):
        assert phrase in text
    assert "AUPR of a constant score 1.20 (per image), 1.20 (pooled)" in text
    for name in ("html", "tex"):
        assert "Toy scenes, no benchmark." in leaderboard.render(results)[results / "tables" / f"toyset.{name}"]


def test_absent_rows_stay_visible_in_the_papers_order(results):
    text = page(results)
    assert text.count("not measured here: needs the dataset") >= 3
    names = [n for n in rows(text) if n in ("DiCNet", "MSP", "TRADI")]
    assert names == ["DiCNet", "MSP", "TRADI"]
    heads = ["Method", *(f"{metric}<br>published" for metric in ("AUPR", "FPR95", "AUROC")), "AUPR<br>per image"]
    assert rows(text)["Method"] == heads, "no columns of dashes where nothing is measured"
    record("msp").write(results)
    record("energy", aupr=0.3).write(results)
    record("knn", aupr=0.4).write(results)
    text = page(results)
    names = [n for n in rows(text) if n in ("DiCNet", "MSP", "TRADI", "ENERGY", "KNN")]
    assert names == ["DiCNet", "MSP", "TRADI", "KNN", "ENERGY"]
    assert "needs the dataset" not in text
    assert rows(text)["TRADI"].count("not measured here") == 1


def test_the_best_value_of_each_column_is_bold(results):
    record("msp", aupr=0.2, auroc=0.8, fpr95=0.3).write(results)
    record("energy", aupr=0.1, auroc=0.9, fpr95=0.4).write(results)
    record("void", aupr=0.99, auroc=0.99, fpr95=0.01, auxiliary=True).write(results)
    heads, table = rows(page(results))["Method"], rows(page(results))
    bold = {name: {h for h, c in zip(heads, table[name]) if "**" in c} for name in ("MSP", "ENERGY", "DiCNet", "VOID")}
    assert bold["DiCNet"] == {f"{m}<br>published" for m in ("AUPR", "FPR95", "AUROC")}
    assert {"AUPR<br>per image", "FPR95<br>per image"} <= bold["MSP"]
    assert {"AUROC<br>per image", "AUROC<br>pooled"} == bold["ENERGY"]
    assert bold["VOID"] == set()


def test_equal_values_are_bold_together(results):
    record("msp", aupr=0.20004).write(results)
    record("energy", aupr=0.2).write(results)
    assert page(results).count("**20.0**") == 2


def test_methods_stand_apart_by_what_outliers_they_saw(results):
    record("void", aupr=0.99, auxiliary=True).write(results)
    record("rpl", aupr=0.999, auxiliary=SYNTHETIC).write(results)
    record("pebal", aupr=0.5, auxiliary=SYNTHETIC).write(results)
    record("msp").write(results)
    lines = page(results).splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("| MSP"))
    heads = [line.strip("|").split("|")[0].strip(" *_") for line in lines[begin:]]
    order = [head for head in heads if head in ("MSP", "RPL", "PEBAL", "VOID") or head.startswith("With")]
    invented, real = "With invented outliers in training", "With outlier images in training"
    assert order[:6] == ["MSP", invented, "RPL", "PEBAL", real, "VOID"]


def test_a_row_published_elsewhere_is_marked_by_what_outliers_were_seen(results):
    path = results / "published" / "toyset.csv"
    headings = {
        "no": "",
        "yes": "With outlier images in training",
        "synthetic": "With invented outliers in training",
        "unknown": "Whether outlier images were used in training is not stated",
    }
    for state, heading in headings.items():
        path.write_text(f"{HEAD}toyset,,Elsewhere,Net,50,50,50,,pooled,A paper,,no,{state}\n")
        text = page(results)
        assert "| Elsewhere (Net) " in text
        assert [other for other in headings.values() if other and other in text] == [heading] * bool(heading)
    path.write_text(f"{HEAD}toyset,,Elsewhere,Net,50,50,50,,pooled,A paper,,no,some\n")
    with pytest.raises(
        BenchmarkError, match="line 2: auxiliary_data must be yes or no or synthetic or unknown, not 'some'"
    ):
        read_published(results)


def test_partial_records_are_counted_and_kept_out(results):
    record("msp", aupr=0.2).write(results)
    record("energy", aupr=0.77, limit=3).write(results)
    text = page(results)
    assert "77.0" not in text
    assert "1 partial measurement not shown." in text


def test_settings_are_separate_tables(results):
    record("msp", aupr=0.2).write(results)
    record("msp", aupr=0.3, scales=(300, 600)).write(results)
    text = page(results)
    assert r"### net-small:scales=300-600:max\_size=1000" in text
    assert "test scales 300, 600, long side at most 1000" in text
    assert sum(line.startswith("| MSP ") for line in text.splitlines()) == 2


def test_several_seeds_are_one_row_with_mean_and_standard_deviation(results):
    for seed, aupr in enumerate((0.1, 0.2, 0.3)):
        record("msp", aupr=aupr, seed=seed, miou=0.5 + aupr).write(results)
    value = dict(zip(rows(page(results))["Method"], rows(page(results))["MSP"]))
    assert value["AUPR<br>per image"] == "20.0 ± 10.0 <sub>[15.0, 24.0]</sub>"
    assert value["Seeds"] == "3"
    assert "mIoU of the network 60.0 to 80.0 over 12 classes" in page(results)


def test_the_table_of_a_block_is_a_frame_of_numbers(results):
    auprs = (0.123, 0.2, 0.345)
    made = [record("energy", aupr=a, seed=seed) for seed, a in enumerate(auprs)]
    made += [record("void", auxiliary=True, aupr=0.9), record("dicnet", aupr=0.17), record("knn", aupr=0.1)]
    (board,) = boards(made, read_published(results))
    table = board.blocks[0].table
    assert list(table) == COLUMNS and board.blocks[0].published == 3
    assert list(table["method"]) == ["dicnet", "msp", "tradi", "energy", "knn", "void"]
    assert list(table["seeds"]) == [1, 0, 0, 3, 1, 1] and list(table["auxiliary_data"]) == [False] * 5 + [True]
    row = table.set_index("method").loc["energy"]
    found = row[["measured.aupr", "measured.aupr_std", "measured.aupr_low", "measured.aupr_high"]]
    percentages = 100 * np.array(auprs)
    expected = percentages.mean(), percentages.std(ddof=1), percentages.mean() - 5, percentages.mean() + 4
    assert list(found) == pytest.approx(expected)
    assert row["network_ms"] == 12.25 and row["network_ms_std"] == 0
    assert np.isnan(row["pooled.aupr_low"]) and np.isnan(row["published.aupr"]) and np.isnan(row["difference.aupr"])
    row = table.set_index("method").loc["dicnet"]
    assert row["difference.aupr"] == pytest.approx(17 - 16.2) and np.isnan(row["measured.aupr_std"])


def test_an_interval_that_one_seed_lacks_is_none_of_the_mean():
    without = measurement(aupr=0.3)
    made = [record("msp", aupr=0.1), record("msp", seed=1, metrics={"streethazards": without})]
    (row,) = block(made, []).table.to_dict("records")
    assert row["measured.aupr"] == pytest.approx(20) and np.isnan(row["measured.aupr_low"])


def test_variants_of_a_method_have_rows_of_their_own(results):
    record("msp", aupr=0.2, method_title="MSP").write(results)
    record("msp", label="msp:double=true", aupr=0.1, method_title="MSP").write(results)
    assert {"MSP", "MSP (double=true)"} <= set(rows(page(results)))


def test_a_limit_beyond_the_images_claims_no_more_than_there_are():
    assert "the first 24 images only: enters no leaderboard" in print_table([record(limit=500)], {})


def test_a_name_from_elsewhere_is_printed_as_it_was_given():
    made = record("Mine: large", method_title="Mine: large")
    assert method_title(made.method) == "Mine: large", "what stands behind a colon is no option of it"
    assert method_title(record("knn", label="knn:k=5:mean=true", method_title="kNN").method) == "kNN (k=5, mean=true)"


def test_values_that_are_missing_crash_nothing_and_are_explained(results):
    nan = measurement(auroc=float("nan"), aupr=float("nan"), fpr95=float("nan"), constant_aupr=float("nan"))
    record("msp", metrics={"streethazards": nan}).write(results)
    record("energy", metrics={"open-set": measurement("open-set", auroc=None, aupr=None, fpr95=None)}).write(results)
    text = page(results)
    assert "msp under streethazards: aupr, auroc, fpr95 have no value (not a number)." in text and "nan" not in text
    assert set(rows(text)["ENERGY"][1:7]) == {"–"}


def test_different_weights_and_uncommitted_code_are_remarked(results):
    record("msp", dirty=True).write(results)
    changed = record("energy")
    dataclasses.replace(changed, network=dataclasses.replace(changed.network, weights_sha256="9" * 64)).write(results)
    assert "Not all rows were measured with the same weights of the network." in page(results)
    assert "1 of 2 records were measured with uncommitted changes in the code." in page(results)


def test_rendering_does_not_depend_on_the_order_of_writing(results, tmp_path):
    made = [record(m, aupr=a, seed=s) for m, a in (("msp", 0.2), ("energy", 0.2), ("knn", 0.4)) for s in (0, 1)]
    texts = []
    for turn in range(3):
        copy = tmp_path / f"copy{turn}" / "results"
        (copy / "published").mkdir(parents=True)
        (copy / "published" / "toyset.csv").write_text(HEAD + PAPER)
        random.Random(turn).shuffle(made)
        for one in made:
            one.write(copy)
        texts.append({p.relative_to(copy): t for p, t in leaderboard.render(copy).items()})
    assert texts[0] == texts[1] == texts[2]


def test_markers_are_replaced_again_and_again(results, readme):
    record("msp").write(results)
    assert readme in leaderboard.write(results, readme)
    once = readme.read_text()
    assert once.startswith("# Title\n\nBefore.\n") and once.endswith("\n\nAfter.\n")
    assert "MSP" in rows(once)
    assert leaderboard.write(results, readme) == []
    assert readme.read_text() == once
    assert leaderboard.check(results, readme) == []


@pytest.mark.parametrize(
    "text",
    ["", leaderboard.BEGIN, leaderboard.END + leaderboard.BEGIN, 2 * (leaderboard.BEGIN + leaderboard.END)],
)
def test_missing_markers_are_named(results, readme, text):
    readme.write_text(text)
    with pytest.raises(BenchmarkError, match=r"README\.md must hold the lines"):
        leaderboard.write(results, readme)
    assert readme.read_text() == text


@pytest.mark.parametrize("name", ["results/LEADERBOARD.md", "results/tables/toyset.csv", "README.md"])
def test_check_notices_an_edited_number(results, readme, name):
    record("msp", aupr=0.2345).write(results)
    leaderboard.write(results, readme)
    path = readme.parent / name
    path.write_text(path.read_text().replace("23.4", "32.4"))
    assert [p.split(" is not")[0] for p in leaderboard.check(results, readme)] == [name]


def test_check_notices_new_records_broken_records_and_stray_tables(results, readme):
    leaderboard.write(results, readme)
    path = record("msp").write(results)
    assert len(leaderboard.check(results, readme)) == 5  # three tables, the page, the README
    leaderboard.write(results, readme)
    path.write_text("{")
    assert "not a whole record" in leaderboard.check(results, readme)[0]
    path.unlink()
    stray = results / "tables" / "gone.csv"
    stray.write_text("")
    assert any("gone.csv belongs to no dataset" in p for p in leaderboard.check(results, readme))
    leaderboard.write(results, readme)
    assert not stray.exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("toyset,m,M,,high,1,2,,p,s,,no,no\n", "line 2: auroc 'high'"),
        ("toyset,m,M,,1,1,2,,p,,,no,no\n", "line 2: a published number needs its source"),
        ("toyset,m,M,,1,1,2,,p,s,,maybe,no\n", "line 2: second_hand must be yes or no"),
        ("toyset,m,M,,1,1,2,,p,s,,no,unknown\n", "line 2: auxiliary_data 'unknown' .* say what 'm' sees"),
        ("toyset,m,M,,1,1,2,,p, with, comma,s,,no,no\n", "line 2 has not 13 values"),
    ],
)
def test_errors_in_published_files_name_the_line(results, line, words):
    (results / "published" / "toyset.csv").write_text(HEAD + line)
    with pytest.raises(BenchmarkError, match=words):
        leaderboard.render(results)


def test_the_papers_six_rows_are_published_here_in_its_order():
    found = read_published(PROJECT / "results").rows["streethazards"]
    assert [r.method for r in found] == ["msp", "deep_ensemble", "tradi", "synthcp", "pans", "dicnet"]
    assert [(r.auroc, r.aupr, r.fpr95) for r in found][-1] == pytest.approx((0.934, 0.162, 0.176))
    assert all(r.source and r.comparable and r.aggregation == "per-image" for r in found)


def test_a_folder_without_published_numbers_shows_ours_of_what_was_measured_there(tmp_path):
    record("msp", aupr=0.081, dataset="streethazards", title="Streets").write(tmp_path)
    heads, table = rows(page(tmp_path))["Method"], rows(page(tmp_path))
    assert dict(zip(heads, table["MSP"]))["AUPR<br>difference"] == "+1.5"
    assert dict(zip(heads, table["DiCNet"]))["AUPR<br>published"].strip("*") == "16.2"
    assert page(tmp_path).count("\n## ") == 1, "of other datasets it shows nothing"


def test_the_leaderboard_needs_no_torch():
    code = "import sys, benchmark.leaderboard.generate; sys.exit(bool({'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_datasets_with_options_are_left_to_the_page_and_have_portable_file_names(results, readme):
    record("msp", dataset="pasted:base=toyset", title="Pasted").write(results)
    record("msp").write(results)
    leaderboard.write(results, readme)
    assert "## Pasted" in (results / "LEADERBOARD.md").read_text() and "Pasted" not in readme.read_text()
    names = [path.name for path in results.rglob("*")]
    assert "pasted+base=toyset.csv" in names and not [name for name in names if ":" in name]
    assert leaderboard.check(results, readme) == []
