"""The same leaderboard in LaTeX, HTML, CSV and on a terminal."""

import csv
import dataclasses
import html
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_records import HEAD, measurement, published, record

from benchmark.leaderboard import console
from benchmark.leaderboard import generate as leaderboard
from benchmark.leaderboard.formats import CSV, HTML, LATEX, MARKDOWN, TERMINAL
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
        self.open, self.widths, self.tags, self.text = [], [], set(), ""

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

    def handle_data(self, data):
        self.text += data


def test_the_web_page_is_well_formed_and_self_contained(results):
    record("msp", method_title="<b>&amp;</b>").write(results)
    record("void", auxiliary=True).write(results)
    text = leaderboard.render(results)[results / "tables" / "toyset.html"]
    parser = _Tables()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert parser.widths and all(len(set(table)) == 1 for table in parser.widths)
    assert not parser.tags & {"script", "link", "img", "iframe"}
    assert "url(" not in text and "http" not in text
    assert "prefers-color-scheme: dark" in text
    assert "&lt;b&gt;" not in text  # a title comes from the paper where there is one
    assert "Other &amp; one (Big_Net)" in text and "<em>With outlier images in training</em>" in text


def test_the_csv_holds_every_number(results):
    for seed in (0, 1):
        record("msp", aupr=0.2 + seed / 10, seed=seed).write(results)
    record("rpl", auxiliary="synthetic").write(results)
    record("void", auxiliary=True).write(results)
    text = leaderboard.render(results)[results / "tables" / "toyset.csv"]
    found = {r["method"]: r for r in csv.DictReader(io.StringIO(text))}
    assert list(found) == ["dicnet", "msp", "tradi", "rpl", "void"]
    assert [row["auxiliary_data"] for row in found.values()] == ["no", "no", "no", "synthetic", "yes"]
    assert float(found["msp"]["measured.aupr"]) == 25
    assert float(found["msp"]["measured.aupr_std"]) == pytest.approx(10 / 2**0.5, abs=1e-4)
    assert float(found["msp"]["measured.aupr_low"]) == 20
    assert float(found["msp"]["network_ms"]) == 12.25
    assert found["tradi"]["measured.aupr"] == "" and found["tradi"]["published.aupr"] == "7.2000"
    protocols = {"measured": "streethazards v1", "pooled": "pooled v1", "published": "per-image mean"}
    assert {group: found["dicnet"][f"{group}.protocol"] for group in protocols} == {
        **dict.fromkeys(("measured", "pooled"), ""), "published": "per-image mean"}  # fmt: skip
    assert {group: found["msp"][f"{group}.protocol"] for group in protocols} == protocols
    assert "network net-small; native size" in found["msp"]["setting"]


def test_the_csv_says_which_row_was_measured_under_which_version(results):
    """Each by itself, and both where the seeds of a row differ; columns that hold nothing are left out."""
    older = measurement("pooled", aupr=0.4)
    newer = dataclasses.replace(older, version=2)
    record("msp", metrics={"pooled": older}).write(results)
    record("msp", metrics={"pooled": newer}, seed=1).write(results)
    record("knn", metrics={"pooled": newer}).write(results)
    text = leaderboard.render(results)[results / "tables" / "toyset.csv"]
    found = {r["method"]: r for r in csv.DictReader(io.StringIO(text))}
    under = {name: row["pooled.protocol"] for name, row in found.items() if row["pooled.protocol"]}
    assert under == {"knn": "pooled v2", "msp": "pooled v1 or pooled v2"}
    assert not {"measured.aupr", "measured.protocol", "pooled.aupr_low", "timed"} & set(found["msp"])


def test_the_terminal_table_fits_and_says_what_is_partial(results):
    long = record("energy", method_title="A method with a very long name that goes on and on", limit=3)
    made = [record("msp"), record("dicnet", aupr=0.3), long, record("void", auxiliary=True)]
    made.append(record("rpl", auxiliary="synthetic"))
    text = console.print_table(made, read_published(results).rows)
    assert max(map(len, text.splitlines())) <= 120
    assert "the first 3 images only: enters no leaderboard" in text
    assert "Toy scenes, no benchmark." in text
    assert "16.2" in text and "30.0" in text and "TRADI" not in text
    assert "* saw outlier images in training" in text and "VOID *" in text
    assert "° saw invented outliers in training" in text and "RPL °" in text


