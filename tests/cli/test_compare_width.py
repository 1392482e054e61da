"""What ``compare`` prints fits into a terminal, and says how to narrow what does not."""

import re

import pytest
from toy_records import write_with_rows as write

from benchmark.cli import main as cli
from benchmark.cli.output import line_width
from benchmark.leaderboard.compare import SURE, comparisons

LONG = "knn:bank=10000:encoder=tf_efficientnet_lite0:k=3:variant=mean"


def run(capsys, results, *words):
    assert cli.main(["compare", *words, "--results", str(results)]) == 0
    return capsys.readouterr().out


def numbers(cell: str) -> set[int]:
    """What "1, 3–5" stands for."""
    ends = [re.findall(r"\d+", part) for part in cell.split(",")]
    return {n for pair in ends if pair for n in range(int(pair[0]), int(pair[-1]) + 1)}


def test_a_matrix_that_does_not_fit_is_turned_into_lists(tmp_path):
    gains = {"a": 3.0, "b": 2.9, "c": 1.0, "d": 0.9, "e": 0.1}
    for seed, (name, gain) in enumerate(gains.items()):
        write(tmp_path, f"{name}:k=1", gain, seed)
    write(tmp_path, "f", 0.5, 9, repetition=1)
    (wide,), (narrow,) = comparisons(tmp_path, width=120), comparisons(tmp_path, width=40)
    assert narrow.values == wide.values and "name some methods" not in wide.text
    text = " ".join(narrow.text.split())
    assert "name some methods" in text and "--json" in text and max(map(len, narrow.text.splitlines())) < 120
    lines = [line for line in narrow.text.splitlines() if re.match(r"\d ", line)]
    methods = [m["method"] for m in wide.values["methods"]]
    shares = [m["better_than"] for m in wide.values["methods"]]
    head = next(line for line in narrow.text.splitlines() if line.startswith("Method"))
    starts = [head.index(title) for title in ("better than", "not told apart from", "no repetition")]
    for line, label, share in zip(lines, methods, shares, strict=True):
        better, alike, none = (line[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True))
        assert numbers(better) == {i for i, m in enumerate(methods, 1) if share.get(m, 0) >= SURE}
        assert numbers(alike) == {i for i, m in enumerate(methods, 1) if 100 - SURE < share.get(m, 0) < SURE}
        assert numbers(none) == {i for i, m in enumerate(methods, 1) if m not in share and m != label}
    assert numbers(lines[0][starts[0] : starts[1]]) and numbers(lines[-1][starts[2] :])


def test_three_methods_by_name_are_a_matrix_of_these(tmp_path, capsys):
    for seed, name in enumerate("abcd"):
        write(tmp_path, name, 0.5 * seed, seed)
    out = run(capsys, tmp_path, "a", "D", "c")
    assert [line.split()[1] for line in out.splitlines()[-3:]] == ["d", "c", "a"]
    assert cli.main(["compare", "a", "b", "A", "--results", str(tmp_path)]) == 2
    assert "'a' and 'A' are one method; name each once." in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["80", "100"])
def test_a_pair_with_long_names_is_numbered(tmp_path, capsys, monkeypatch, columns):
    for seed in range(8):
        write(tmp_path, LONG, 2.0, seed, repetition=seed)
        write(tmp_path, f"{LONG}:x=1", 0.1, 20 + seed, repetition=seed)
    monkeypatch.setenv("COLUMNS", columns)
    out = run(capsys, tmp_path, LONG, f"{LONG}:x=1")
    assert max(map(len, out.splitlines())) <= int(columns)
    words = " ".join(out.split())
    assert f"1 {LONG}" in words and f"2 {LONG}:x=1" in words
    assert len(re.findall(r"Of each repetition, AUPR:(?: [+-][\d.]+,?){8}", words)) == 1
    mirrored = " ".join(run(capsys, tmp_path, f"{LONG}:x=1", LONG).split())
    if columns == "100":  # else the verdict is wrapped
        assert words.count("1 is better on 100 %") == mirrored.count("2 is better on 100 %") == 3


def test_lines_are_as_wide_as_the_terminal_within_bounds(monkeypatch):
    for columns, width in (("40", 80), ("100", 100), ("300", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        assert line_width() == width
