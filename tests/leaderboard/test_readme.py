"""What stands of the leaderboard in a README."""

import dataclasses
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from toy_records import published, record, rows

from benchmark.leaderboard import generate as leaderboard


@pytest.fixture
def results(tmp_path):
    return published(tmp_path)


def short(results, with_=""):
    """The tables of a README."""
    begin = leaderboard.BEGIN.replace("begin", f"begin with {with_}") if with_ else leaderboard.BEGIN
    return leaderboard.render_readme(results, f"{begin}\n{leaderboard.END}\n", results / "README.md")


def test_a_readme_shows_the_best_rows_and_those_that_it_names(tmp_path):
    for n in range(10):
        record(f"m{n}", aupr=0.5 - 0.01 * n, fpr95=0.1 + 0.1 * abs(n - 6), dataset="plain", title="Plain").write(
            tmp_path
        )
    record("m8", label="m8:k=2", aupr=0.3, fpr95=0.9, dataset="plain", title="Plain").write(tmp_path)
    assert [n for n in rows(short(tmp_path)) if n.startswith("M")] == ["Method", *(f"M{n}" for n in range(6))]
    text = short(tmp_path, "m8,m7")
    assert [n for n in rows(text) if n.startswith("M")][7:] == ["M7", "M8", "M8 (k=2)"]
    assert "2 more rows and the intervals stand in [LEADERBOARD.md](LEADERBOARD.md)." in text and "<sub>" not in text
    table = {name: cells for name, cells in rows(text).items() if name.startswith("M") and name != "Method"}
    aupr, fpr95 = ({name for name, cells in table.items() if "**" in cells[column]} for column in (1, 2))
    assert aupr == {"M0"} and not fpr95, "the best FPR95 of the whole table is in a row that is not shown"
    assert leaderboard.render_readme(tmp_path, text, tmp_path / "README.md") == text


@pytest.mark.parametrize("place", ["README.md", "docs/of it/README.md", "results/README.md"])
def test_a_readme_links_to_the_page_from_wherever_it_is(results, place, monkeypatch):
    for n in range(8):
        record(f"m{n}").write(results)
    readme = results.parent / place
    readme.parent.mkdir(parents=True, exist_ok=True)
    readme.write_text(f"{leaderboard.BEGIN}\n{leaderboard.END}\n")
    leaderboard.write(results, readme)
    (address,) = set(re.findall(r"stand in \[LEADERBOARD\.md\]\(([^)\s]+)\)", readme.read_text()))
    assert (readme.parent / unquote(address)).resolve() == (results / "LEADERBOARD.md").resolve()
    monkeypatch.chdir(readme.parent)
    assert leaderboard.check(results, Path("README.md")) == [], "the same from another folder"


def test_a_readme_links_to_a_page_whose_folder_has_signs_of_links(results):
    for n in range(8):
        record(f"m{n}").write(results)
    odd = results.rename(results.with_name("a (b) [c] ü"))
    text = leaderboard.render_readme(odd, f"{leaderboard.BEGIN}\n{leaderboard.END}\n", odd.parent / "README.md")
    (address,) = set(re.findall(r"\[LEADERBOARD\.md\]\(([-\w./%]+)\)", text))
    assert unquote(address) == "a (b) [c] ü/LEADERBOARD.md"


def test_a_readme_shows_measurements_first_and_calls_the_published_published(results):
    record("msp", dataset="drawn", title="Drawn").write(results)
    plain = record("msp", dataset="photographs", title="Photographs")
    dataclasses.replace(plain, dataset=dataclasses.replace(plain.dataset, note="")).write(results)
    text = short(results)
    order = [line for line in text.splitlines() if line.startswith("### ")]
    assert order == ["### Photographs", "### Drawn", "### toyset: published values, not measured here"]
    published = text[text.index("### toyset") :]
    assert rows(published)["Method"] == ["Method", *(f"{m}<br>published" for m in ("AUPR", "FPR95", "AUROC"))]
    assert list(rows(published))[2:] == ["DiCNet", "MSP", "TRADI"]
