"""What a report computes from rows and curves, against what the suite says elsewhere."""

import tracemalloc

import numpy as np
import pytest
from pandas import DataFrame

from benchmark.leaderboard.compare import MATRIX_DRAWS
from benchmark.metrics import paired_bootstrap, per_image_result, pixel_protocol
from benchmark.metrics.rows import COLUMNS
from benchmark.report import views

PROTOCOL = pixel_protocol("per-image")


def rows(seed: int, shift: float = 0.0, images: int = 30) -> DataFrame:
    """Rows of a made-up method; the images are the same for every seed."""
    random, same = np.random.default_rng(seed), np.random.default_rng(99)
    table = DataFrame({name: ["known"] * images if kind is str else [0.5] * images for name, kind in COLUMNS.items()})
    table["image"] = [f"i{n:02}" for n in range(images)]
    table["anomalous"], table["normal"] = same.integers(1, 400, images), 1000
    for name in ("aupr", "auroc", "fpr95_nearest"):
        table[name] = np.clip(random.random(images) * 0.8 + shift, 0, 1)
    return table.astype(COLUMNS)


def table_of(metric: str, methods: dict[str, list[DataFrame]]) -> DataFrame:
    indexed = {label: [table.set_index("image") for table in tables] for label, tables in methods.items()}
    return views.per_image(PROTOCOL, indexed, metric)


METHODS = {"a": [rows(1)], "b": [rows(2, 0.1)], "c": [rows(3, 0.05)]}


@pytest.mark.parametrize("metric", ["aupr", "fpr95"])
def test_pairs_are_better_as_often_as_compare_says(metric):
    found = views.stability(table_of(metric, METHODS), metric)
    assert views.DRAWS == MATRIX_DRAWS
    for i, one in enumerate(found["labels"]):
        for j, other in enumerate(found["labels"]):
            if i != j:
                told = paired_bootstrap(METHODS[one], METHODS[other], metric, PROTOCOL, draws=MATRIX_DRAWS).better
                assert found["better"][i][j] == pytest.approx(100 * told, abs=0.06)


def test_ranks_are_counted_over_the_resamples_and_equal_methods_share_the_better_one():
    found = views.stability(table_of("aupr", {**METHODS, "twin": METHODS["b"]}), "aupr")
    assert [sum(share) for share in found["shares"]] == pytest.approx([100] * 4, abs=0.3)
    ranks = dict(zip(found["labels"], found["shares"]))
    assert ranks["b"] == ranks["twin"] and ranks["b"][3] == 0
    places = [found["labels"].index(label) for label in ("b", "twin")]
    assert found["better"][places[0]][places[1]] == 50
    worse = views.stability(table_of("fpr95", {"a": [rows(1)], "z": [rows(1, 0.15)]}), "fpr95")
    assert worse["labels"] == ["a", "z"] and worse["shares"][0][0] == 100


def test_a_large_board_fits_into_memory():
    table = DataFrame(np.random.default_rng(0).random((10, 300)), columns=[f"m{n:03}" for n in range(300)])
    tracemalloc.start()
    try:
        views.stability(table, "aupr")
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20, "all pairs of 2000 resamples at once are 180 MB"
    finally:
        tracemalloc.stop()


def test_images_without_a_value_take_no_part_in_ranks():
    holed = rows(1)
    holed.loc[3, "aupr"] = np.nan
    assert views.stability(table_of("aupr", {"a": [holed], "b": [rows(2)]}), "aupr")["images"] == 29
    holed["aupr"] = np.nan
    assert views.stability(table_of("aupr", {"a": [holed], "b": [rows(2)]}), "aupr") == {}


def test_quarters_hold_every_image_once_and_their_means_add_up_to_the_records():
    tables = {metric: table_of(metric, METHODS) for metric in ("aupr", "auroc", "fpr95")}
    pixels = rows(1).set_index("image")[views.PIXELS]
    found = views.strata(pixels, tables)
    assert sum(found["images"]) == 30 and len(found["names"]) == 4
    values = [float(text) for text in found["values"]["aupr"]["b"]]
    mean = np.average(values, weights=found["images"])
    assert mean == pytest.approx(100 * per_image_result(PROTOCOL, METHODS["b"][0]).aupr, abs=0.06)
    share = pixels["anomalous"] / pixels[["anomalous", "normal"]].sum(axis=1)
    lowest = share.nsmallest(found["images"][0]).index
    assert values[0] == pytest.approx(100 * tables["aupr"]["b"][lowest].mean(), abs=0.06)


def test_repetitions_are_averaged_image_by_image():
    both = table_of("aupr", {"a": [rows(1), rows(2)]})["a"]
    assert both.to_numpy() == pytest.approx((rows(1)["aupr"] + rows(2)["aupr"]).to_numpy() / 2)
