"""The same leaderboard in LaTeX, HTML, CSV and on a terminal."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from toy_records import published, record

from benchmark.leaderboard import console
from benchmark.leaderboard import generate as leaderboard
from benchmark.records.published import read_published


@pytest.fixture
def results(tmp_path):
    return published(tmp_path)


def test_latex_characters_are_escaped(results):
    title = r"A_b & 50% {of} #1 $x^2$ ~ \end{tabular}"
    record("msp2", method_title=title, note="100% & more_or_less").write(results)
    text = leaderboard.render(results)[results / "tables" / "toyset.tex"]
    expected = r"A\_b \& 50\% \{of\} \#1 \$x\textasciicircum{}2\$ \textasciitilde{} \textbackslash{}end\{tabular\}"
    assert expected in text
    assert r"100\% \& more\_or\_less" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    assert r"\toprule" in text and r"\bottomrule" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].replace(r"\&", "")
    specification = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert {line.count("&") for line in body.splitlines() if "&" in line} == {len(specification) - 1}


class _Tables(HTMLParser):
    """Checks nesting and collects the width of every table row."""

    def __init__(self):
        super().__init__()
        self.open, self.widths, self.tags = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in ("meta",):
            self.open.append(tag)
        if tag == "table":
            self.widths.append([])
        if tag == "tr":
            self.widths[-1].append(0)
        if tag in ("td", "th"):
            self.widths[-1][-1] += int(dict(attributes).get("colspan", 1))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_web_page_is_well_formed_and_self_contained(results):
    record("msp", method_title="<b>&amp;</b>").write(results)
    record("void", auxiliary=True).write(results)
    text = leaderboard.render(results)[results / "tables" / "toyset.html"]
    parser = _Tables()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert all(len(set(table)) == 1 for table in parser.widths)
    assert not parser.tags & {"script", "link", "img", "iframe"}
    assert "url(" not in text and "http" not in text
    assert "prefers-color-scheme: dark" in text
    assert "&lt;b&gt;" not in text  # a title comes from the paper where there is one
    assert "Other &amp; one (Big_Net) *" in text


def test_the_csv_holds_every_number(results):
    for seed in (0, 1):
        record("msp", aupr=0.2 + seed / 10, seed=seed).write(results)
    text = leaderboard.render(results)[results / "tables" / "toyset.csv"]
    found = {r["method"]: r for r in csv.DictReader(io.StringIO(text))}
    assert list(found) == ["dicnet", "msp", "tradi"]
    assert float(found["msp"]["measured.aupr"]) == 25
    assert float(found["msp"]["measured.aupr_std"]) == pytest.approx(10 / 2**0.5, abs=1e-4)
    assert float(found["msp"]["measured.aupr_low"]) == 20
    assert float(found["msp"]["network_ms"]) == 12.25
    assert found["tradi"]["measured.aupr"] == "" and found["tradi"]["published.aupr"] == "7.2000"


def test_the_terminal_table_fits_and_says_what_is_partial(results):
    long = record("energy", method_title="A method with a very long name that goes on and on", limit=3)
    made = [record("msp"), record("dicnet", aupr=0.3), long, record("void", auxiliary=True)]
    text = console.print_table(made, read_published(results).rows)
    assert max(map(len, text.splitlines())) <= 120
    assert "the first 3 images only: enters no table" in text
    assert "Toy scenes, no benchmark." in text
    assert "16.2" in text and "30.0" in text and "TRADI" not in text
    assert "* saw outlier images in training" in text


def test_the_terminal_shows_deviations_and_the_number_of_seeds_only_where_there_are_several(results):
    published_rows = read_published(results).rows
    made = [record("msp", aupr=0.2 + seed / 10, seed=seed) for seed in range(3)] + [record("dicnet", aupr=0.3)]
    text = console.print_table(made, published_rows)
    assert max(map(len, text.splitlines())) <= 120
    assert re.search(r"^MSP ×3 .* 30\.0±10\.0 ", text, re.MULTILINE) and re.search("^DiCNet  ", text, re.MULTILINE)
    assert "over n seeds" in text and "Not all rows" not in text
    alone = console.print_table(made[2:], published_rows)
    assert "×" not in alone and "seeds" not in alone
