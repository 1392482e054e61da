"""Ranks over datasets, against scipy and the tables of Demšar (2006)."""

import numpy as np
import pytest

from benchmark.metrics.ranks import alike, chi2_tail, critical_difference, friedman, range_quantile, rank_of

stats = pytest.importorskip("scipy.stats", reason="scipy is the oracle")


@pytest.mark.parametrize("higher", [True, False])
def test_ranks_are_scipys_with_ties(higher):
    values = np.random.default_rng(0).integers(0, 6, (7, 40)).astype(float)
    assert rank_of(values, higher) == pytest.approx(stats.rankdata(-values if higher else values, axis=0))
    assert rank_of(np.array([0.3, 0.9, 0.3])).tolist() == [2.5, 1, 2.5]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("methods", [3, 4, 9])
def test_friedman_is_scipys(ties, methods):
    random = np.random.default_rng(methods)
    values = random.integers(0, 4, (12, methods)) if ties else random.normal(size=(12, methods)) + np.arange(methods)
    found = friedman(rank_of(values.T.astype(float)).T)
    assert found == pytest.approx(tuple(stats.friedmanchisquare(*values.T)), rel=1e-9)


def test_methods_that_are_equal_everywhere_do_not_differ():
    assert friedman(np.full((5, 3), 2.0)) == (0.0, 1.0)


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 41])
def test_the_tail_of_chi_squared_is_scipys(freedom):
    for value in (0.0, 0.4, 3.84, 25.0, 90.0):
        assert chi2_tail(value, freedom) == pytest.approx(stats.chi2.sf(value, freedom), rel=1e-9)


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (7, 2.949), (10, 3.164)])
def test_the_quantiles_are_those_of_demsars_table(methods, q):
    """Table 5a of the paper: the studentised range's quantiles at 0.05, rounded and over the square root of two."""
    assert range_quantile(0.95, methods) / np.sqrt(2) == pytest.approx(q, abs=1e-3)


def test_the_quantile_is_scipys():
    assert range_quantile(0.95, 30) == pytest.approx(stats.studentized_range.ppf(0.95, 30, np.inf), abs=1e-5)


def test_the_critical_difference_of_demsars_example():
    """Four classifiers on 14 datasets, section 3.2.4: 2.569 sqrt(4 5 / (6 14)) = 1.25."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_groups_hold_all_whose_ranks_are_close():
    assert alike([1.0, 1.9, 2.5, 4.0], 1.0) == [[0, 1], [1, 2], [3]]
    assert alike([1.0, 1.2, 1.4], 1.0) == [[0, 1, 2]]
    assert alike([1.0, 2.0], 1.0) == [[0], [1]]
