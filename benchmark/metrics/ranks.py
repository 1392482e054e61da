"""Methods over several datasets by their ranks: Friedman's test and Nemenyi's critical difference.

After Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 7, 2006). A place is a dataset
with a network; every place ranks the same methods, 1 is best, and equal values share the mean of their ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LEVEL = 0.95
"""Of intervals; one minus it is the significance level of the tests."""


def rank_of(values: np.ndarray, higher_is_better: bool = True) -> np.ndarray:
    """Ranks of methods along the first axis, 1 is best.

    Args:
        values: float (methods, ...), NaN nowhere.
        higher_is_better: whether the largest value has rank 1.
    Returns:
        float of the same shape; equal values share the mean of their ranks.
    """
    values = np.asarray(values, np.float64) * (1 if higher_is_better else -1)
    better = (values[None] > values[:, None]).sum(axis=1)
    equal = (values[None] == values[:, None]).sum(axis=1)
    return better + (equal + 1) / 2


def friedman(ranks: np.ndarray) -> tuple[float, float]:
    r"""Whether methods differ at all.

    With the ranks :math:`r_{ij}` of k methods at N places and their sums :math:`R_j`,

    .. math:: \chi^2 = (k-1) \sum_j (R_j - N(k+1)/2)^2 / (\sum_{ij} r_{ij}^2 - N k (k+1)^2/4)

    which corrects for ties, with k - 1 degrees of freedom.

    Args:
        ranks: float (places, methods), of :func:`rank_of`.
    Returns:
        The statistic and its p-value; 0 and 1 where all methods are equal everywhere.
    """
    places, methods = ranks.shape
    spread = float((ranks**2).sum()) - places * methods * (methods + 1) ** 2 / 4
    if spread <= 0:
        return 0.0, 1.0
    between = float(((ranks.sum(axis=0) - places * (methods + 1) / 2) ** 2).sum())
    statistic = (methods - 1) * between / spread
    return statistic, chi2_tail(statistic, methods - 1)


def critical_difference(methods: int, places: int, level: float = LEVEL) -> float:
    r"""Nemenyi's: average ranks further apart than this differ.

    :math:`q \sqrt{k(k+1)/(6N)}` for k methods and N places, where q is the studentised range's quantile of k normal
    values over :math:`\sqrt 2`.
    """
    return range_quantile(level, methods) / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * places))


def alike(averages: Sequence[float], difference: float) -> list[list[int]]:
    """The largest groups of methods in which no two average ranks differ by `difference` or more.

    Args:
        averages: of the methods, ascending.
        difference: the critical one.
    Returns:
        Positions of the methods, a list for each group; every method is in one, perhaps alone.
    """
    groups: list[list[int]] = []
    for first, low in enumerate(averages):
        group = [i for i in range(first, len(averages)) if i == first or averages[i] - low < difference]
        if not groups or group[-1] > groups[-1][-1]:
            groups.append(group)
    return groups


def chi2_tail(value: float, freedom: int) -> float:
    """Probability that a chi-squared variable with `freedom` degrees of freedom exceeds a value."""
    half = value / 2
    # Q(x; n + 2) = Q(x; n) + (x/2)^(n/2) exp(-x/2) / Gamma(n/2 + 1)
    tail, start = (math.erfc(math.sqrt(half)), 1) if freedom % 2 else (math.exp(-half), 2)
    for n in range(start, freedom, 2):
        tail += math.exp(n / 2 * math.log(half) - half - math.lgamma(n / 2 + 1)) if half else 0.0
    return min(1.0, tail)


def range_quantile(level: float, methods: int) -> float:
    r"""Quantile of the range of independent standard normal values: the studentised range with infinite freedom.

    :math:`P(q) = k \int \varphi(z) (\Phi(z) - \Phi(z - q))^{k-1} dz`, solved for q by bisection.
    """
    z = np.linspace(-8.0, 8.0, 801)
    density, below = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), _normal(z)
    low, high = 0.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        # Both ends are zero to the last digit, so that a sum is the integral.
        reached = methods * (z[1] - z[0]) * (density * (below - _normal(z - middle)) ** (methods - 1)).sum()
        low, high = (middle, high) if reached < level else (low, middle)
    return (low + high) / 2


def _normal(z: np.ndarray) -> np.ndarray:
    return np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in z])
