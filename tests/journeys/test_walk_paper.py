"""Somebody who needs a table for a paper."""

import re

RESULTS = "results/README.md"


def test_from_the_first_command_to_a_table_in_a_paper(walk):
    dataset = walk.harbour()
    printed = walk.type("README.md", "python -m benchmark run --methods dicnet,msp", *dataset)
    table, below = printed.partition("\nNetwork pspnet-small; ")[::2]
    assert (
        all(re.search(f"^{title}  ", table, re.M) for title in ("DiCNet", "MSP")) and "All metrics in percent;" in below
    )
    assert "Report: runs/report.html" in below
    assert (walk.folder / "runs" / "report.html").is_file()
    again = walk.type("README.md", "python -m benchmark run --methods dicnet,msp", *dataset, "--no-report")
    assert "  msp: current, runs/records/" in again and "not measured" not in again

    latex = walk.type(RESULTS, "python -m benchmark table --results runs --latex --methods dicnet,msp")
    assert latex.count(r"\begin{tabularx}") == latex.count(r"\end{tabularx}") == 1
    assert "DiCNet" in latex and r"\caption{Harbour roads:" in latex
    markdown = walk.type(RESULTS, "python -m benchmark table --results runs --markdown --columns pooled.aupr,miou,ms")
    rows, said = markdown.split("\n\n")
    assert [line.count("|") for line in rows.splitlines()] == [5] * 4
    assert said.startswith("Harbour roads: network pspnet-small") and "protocol pooled v2" in said
    (walk.folder / "README.md").write_text("Of the paper.")
    files = walk.type(RESULTS, "python -m benchmark table --results runs").split()
    assert "runs/LEADERBOARD.md" in files and all((walk.folder / file).is_file() for file in files)
    assert (walk.folder / "README.md").read_text() == "Of the paper."

    compared = walk.type(RESULTS, "python -m benchmark compare --results runs dicnet msp")
    assert re.search(r"^AUPR .* is better on \d+ % of resamples", compared, re.M)
    page = walk.type(RESULTS, "python -m benchmark report --results runs")
    assert page == "Report: runs/report.html\n"
