"""A selection of the committed rows as a table for a paper."""

import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from toy_records import HEAD, PAPER, published
from toy_records import record as toy_record

from benchmark.cli.main import main
from benchmark.errors import BenchmarkError
from benchmark.leaderboard.paper import COLUMNS, FORMATS, Selection, paper_table
from benchmark.leaderboard.wording import method_title, primary
from benchmark.records.record import read_all

RESULTS = Path(__file__).resolve().parents[2] / "results"
SMALL = "pspnet-small"
FEW = Selection(["camvid-ood"], SMALL, ["msp", "Energy", "rpl"])


def records(dataset: str, network: str) -> dict:
    return {r.method.label: r for r in read_all(RESULTS)[0] if r.dataset.name == dataset and r.network.label == network}


def table_of(chosen: Selection) -> list[str]:
    """The lines of a Markdown table, without what stands below it."""
    return paper_table(RESULTS, chosen, "markdown").partition("\n\n")[0].splitlines()


def csv_of(results: Path, chosen: Selection) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(paper_table(results, chosen, "csv")))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_markdown_has_the_values_of_the_records_in_the_order_asked_for():
    lines = table_of(FEW)
    assert cells(lines[0]) == ["Method", "AUPR", "FPR95", "AUROC"]
    found = records("camvid-ood", SMALL)
    rows = {cells(line)[0]: cells(line)[1:] for line in lines[2:]}
    assert list(rows) == ["MSP", "Energy", "*With invented outliers in training*", "RPL"]
    for title, label in (("MSP", "msp"), ("Energy", "energy"), ("RPL", "rpl")):
        metrics = primary(found[label], "per-image")
        wanted = [100 * getattr(metrics, name) for name in ("aupr", "fpr95", "auroc")]
        assert [float(cell.strip("*")) for cell in rows[title]] == pytest.approx(wanted, abs=0.051)
    # Energy is better than MSP in all three; the row that saw outliers stands apart and has nothing to be better than.
    assert all(cell.startswith("**") for cell in rows["Energy"])
    assert not any("**" in cell for cell in rows["MSP"] + rows["RPL"])


def test_all_rows_come_best_first_and_with_the_digits_asked_for():
    text = paper_table(RESULTS, Selection(["camvid-ood"], SMALL, columns=["fpr95", "seeds"], digits=3), "markdown")
    rows = text.partition("| *With")[0].splitlines()[2:]  # those that saw no outliers
    values = [cells(line)[1].strip("*") for line in rows]
    assert all(re.fullmatch(r"\d+\.\d{3}", value) for value in values)
    assert sorted(values, key=float) == values and len(values) > 30


def test_csv_keeps_the_digits():
    table = csv_of(RESULTS, FEW).set_index("method")
    for label, record in records("camvid-ood", SMALL).items():
        if label in table.index:
            assert table.loc[label, "measured.aupr"] == pytest.approx(100 * primary(record, "per-image").aupr, abs=1e-4)
            assert table.loc[label, "title"] == method_title(record.method)
    assert list(table.index) == ["msp", "energy", "rpl"]


def test_csv_is_the_part_of_the_file_that_was_asked_for():
    """The same names, values and words, so that whatever reads one reads the other."""
    whole = pd.read_csv(RESULTS / "tables" / "camvid-ood.csv", keep_default_na=False)
    asked = ["aupr", "fpr95", "pooled.auroc", "miou", "network-ms", "ms"]
    chosen = Selection(["camvid-ood"], columns=asked, intervals=True)
    found = pd.read_csv(io.StringIO(paper_table(RESULTS, chosen, "csv")), keep_default_na=False)
    keys = ["network", "method"]
    both = found.merge(whole, on=keys, suffixes=("", "_whole"), validate="one_to_one")
    assert len(both) == len(found) == len(whole) and set(found) <= set(whole)
    assert {"measured.protocol", "pooled.protocol", "setting"} <= set(found)
    assert ("timed" in found) == ("timed" in whole), "marks of times stand where there are any"
    for name in set(found) - {*keys}:
        assert both[name].astype(str).tolist() == both[f"{name}_whole"].astype(str).tolist(), name


def test_intervals_stand_behind_the_values():
    chosen = Selection(["camvid-ood"], SMALL, ["msp"], ["aupr"], intervals=True)
    (value,) = re.findall(
        r"([\d.]+) .*?\[([\d.]+), ([\d.]+)\\?\]", paper_table(RESULTS, chosen, "markdown").replace("\\", "")
    )
    assert float(value[1]) < float(value[0]) < float(value[2])


LATEX_CASES = {
    "one dataset": FEW,
    "every method": Selection(["camvid-ood"], SMALL),
    "long names and intervals": Selection(
        ["camvid-ood"], "", ["guided_knn", "cdnp:encoder=tf_efficientnet_lite0"], ["aupr"], intervals=True
    ),
    "three datasets": Selection(
        ["road-anomaly", "road-anomaly-21", "road-obstacle-21"], columns=["pooled.aupr", "pooled.fpr95"]
    ),
}


@pytest.mark.parametrize("chosen", LATEX_CASES.values(), ids=LATEX_CASES)
def test_latex_fits_its_column(chosen, tmp_path):
    if (
        not shutil.which("pdflatex")
        or subprocess.run(["kpsewhich", "booktabs.sty", "tabularx.sty"], capture_output=True).returncode
    ):
        pytest.skip("needs pdflatex with booktabs and tabularx")
    table = paper_table(RESULTS, chosen, "latex")
    for options in ("", "[twocolumn]"):
        head = rf"\documentclass{options}{{article}}\usepackage{{booktabs,tabularx}}\begin{{document}}"
        page = head + table + r"\end{document}"
        (tmp_path / "page.tex").write_text(page, encoding="utf-8")
        made = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            errors="replace",
        )
        assert made.returncode == 0, made.stdout[-1500:]
        assert "Overfull \\hbox" not in made.stdout, made.stdout[-1500:]


