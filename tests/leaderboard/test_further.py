"""Published values of other images, or of methods that are not here: grouped, sorted, folded, and said to be apart."""

import csv
import io

import pytest
from toy_records import HEAD, record

from benchmark import HOME
from benchmark.errors import BenchmarkError
from benchmark.leaderboard import generate as leaderboard
from benchmark.leaderboard.further import LONG, further
from benchmark.records.published import PublishedRow, read_published


def row(title, aupr, auxiliary=False, images="hidden test images", **more) -> PublishedRow:
    dataset = f"toyset ({images})" if images else "toyset"
    return PublishedRow(dataset, "", title, aupr=aupr, auxiliary_data=auxiliary, protocol="pooled", source="S", **more)


def titles(made) -> list[str]:
    return [cell.text for cell in made.cells["Method"]]


def test_rows_are_grouped_by_outliers_and_sorted_within():
    rows = [row("worst", 0.1), row("who knows", 0.5, None), row("exposed", 0.4, True), row("best", 0.3)]
    (made,) = further(rows)
    assert [t for t in titles(made) if " in training" not in t] == ["best", "worst", "exposed", "who knows"]
    assert [c.kind for c in made.cells["Method"]].count("heading") == 3
    marked = [m for m, c in zip(titles(made), made.cells["AUPR"], strict=True) if c.kind == "best"]
    assert marked == ["best"] and made.rows == 4


def test_images_that_are_not_those_measured_are_a_table_of_their_own_which_says_so():
    made = further([row("same images", 0.2, images=""), row("hidden", 0.9)])
    assert [titles(each) for each in made] == [["same images"], ["hidden"]]
    assert not made[0].remark and "nothing in this table can be compared" in made[1].remark
    assert "hidden test images" in made[1].title


def test_only_columns_with_values_are_shown_with_the_digits_of_the_source():
    (made,) = further([row("a", 0.9, fpr95=0.0019, mean_f1=0.5), row("b", 0.8)])
    assert list(made.cells) == ["Method", "AUPR", "FPR95", "mean F1"]
    assert [c.text for c in made.cells["FPR95"]] == ["0.19", "–"] and made.cells["AUPR"][0].text == "90.0"


@pytest.mark.parametrize(("count", "folded"), [(LONG, False), (LONG + 1, True)])
def test_a_long_table_is_folded_where_the_format_can(tmp_path, count, folded):
    folder = tmp_path / "results"
    (folder / "published").mkdir(parents=True)
    lines = [f"toyset (server),,Method {i},,,{i},,,pooled,The server,,no,unknown\n" for i in range(count)]
    (folder / "published" / "toyset.csv").write_text(HEAD + "".join(lines))
    record("msp").write(folder)
    made = leaderboard.render(folder)
    for path in (folder / "LEADERBOARD.md", folder / "tables" / "toyset.html"):
        assert ("<details>" in made[path]) == ("</details>" in made[path]) == folded
        assert f"Method {count - 1}" in made[path] and "not the images measured here" in made[path]


def test_component_columns_are_percentages_and_may_be_left_out(tmp_path):
    folder = tmp_path / "results"
    (folder / "published").mkdir(parents=True)
    for value, expected in (("40", 0.4), ("", None)):
        text = f"{HEAD.strip()},mean_f1\ntoyset,m,M,,1,1,2,,p,s,,no,no,{value}\n"
        (folder / "published" / "toyset.csv").write_text(text)
        (found,) = read_published(folder).rows["toyset"]
        assert found.mean_f1 == expected and found.siou is None
    (folder / "published" / "toyset.csv").write_text(f"{HEAD.strip()},mean_f1\ntoyset,m,M,,1,1,2,,p,s,,no,no,400\n")
    with pytest.raises(BenchmarkError, match="line 2: mean_f1 '400' is no percentage"):
        read_published(folder)


def test_the_leaderboard_of_segmentmeifyoucan_is_published_whole_and_never_beside_measured_rows():
    published = read_published(HOME / "results").rows
    counts = {}
    for name in ("road-anomaly-21", "road-obstacle-21", "lost-and-found"):
        rows = [r for r in published[name] if "24aa91e" in r.source]
        counts[name] = len(rows)
        assert all(r.images and not r.comparable and r.aggregation == "pooled" for r in rows)
        assert all(None not in (r.aupr, r.fpr95, r.siou, r.ppv, r.mean_f1) for r in rows)
        assert {r.auxiliary_data for r in rows} <= {True, False, None}
        assert next(r for r in rows if r.title == "Maximized Entropy").auxiliary_data is True
    assert counts == {"road-anomaly-21": 47, "road-obstacle-21": 45, "lost-and-found": 21}
    with (HOME / "results" / "published" / "road-anomaly-21.csv").open() as file:
        texts = {(r["title"], r["auxiliary_data"]): r for r in csv.DictReader(io.StringIO(file.read()))}
    assert texts["RbA", "no"]["aupr"] == "86.13" and texts["UNO", "yes"]["fpr95"] == "1.98"
    assert texts["SOTA", "unknown"]["mean_f1"] == "46.16"
