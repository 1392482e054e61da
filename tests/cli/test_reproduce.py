"""``reproduce``: a dataset in both presets."""

import json

import pytest


def test_both_presets_are_measured_answered_once_and_shown_on_one_page(bench):
    pytest.importorskip("plotly", reason="the page needs plotly")
    where = ("--data", bench.data, "--out", bench.runs, "--device", "cpu", "--batch-size", "1", "--quiet")
    for _ in range(2):  # the second time all is current
        assert bench("reproduce", "town", *where, "--methods", "msp", "--json") == 0, bench.err
        answer = json.loads(bench.out)
        assert [record["method"]["label"] for record in answer["records"]] == ["msp", "msp"]
        assert bench.err.count("Report: ") == 1 and (bench.runs / "report.html").is_file()


def test_the_page_is_left_out_where_it_is_not_wanted(bench):
    where = ("--data", bench.data, "--out", bench.runs, "--device", "cpu", "--batch-size", "1", "--quiet")
    assert bench("reproduce", "town", *where, "--methods", "msp", "--no-report") == 0, bench.err
    assert "Report: " not in bench.out and not (bench.runs / "report.html").exists()
