"""What was not measured alike is said, and by which rows: in a table, and behind one value."""

import dataclasses

import pytest
from toy_records import measurement, published, record

from benchmark.leaderboard import generate
from benchmark.leaderboard.alike import unlike
from benchmark.leaderboard.board import block, boards
from benchmark.leaderboard.formats import MARKDOWN, TERMINAL, block_texts, latex
from benchmark.leaderboard.paper import Selection, paper_table
from benchmark.leaderboard.wording import letter, setting, timing_marks
from benchmark.records.published import Published


def changed(made, part, **values):
    return dataclasses.replace(made, **{part: dataclasses.replace(getattr(made, part), **values)})


def under(method, version, aupr=0.2, **more):
    """A record whose pooled values are of a version of the protocol."""
    pooled = dataclasses.replace(measurement("pooled", aupr=aupr), version=version)
    return record(method, metrics={"streethazards": measurement(aupr=aupr), "pooled": pooled}, **more)


SEEDS = [record(m, seed=seed) for m in ("msp", "knn") for seed in (0, 1)]


def test_nothing_is_said_where_all_was_measured_alike():
    """Seeds have weights of their own, and the seed of a recipe is theirs, too."""
    seeded = [changed(r, "network", recipe={"lr": 0.1, "seed": r.network.seed}) for r in SEEDS]
    assert unlike(SEEDS) == unlike(seeded) == unlike([]) == []


def test_rows_under_other_protocols_are_named_and_nothing_is_the_best():
    made = [under("msp", 1, 0.3), under("knn", 2, 0.2), under("energy", 2, 0.1)]
    (said,) = unlike(made)
    assert said == "Values pooled were not all measured under one protocol: pooled v1 (msp), pooled v2 (most rows)."
    texts = block_texts(block(made, []), MARKDOWN)
    assert not texts["pooled", "AUPR"].str.contains("**", regex=False).any()
    assert texts["per image", "AUPR"].str.contains("**", regex=False).sum() == 1
    apart = [*made[1:], under("void", 1, 0.9, auxiliary=True)]
    best = block_texts(block(apart, []), MARKDOWN)["pooled", "AUPR"]
    assert list(best.str.contains("**", regex=False)) == [True, False, False, False], "those compared agree"


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("dataset", {"fingerprint": "0" * 64}, "on the same images: the dataset's fingerprints differ"),
        ("network", {"weights_sha256": "9" * 64}, "with the same weights of the network"),
        ("provenance", {"precision": "bf16"}, "in the same arithmetic"),
    ],
)
def test_the_rows_that_differ_are_named(part, values, words):
    made = [record("msp"), record("energy"), changed(record("knn"), part, **values)]
    assert unlike(made) == unlike(made[::-1]) == [f"Not all rows were measured {words}. The exceptions: knn."]


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("method", {"version": 2}, "version of the method"),
        ("method", {"config": {"t": 1}}, "options of the method"),
        ("method", {"source": {"msp.py": "b"}}, "source of the method"),
        ("network", {"recipe": {"epochs": 9}}, "recipe of the network"),
        ("network", {"scales": [180]}, "test scales"),
    ],
)
def test_a_mean_over_seeds_that_are_not_alike_says_so(part, values, words):
    first = changed(SEEDS[0], "method", source={"msp.py": "a"})
    made = [first, changed(SEEDS[1], part, **values), *SEEDS[2:]]
    assert unlike(made) == [f"Seeds differ in more than the seed ({words}): msp."]
    assert unlike([first, *SEEDS[1:]]) == [], "an older record states no source"


def test_a_mean_over_fewer_seeds_than_the_row_has_says_so():
    lacking = measurement(aupr=float("nan"))
    metrics = {"streethazards": lacking, "pooled": measurement("pooled")}
    made = [record("msp", seed=0), record("msp", seed=1, metrics=metrics)]
    assert unlike(made) == ["AUPR per image of msp is the mean of 1 of its 2 seeds."]
    made = [*made[:1], record("msp", seed=1, metrics={"streethazards": measurement()})]
    assert len(unlike(made)) == 3 and all("pooled of msp is the mean of 1 of its 2" in text for text in unlike(made))


def test_a_table_for_a_paper_says_so_of_the_rows_that_it_shows(tmp_path):
    for made in (under("msp", 1), under("knn", 2), under("energy", 2)):
        made.write(tmp_path)
    for form in ("latex", "markdown"):
        said = paper_table(tmp_path, Selection(methods=["msp", "knn"]), form)
        assert "not all measured under one protocol" in said
        assert "not all measured under one" not in paper_table(tmp_path, Selection(methods=["energy", "knn"]), form)


def test_another_arithmetic_is_a_part_of_the_setting():
    made = [changed(r, "provenance", precision="bf16") for r in SEEDS]
    assert "evaluated in bf16" in setting(made) and not any("evaluated" in each for each in setting(SEEDS))
    assert "evaluated in fp32 or bf16" in setting([SEEDS[0], *made])


def test_the_protocol_of_published_values_stands_beside_measured_ones(tmp_path):
    results = published(tmp_path)
    record("msp").write(results)
    assert "published protocol: per-image mean" in generate.render(results)[results / "LEADERBOARD.md"]


def test_two_methods_of_one_name_have_their_labels_behind_it():
    made = [record("knn", method_title="kNN"), record("near", method_title="kNN"), record("msp")]
    found = block(made, [])
    assert sorted(block_texts(found, TERMINAL)["", "Method"]) == ["MSP", "kNN [knn]", "kNN [near]"]
    board = boards(made, Published())[0]
    assert "kNN {[}near{]}" in latex(board)


def test_more_machines_than_letters_are_told_apart():
    made = [changed(record(f"m{n}"), "provenance", device=f"GPU {n:02}") for n in range(30)]
    marks = timing_marks(made)
    assert len(set(marks.values())) == 30 and marks["m0"] == "(a)" and marks["m26"] == "(a1)"
    assert [letter(n) for n in (0, 25, 26, 51, 52)] == ["a", "z", "a1", "z1", "a2"]
    assert "(a1) GPU 26" in "; ".join(setting(made))