def test_the_terminal_shows_deviations_and_the_number_of_seeds_only_where_there_are_several(results):
    published_rows = read_published(results).rows
    made = [record("msp", aupr=0.2 + seed / 10, seed=seed) for seed in range(3)] + [record("dicnet", aupr=0.3)]
    text = console.print_table(made, published_rows)
    assert max(map(len, text.splitlines())) <= 120
    assert re.search(r"^MSP ×3 .* 30\.0±10\.0 ", text, re.MULTILINE) and re.search("^DiCNet  ", text, re.MULTILINE)
    assert "over n seeds" in text and "Not all rows" not in text
    alone = console.print_table(made[2:], published_rows)
    assert "×" not in alone and "seeds" not in alone


EVIL = "=1+1\n\n# <script>alert(1)</script> [x](http://y) | \\input{z} $ & 5% `c` *b* _i_ \x1b[31m\u202eend"
PLAIN = "=1+1 # <script>alert(1)</script> [x](http://y) | \\input{z} $ & 5% `c` *b* _i_ [31m end"


@pytest.fixture
def hostile(results):
    """Records and published rows whose every text tries to be a command."""
    nan = {"streethazards": measurement(aupr=float("nan")), "pooled": measurement("pooled")}
    made = record("evil", title=EVIL, note=EVIL, method_title=EVIL, metrics=nan, label="evil:x==1+1")
    dataclasses.replace(made, network=dataclasses.replace(made.network, arch=EVIL)).write(results)
    record("void", title=EVIL, note=EVIL, method_title="@cmd", auxiliary=True).write(results)
    lines = io.StringIO()
    csv.writer(lines).writerow(["toyset", "", EVIL, EVIL, 1, 2, 3, "", EVIL, EVIL, "", "no", "no"])
    (results / "published" / "toyset.csv").write_text(HEAD + lines.getvalue())
    return {path.suffix: text for path, text in leaderboard.render(results).items()}


def test_no_text_is_a_command_in_markdown(hostile, results):
    readme = leaderboard.render_readme(results, f"{leaderboard.BEGIN}\n{leaderboard.END}\n", results / "README.md")
    for text in (hostile[".md"], readme):
        lines = text.splitlines()
        assert not [line for line in lines if line.startswith("# ") and line != "# Leaderboard"]
        assert not re.search(r"(?<!\\)<(?!br>|sub>|/sub>|!-- leaderboard)", text)
        assert not re.search(r"(?<!\\)(`c|\*b|_i|\$|\[x)", text.replace("`python -m benchmark table`", ""))
        tables = [re.sub(r"\\.", "", line).count("|") for line in lines if line.startswith("|")]
        assert len(set(tables)) == (2 if text is hostile[".md"] else 1)  # the board, and what was published elsewhere
        assert not set(text) & {"\x1b", "\u202e"}
    assert MARKDOWN.escape("# a heading in a list") == r"\# a heading in a list"


def test_no_text_is_a_command_in_latex(hostile):
    text = hostile[".tex"]
    assert r"\input" not in text and r"\textbackslash{}input\{z\}" in text
    inside = text[text.index(r"\begin{table}") : text.index(r"\end{table}")]
    assert "\n\n" not in inside, "a paragraph ends a caption with an error"
    assert not re.search(r"(?<!\\)%", inside) and not re.search(r"(?m)^[\[*]", inside)
    rows = inside[inside.index(r"\midrule") :].replace(r"\&", "").splitlines()
    assert {row.count("&") for row in rows if "&" in row} == {9}
    assert LATEX.escape("[2cm] a").startswith("{[}") and LATEX.escape("* a").startswith("{*}")


def test_no_text_is_a_command_in_a_web_page(hostile):
    parser = _Tables()
    parser.feed(hostile[".html"])
    assert parser.open == [] and "script" not in parser.tags and "a" not in parser.tags
    assert parser.text.count("<script>alert(1)</script>") >= 6 and PLAIN in parser.text