def test_the_name_of_a_plugin_stands_for_all_its_rows_where_no_row_has_it():
    lines = table_of(Selection(["camvid-ood"], SMALL, methods=["knn", "msp"]))
    titles = [line.split("|")[1].strip() for line in lines[2:]]
    assert titles[-1] == "MSP" and len(titles) > 2 and all(title.startswith("kNN (") for title in titles[:-1])


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (Selection(["camvid-odd"]), "no measured row of 'camvid-odd', perhaps 'camvid-ood'"),
        (Selection(["camvid-ood"], "pspnet-smal"), "with the network 'pspnet-smal', perhaps 'pspnet-small'"),
        (Selection(methods=["enrgy"]), "No row is of 'enrgy', perhaps 'energy'"),
        (Selection(columns=["aupr", "fpr"]), "no column 'fpr', perhaps 'fpr95'"),
    ],
)
def test_what_is_not_there_is_named(chosen, sentence):
    with pytest.raises(BenchmarkError, match=sentence):
        paper_table(RESULTS, chosen, "markdown")


def test_the_command_prints_it(capsys):
    arguments = ["table", "--results", str(RESULTS), "--markdown", "--dataset", "camvid-ood", "--network", SMALL]
    assert main([*arguments, "--methods", "msp,Energy,rpl"]) == 0
    assert capsys.readouterr().out == paper_table(RESULTS, FEW, "markdown")
    assert main([*arguments, "--check"]) == 2
    assert main(["table", "--results", str(RESULTS), "--digits", "2"]) == 2
    assert main(["table", "--results", str(RESULTS), "--csv", "--digits", "2"]) == 2
    assert "--csv has four digits" in capsys.readouterr().err
    assert set(COLUMNS) >= {"aupr", "pooled.aupr", "published.auroc", "miou", "ms"}


@pytest.fixture
def toy(tmp_path):
    """A folder with one record, timed on a busy machine, whose pooled AUPR is that of a sample."""
    made = toy_record()
    pooled = replace(made.metrics["pooled"], extra={"sampling_aupr": 0.004})
    busy = replace(made.provenance, load=2.0)
    replace(made, metrics=made.metrics | {"pooled": pooled}, provenance=busy).write(tmp_path)
    return tmp_path


def test_every_format_says_what_its_rows_share(toy):
    for form in FORMATS:
        said = paper_table(toy, Selection(columns=["pooled.aupr"]), form).replace("\\allowbreak{}", "")
        assert "protocol pooled v1" in said and "AUPR of a constant score" in said and "timed on" not in said
        timed = paper_table(toy, Selection(columns=["network-ms"]), form).replace("\\allowbreak{}", "")
        assert "timed on" in timed and "too long" in timed


def test_times_of_a_busy_machine_are_marked_in_both_columns(toy):
    chosen = Selection(columns=["aupr", "network-ms", "ms"])
    row = cells(paper_table(toy, chosen, "markdown").splitlines()[2])[1:]
    assert row == ["20.0", "12.2 †", "0.8 †"]
    assert csv_of(toy, chosen).iloc[0]["timed"] == "†"
    assert "timed" not in csv_of(toy, Selection(columns=["aupr"]))


def test_what_ranks_a_sample_is_marked_in_every_format(toy):
    chosen = Selection(columns=["pooled.aupr", "pooled.auroc"])
    lines = paper_table(toy, chosen, "markdown").splitlines()
    assert cells(lines[2])[1:] == ["≈ 10.0", "80.0"] and "≈ Of a sample of the pixels" in lines[-1]
    assert r"$\approx$ Of a sample" in paper_table(toy, chosen, "latex")
    assert csv_of(toy, chosen).iloc[0]["sampled"] == "aupr"
    assert "sampled" not in csv_of(toy, Selection(columns=["pooled.auroc"]))


def test_a_label_comes_before_a_name_in_the_tables_and_a_name_of_two_rows_is_refused(tmp_path):
    toy_record("msp", aupr=0.1).write(tmp_path)
    toy_record("MSP", aupr=0.3).write(tmp_path)
    for name, value in (("msp", "10.0"), ("MSP", "30.0")):
        text = paper_table(tmp_path, Selection(methods=[name], columns=["aupr"]), "markdown")
        assert cells(text.splitlines()[2])[1] == value
    with pytest.raises(BenchmarkError, match="'Msp' names several rows: MSP, msp; write one label"):
        paper_table(tmp_path, Selection(methods=["Msp"]), "markdown")


def test_a_method_of_which_several_numbers_are_published_has_one_row(tmp_path):
    folder = published(tmp_path)
    line = "toyset,msp,MSP again,,87.7,6.6,33.7,,pooled,Another paper,,no,no\n"
    (folder / "published" / "toyset.csv").write_text(HEAD + PAPER + line)
    toy_record("msp", aupr=0.2).write(folder)
    for form in FORMATS:
        assert paper_table(folder, Selection(columns=["aupr"]), form).count("20.0") == 1
    with pytest.raises(BenchmarkError, match="Of 'msp' on toyset several numbers are published"):
        paper_table(folder, Selection(columns=["aupr", "published.aupr"]), "markdown")


def test_published_columns_come_with_their_source(tmp_path):
    folder = published(tmp_path)
    toy_record("msp").write(folder)
    assert "Published values: The paper" in paper_table(folder, Selection(columns=["published.aupr"]), "markdown")
    assert "Published values" not in paper_table(folder, Selection(columns=["aupr"]), "markdown")
