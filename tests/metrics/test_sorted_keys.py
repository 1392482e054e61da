"""Searches and runs of sorted keys are those of plain numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics.keys import keys_of, resolution
from benchmark.metrics.ranking import runs_of, search


@given(st.integers(0, 2**32 - 1), st.integers(0, 2000), st.integers(0, 300), st.sampled_from([3, 200, 2**31]))
def test_search_is_searchsorted(seed, size, wanted, spread):
    rng = np.random.default_rng(seed)
    ordered = np.sort(rng.integers(0, spread, size).astype(np.uint32))
    keys = np.sort(rng.integers(0, spread + 1, wanted).astype(np.uint32))
    assert np.array_equal(search(ordered, keys), np.searchsorted(ordered, keys))


@pytest.mark.parametrize("bits", [20, 24, 31, 32])
@pytest.mark.parametrize("size", [0, 1, 5000])
def test_runs_are_those_of_the_bins(bits, size):
    rng = np.random.default_rng(size)
    scores = np.concatenate((rng.random(size), 1 - rng.random(size) ** 9, rng.normal(0, 50, size))).astype(np.float32)
    keys = np.sort(keys_of(scores))
    found, expected = resolution(bits).runs(keys), runs_of(resolution(bits).floor(keys))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_keys_keep_the_order_and_join_the_zeros():
    scores = np.array([-np.inf, -1e30, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1, 3e38, np.inf], np.float32)
    keys = keys_of(scores)
    assert keys[4] == keys[5] and (np.diff(np.delete(keys, 5).astype(np.int64)) > 0).all()
    assert np.array_equal(keys_of(scores[5:]), keys[5:])


@pytest.mark.parametrize("nan", [np.nan, -np.nan])
def test_nan_has_no_key(nan):
    with pytest.raises(ValueError, match="NaN"):
        keys_of(np.array([1, nan, -np.inf], np.float32))
