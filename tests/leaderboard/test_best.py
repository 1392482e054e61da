"""Which value of a column is marked as the best: one rule for every table."""

import pytest

from benchmark.leaderboard.cells import best
from benchmark.values import SYNTHETIC

NAN = float("nan")


def marked(values, metric="aupr", saw=None, **more) -> list[int]:
    """Places of the values that are marked."""
    found = best(values, metric, [False] * len(values) if saw is None else saw, **more)
    return [place for place, each in enumerate(found) if each]


@pytest.mark.parametrize(
    ("values", "metric", "places"),
    [
        ([10.0, 30.0, 20.0], "aupr", [1]),
        ([10.0, 30.0, 20.0], "fpr95", [0]),
        ([10.0, 30.0, 20.0], "miou", []),
        ([NAN, 30.0, None, 20.0], "aupr", [1]),
        ([NAN, 30.0, None], "aupr", []),
        ([0.0, 0.04, 5.0], "fpr95", [0, 1]),
        ([9.96, 10.04], "aupr", [0, 1]),
        ([9.94, 100.0], "aupr", [1]),
        ([], "aupr", []),
    ],
)
def test_equals_as_printed_are_marked_together_and_what_is_alone_is_not(values, metric, places):
    assert marked(values, metric) == places


def test_the_digits_that_are_printed_decide_what_is_equal():
    assert marked([9.96, 10.04], digits=2) == [1] and marked([9.96, 10.04], digits=0) == [0, 1]


def test_kinds_of_outliers_are_compared_among_themselves_and_the_unknown_with_nothing():
    saw = [False, False, True, True, SYNTHETIC, SYNTHETIC, None, None]
    assert marked([1.0, 2.0, 8.0, 9.0, 5.0, 4.0, 50.0, 60.0], saw=saw) == [1, 3, 4]


def test_values_of_several_protocols_are_not_compared():
    saw, protocols = [False, False, True, True], ["a v1", "a v2", "a v2", "a v2"]
    assert marked([1.0, 2.0, 8.0, 9.0], saw=saw, protocols=protocols) == [3]
    assert marked([NAN, 2.0, 3.0], protocols=["a v1", "a v2", "a v2"]) == [2], "a row without a value has no part in it"
