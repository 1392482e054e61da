"""The verb ``report``, and the page that ``run`` leaves behind."""

import json
import re

import pytest

from benchmark.report import page


def data_of(text: str) -> dict:
    """What the scripts of a page are given."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def test_run_writes_the_page_of_its_folder_and_the_verb_the_same(bench):
    pytest.importorskip("plotly", reason="needs the package plotly")
    assert bench("run", "--methods", "msp,energy", "--protocols", "failure-split") == 0
    written = bench.runs / page.NAME
    assert f"Report: {written}" in bench.out
    text = written.read_text(encoding="utf-8")
    found = data_of(text)
    (place,) = found["places"].values()
    assert {row["label"] for row in place["rows"]} == {"msp", "energy"}
    assert place.keys() >= {"images", "stability", "curves", "failures"}
    assert found["records"]["town/pspnet-small/msp"] == bench.record("msp") | {
        "path": "records/town/pspnet-small/msp.json"
    }
    elsewhere = bench.folder / "new" / "page.html"
    assert bench("report", "--results", bench.runs, "--to", elsewhere) == 0
    assert elsewhere.read_text(encoding="utf-8") == text


def test_a_method_whose_rows_are_gone_keeps_its_row_and_is_named(bench):
    pytest.importorskip("plotly", reason="needs the package plotly")
    assert bench("run", "--methods", "msp,energy", "--no-report") == 0
    assert not (bench.runs / page.NAME).exists()
    next((bench.runs / "records").rglob("msp.rows.csv.gz")).unlink()
    assert bench("report", "--results", bench.runs) == 0
    text = (bench.runs / page.NAME).read_text(encoding="utf-8")
    (place,) = data_of(text)["places"].values()
    assert {row["label"] for row in place["rows"]} == {"msp", "energy"}
    assert list(place["images"]["values"]["aupr"]) == ["energy"]
    assert "msp is left out of what rows per image show" in text


def test_without_plotly_the_verb_says_what_brings_it_and_a_run_says_nothing(bench, monkeypatch):
    monkeypatch.setattr(page, "available", lambda: False)
    page._packed_plotly.cache_clear()
    assert bench("run", "--methods", "msp") == 0
    assert "eport" not in bench.out + bench.err
    assert bench("report", "--results", bench.runs) == 2
    assert "needs the package plotly" in bench.err and "pip install" in bench.err


def test_a_folder_without_anything_is_refused(bench):
    (bench.folder / "empty" / "published").mkdir(parents=True)
    assert bench("report", "--results", bench.folder / "empty") == 2
    assert "holds no record and no published number" in bench.err
    assert bench("report", "--results", bench.folder / "nowhere") == 2
