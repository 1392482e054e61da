"""Texts of strangers in every table, and costs of rows that were not timed alike."""

import csv
import dataclasses
import re

import pytest
from toy_records import measurement, record

from benchmark.leaderboard.board import boards
from benchmark.leaderboard.formats import CSV, LATEX, MARKDOWN, TERMINAL, block_texts, latex
from benchmark.leaderboard.formats import csv as csv_of
from benchmark.leaderboard.generate import write
from benchmark.leaderboard.page import html
from benchmark.leaderboard.wording import remarks
from benchmark.records.published import Published
from benchmark.records.record import Cost

HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "a heading": "x\n# Heading",
    "a paragraph": "x\n\ny",
    "a rule": "x\r---\r",
    "a list": "- x",
    "a numbered list": "1. x",
    "a link": "[x](javascript:alert(1))",
    "a table": "a | b\n|---|---|",
    "a formula": '=HYPERLINK("http://x";"y")',
    "another formula": "@SUM(1)",
    "a formula after a tab": "\t=1+1",
    "a command": r"\input{/etc/passwd}",
    "a comment": "50 % off",
    "mathematics": "$x_1^2$ & more",
    "an escape of terminals": "\x1b[31mred",
    "writing from right to left": "\u202egnp.exe",
    "a null": "a\0b",
}
"""What a title or a note may be -> the text."""


@pytest.fixture(params=HOSTILE, ids=str)
def tables(request, tmp_path):
    """The generated files of a record in which the text stands wherever somebody else may have written it."""
    text = HOSTILE[request.param]
    made = record(title=text, note=text, method_title=text, label="msp:" + "k=" + text)
    made.write(tmp_path / "results")
    write(tmp_path / "results")
    folder = tmp_path / "results" / "tables"
    found = {path.suffix: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    return found | {".md": (tmp_path / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")}


def test_no_text_is_a_command(tables):
    for text in tables.values():
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text)
    assert "<script" not in tables[".html"] and "<script" not in tables[".md"].replace(r"\<script", "")
    assert [line for line in tables[".md"].splitlines() if line.startswith("# ")] == ["# Leaderboard"]
    assert not re.search(r"(?<!\\)\]\(javascript", tables[".md"])
    assert not re.search(r"^> ([-+*] |\d+[.)] )", tables[".md"], re.MULTILINE)
    (caption,) = re.findall(r"\\caption\{(.*)\}$", tables[".tex"], re.MULTILINE)
    caption = caption.replace(r"$\pm$", "±")  # of the legend
    assert caption and r"\input" not in caption and not re.search(r"(?<!\\)[%$&_#]", caption)
    for row in csv.reader(tables[".csv"].splitlines()):
        assert not any(cell.startswith(("=", "+", "@")) for cell in row)


@pytest.mark.parametrize("form", [MARKDOWN, LATEX, CSV])
def test_plain_words_stay_as_they_are(form):
    assert form.escape("Deep Ensemble") == "Deep Ensemble"


def timed(*made) -> tuple[str, dict[str, str]]:
    """The caption of the times, and what stands in the cell of every method."""
    block = boards(made, Published())[0].blocks[0]
    cells = block_texts(block, TERMINAL)["ms/image", "net + method"]
    return "; ".join(each for each in block.setting if "time" in each), dict(
        zip(block.table["method"], cells, strict=True)
    )


def changed(made, **provenance):
    return dataclasses.replace(made, provenance=dataclasses.replace(made.provenance, **provenance))


def test_rows_that_were_timed_on_different_machines_say_which():
    one, other = record("msp"), record("energy")
    assert timed(one, other)[1] == {"energy": "12.2 + 0.8", "msp": "12.2 + 0.8"}
    caption, cells = timed(one, changed(other, device="NVIDIA X"))
    assert caption == "timed on (a) A CPU (fp32, 2 threads, batch 4) or (b) NVIDIA X (fp32, batch 4)"
    assert cells == {"msp": "12.2 + 0.8 (a)", "energy": "12.2 + 0.8 (b)"}
    caption, cells = timed(one, record("msp", seed=1), changed(record("msp", seed=2), device="NVIDIA X"))
    assert cells == {"msp": "12.2 + 0.8 (a) (b)"}, "a mean over both"


def test_rows_that_were_timed_beside_other_work_say_so():
    one, other = record("msp"), record("energy")
    for load in (None, 1.0):
        assert timed(changed(one, load=load), other) == timed(one, other)
    caption, cells = timed(changed(one, load=3.0), other)
    assert "times with † were taken beside other work" in caption
    assert cells == {"msp": "12.2 + 0.8 †", "energy": "12.2 + 0.8"}


def test_what_was_not_timed_names_no_machine():
    assert timed(dataclasses.replace(record("msp"), cost=Cost())) == ("", {"msp": "–"})


def test_marks_of_times_stand_in_every_format(tmp_path):
    board = boards([changed(record("msp"), load=3.0), record("energy")], Published())[0]
    assert r"$\dagger$" in latex(board) and "†" in html(board, "") and ",timed," in csv_of(board).splitlines()[0]
    assert "timed" not in csv_of(boards([record("msp")], Published())[0]).splitlines()[0]


def test_pooled_values_of_a_sample_are_printed_with_their_bound():
    bounds = {"sampling_auroc": 3e-6, "sampling_aupr": 1e-6, "sampling_fpr95": 1e-4}
    sampled = record(metrics={"per-image": measurement(), "pooled": measurement("pooled", extra=bounds)})
    (said,) = [each for each in remarks([sampled]) if "sample of the pixels" in each]
    assert "msp: values under pooled with ≈" in said and "AUROC ±0.0003, FPR95 ±0.01 points" in said
    assert "AUPR" not in said
    board = boards([sampled, record("energy")], Published())[0]
    pooled = block_texts(board.blocks[0], TERMINAL)["pooled"]
    found = {metric: dict(zip(board.blocks[0].table["method"], pooled[metric], strict=True)) for metric in pooled}
    assert found["AUROC"] == {"msp": "≈ 90.0", "energy": "80.0"} and found["FPR95"]["msp"] == "≈ 30.0"
    assert found["AUPR"]["msp"] == "20.0", "its bound is within the tolerance"
    assert r"$\approx$ 90.0" in latex(board) and ",auroc fpr95," in csv_of(board)
    small = {name: bound / 1000 for name, bound in bounds.items()}
    close = record(metrics={"per-image": measurement(), "pooled": measurement("pooled", extra=small)})
    assert not any("sample of the pixels" in each for each in remarks([close]))
