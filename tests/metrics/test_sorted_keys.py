"""Searches and runs of sorted keys are those of plain numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics.ranking import keys_of, search
from benchmark.metrics.sorted_image import SortedImage
from benchmark.metrics.strata import Strata


@given(st.integers(0, 2**32 - 1), st.integers(0, 2000), st.integers(0, 300), st.sampled_from([3, 200, 2**31]))
def test_search_is_searchsorted(seed, size, wanted, spread):
    rng = np.random.default_rng(seed)
    ordered = np.sort(rng.integers(0, spread, size).astype(np.uint32))
    keys = np.sort(rng.integers(0, spread + 1, wanted).astype(np.uint32))
    assert np.array_equal(search(ordered, keys), np.searchsorted(ordered, keys))


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(1, 40), st.sampled_from([1, 2, 7, 64]))
def test_long_runs_are_those_of_numpy(seed, size, spread, shortest):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, spread, size) ** 2).astype(np.float32)
    image = SortedImage(scores, np.zeros(size, np.uint8), Strata.of([()]), "a")
    keys, lengths = np.unique(keys_of(scores), return_counts=True)
    assert image.distinct(0) == len(keys)
    found = image.runs(0, shortest)
    np.testing.assert_array_equal(found, (keys[lengths >= shortest], lengths[lengths >= shortest]))
    above = [np.count_nonzero(keys_of(scores) > key) for key in keys[::-1]]
    np.testing.assert_array_equal(image.above(0, keys[::-1]), above)


def test_keys_keep_the_order_and_join_the_zeros():
    scores = np.array([-np.inf, -1e30, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1, 3e38, np.inf], np.float32)
    keys = keys_of(scores)
    assert keys[4] == keys[5] and (np.diff(np.delete(keys, 5).astype(np.int64)) > 0).all()
    assert np.array_equal(keys_of(scores[5:]), keys[5:])


@pytest.mark.parametrize("nan", [np.nan, -np.nan])
def test_nan_has_no_key(nan):
    with pytest.raises(ValueError, match="NaN"):
        keys_of(np.array([1, nan, -np.inf], np.float32))
