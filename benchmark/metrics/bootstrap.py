"""Confidence intervals over images, from kept rows.

The images of a test set are the sample; drawing them with replacement says how far a per-image mean would move on
other images of the same kind. The intervals belong to per-image means: a pooled value is no mean over images, and
resampling it would need every image's scores again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.pixel_protocols import PixelProtocol, pixel_protocol
from benchmark.metrics.rows import select_rows

if TYPE_CHECKING:
    from pandas import DataFrame, Series

DRAWS = 10_000
KEPT = 1 << 24
"""Drawn images up to which they are kept for the next question, 32 MiB; 10,000 resamples of 1,677 images."""
HIGHER_IS_BETTER = {"auroc": True, "aupr": True, "fpr95": False, "efpr": False, "cfpr": False}


@dataclass(frozen=True)
class Interval:
    """A mean over images with its percentile interval.

    Attributes:
        value: mean over the images.
        low, high: ends of the interval.
        images: that the mean rests on.
    """

    value: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same images.

    Attributes:
        difference: interval of mean(first) - mean(second).
        better: share of resamples in which the first is better, ties counting half.
    """

    difference: Interval
    better: float


def bootstrap_interval(
    rows: DataFrame,
    metric: str,
    protocol: str | PixelProtocol = "streethazards",
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a per-image mean.

    Args:
        rows: of one method, as :func:`read_rows` reads them.
        metric: "auroc", "aupr", "fpr95" (by the protocol's rule), "efpr" or "cfpr".
        protocol: per-image protocol whose negatives and rule apply.
        level: coverage.
        draws: number of resamples.
        seed: of the resampling; equal seeds give equal intervals.
    """
    values = _values(rows, metric, protocol).to_numpy()
    return mean_interval(values, level=level, draws=draws, seed=seed)


def mean_interval(values: np.ndarray, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The same of one value per image, in an order that does not depend on that of the evaluation."""
    return _interval(values, _resampled_means(values, draws, seed), level)


def paired_bootstrap(
    first: DataFrame | Sequence[DataFrame],
    second: DataFrame | Sequence[DataFrame],
    metric: str,
    protocol: str | PixelProtocol = "streethazards",
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compare two methods on the images that both have, drawing the same images for both.

    Repetitions are compared seed by seed, and drawn with replacement as the images are: the interval then also says how
    far other seeds would move the difference (it is a little too narrow where there are few).

    Args:
        first: rows of one method, or a table for each of its repetitions.
        second: of the other, in the same order.
        metric, protocol, level, draws, seed: as in :func:`bootstrap_interval`.
    Raises:
        BenchmarkError: they share no image.
    """
    from pandas import DataFrame

    pairs = [(first, second)] if isinstance(first, DataFrame) else list(zip(first, second, strict=True))
    differences = _differences(pairs, metric, protocol)
    by_repetition = np.stack([_resampled_means(row, draws, seed) for row in differences])
    drawn = np.random.default_rng([seed, len(pairs)]).integers(len(pairs), size=(len(pairs), draws))
    means = np.take_along_axis(by_repetition, drawn, axis=0).mean(axis=0)
    gains = means if HIGHER_IS_BETTER[metric] else -means
    better = float((gains > 0).mean() + (gains == 0).mean() / 2)
    return Comparison(_interval(differences.mean(axis=0), means, level), better)


def resampled_means(values: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Means of several methods on the same resamples of the images.

    Args:
        values: float (methods, images), a metric by image; NaN nowhere.
        draws, seed: as in :func:`bootstrap_interval`; with equal seeds the same images are drawn.
    Returns:
        float (methods, draws).
    """
    return np.stack(
        [_resampled_means(np.ascontiguousarray(each), draws, seed) for each in np.asarray(values, np.float64)]
    )


def _differences(
    pairs: Sequence[tuple[DataFrame, DataFrame]], metric: str, protocol: str | PixelProtocol
) -> np.ndarray:
    """First minus second, one row per pair and one column per image that all tables have."""
    from pandas import concat

    tables = [_values(table, metric, protocol) for pair in pairs for table in pair]
    shared = concat(tables, axis=1, join="inner").sort_index()
    if shared.empty:
        raise BenchmarkError("The two methods have no image in common; evaluate both on one dataset.")
    values = np.ascontiguousarray(shared.to_numpy().T)
    return values[0::2] - values[1::2]


def _values(rows: DataFrame, metric: str, protocol: str | PixelProtocol) -> Series:
    """Values of a metric by image, where it is defined."""
    if metric not in HIGHER_IS_BETTER:
        raise BenchmarkError(f"There is no per-image metric '{metric}'; known are {', '.join(HIGHER_IS_BETTER)}.")
    chosen = pixel_protocol(protocol)
    if chosen.aggregation != "per-image":
        raise BenchmarkError(f"Intervals over images need a per-image protocol, and '{chosen.name}' is pooled.")
    table = select_rows(rows, chosen).set_index("image")
    return table[f"fpr95_{chosen.fpr_rule}" if metric == "fpr95" else metric].dropna()


def _resampled_means(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    if not len(values):
        return np.full(draws, np.nan)
    few = len(values) * draws <= KEPT
    resamples = (_kept if few else _resamples)(len(values), draws, seed)
    return np.concatenate([np.take(values, chosen).mean(1) for chosen in resamples])


@lru_cache(maxsize=1)
def _kept(images: int, draws: int, seed: int) -> list[np.ndarray]:
    """What :func:`_resamples` gives, for all metrics, methods and pairs with equally many images."""
    return list(_resamples(images, draws, seed))


def _resamples(images: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """The images that every resample draws, (n, images) at a time and `draws` in all."""
    generator = np.random.default_rng(seed)
    step = max(1, 4_000_000 // images)  # bounds memory at 32 MiB
    for start in range(0, draws, step):
        chosen = generator.integers(images, size=(min(step, draws - start), images), dtype=np.int32)
        yield chosen.astype(np.min_scalar_type(images))


def _interval(values: np.ndarray, means: np.ndarray, level: float) -> Interval:
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high), len(values))