def test_no_text_is_a_formula_in_a_spreadsheet(hostile):
    head, *rows = csv.reader(io.StringIO(hostile[".csv"]))
    assert {len(row) for row in rows} == {len(head)}
    titles = {row[head.index("title")] for row in rows}
    assert titles == {f"'{PLAIN} (x==1+1)", "'@cmd"}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_no_text_is_a_command_on_a_terminal(results):
    text = console.print_table([record("evil", title=EVIL, note=EVIL, method_title=EVIL)], {})
    assert all(character.isprintable() for line in text.splitlines() for character in line)
    assert text.splitlines()[0] == f"{PLAIN}, net-small"


@given(st.text())
def test_escaped_text_is_read_as_it_was_written(text):
    plain = TERMINAL.escape(text)
    assert plain == " ".join(plain.split()) and plain.isprintable()
    assert html.unescape(HTML.escape(text)) == plain
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", MARKDOWN.escape(text)) == plain
    assert CSV.escape(text) in (plain, f"'{plain}")
    commands = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}", "", LATEX.escape(text)
    )
    commands = re.sub(r"\\[&%$#_{}]|\{[\[\]*]\}|\$\\(?:pm|approx|dagger|ddagger)\$|\$-\$", "", commands)
    assert not set(commands) & set("\\&%$#_{}~^<>|[]*")


def test_the_terminal_says_what_its_rows_share_and_in_which_unit_they_are():
    made = record("msp", miou=0.613)
    made = dataclasses.replace(made, provenance=dataclasses.replace(made.provenance, load=2.0))
    text = console.print_table([made, record("dicnet", aupr=0.3, miou=0.613)], {})
    table, shared = text.partition("\n\nNetwork net-small; native size; ")[::2]
    assert "†" in table and "times with † were taken beside other work" in " ".join(shared.split())
    assert "mIoU of the network 61.3 over 12 classes" in " ".join(shared.split())
    assert "All metrics in percent; AUPR and AUROC: larger is better, FPR95: smaller" in " ".join(shared.split())


def test_long_titles_are_wrapped_on_a_terminal(results):
    title = "A method with a very long name that goes on and on until nobody can remember how it began"
    published_rows = read_published(results).rows
    text = console.print_table([record("msp", method_title=title), record("dicnet", aupr=0.3)], published_rows)
    assert max(map(len, text.splitlines())) <= 120
    alone = console.print_table([record("energy", method_title=title)], published_rows)
    assert max(map(len, alone.splitlines())) <= 120
    lines = alone.splitlines()
    body = lines[next(i for i, line in enumerate(lines) if line.startswith("---")) + 1 :]
    body = body[: body.index("")]
    assert " ".join(line[:40].strip() for line in body) == title


def test_the_terminal_says_why_there_is_no_time():
    made = record("msp")
    cost = dataclasses.replace(made.cost, network_ms=None, method_ms=None)
    words = "Nothing was timed: the first batch does not count, and there was no other."
    for records, said in (([dataclasses.replace(made, cost=cost)], True), ([made], False)):
        assert (words in console.print_table(records, {})) == said


def test_a_narrow_terminal_shows_less_rather_than_broken_lines():
    title = "A method with a very long name that goes on and on until nobody can remember how it began"
    made = [record("msp", method_title=title), record("dicnet", aupr=0.3)]
    text = console.print_table(made, {}, 80)
    assert max(map(len, text.splitlines())) <= 80
    head = next(line for line in text.splitlines() if line.startswith("Method")).split()
    assert head == ["Method", "AUPR", "FPR95", "AUROC", "AUPR", "net", "+", "method"]
    assert re.search("^A method with a ", text, re.MULTILINE)


def test_the_terminal_shows_pooled_fpr95_where_there_is_room():
    text = console.print_table([record("msp"), record("dicnet", aupr=0.3)], {})
    assert max(map(len, text.splitlines())) <= 120
    head = next(line for line in text.splitlines() if line.startswith("Method")).split()
    assert head == ["Method", "AUPR", "FPR95", "AUROC", "AUPR", "FPR95", "net", "+", "method"]
    (row,) = (line.split() for line in text.splitlines() if line.startswith("DICNET"))
    assert row[:6] == ["DICNET", "30.0", "30.0", "90.0", "15.0", "40.0"]
