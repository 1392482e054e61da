"""Precision-recall and ROC curves of a ranking, thinned to points between which little is left open."""

from __future__ import annotations

import csv
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.io.walk import require_file
from benchmark.metrics.ranking import Ranking, scores_of
from benchmark.metrics.rows import write_csv

POINTS = 2048
"""Points of a thinned curve, by which AUPR and AUROC are known to a thousandth."""
COLUMNS = ("threshold", "anomalous", "normal", "scores")
TIED = 1e-7
"""Share of pairs of pixels, between two points, from which it is told whether their scores are equal."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Points of both curves by falling threshold; the last one is that of the lowest threshold, minus infinity.

    Attributes:
        threshold: score at and above which pixels are positive, float64.
        tp: anomalous pixels at or above it, int64.
        fp: normal pixels at or above it, int64.
        scores: distinct scores of anomalous pixels from this threshold up to the one before, int64: with 1, all these
            pixels have the score of this point.
    """

    threshold: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    scores: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        """True-positive rate."""
        return self.tp / max(self.tp[-1], 1)

    @property
    def precision(self) -> np.ndarray:
        """Share of the anomalous pixels among those called positive; 1 where there are none."""
        called = self.tp + self.fp
        return np.where(called > 0, self.tp / np.maximum(called, 1), 1.0)

    @property
    def fpr(self) -> np.ndarray:
        """False-positive rate."""
        return self.fp / max(self.fp[-1], 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Threshold and rates by name, for ``np.savez``."""
        return {name: getattr(self, name) for name in ("threshold", "recall", "precision", "fpr")}


def write_curves(path: str | Path, curves: Curves) -> None:
    """Write the points as compressed CSV (``.csv.gz``); equal curves give equal bytes.

    Columns: the threshold, and from it up to the threshold before the numbers of anomalous and of normal pixels and of
    distinct scores of the former.
    """
    counts = [np.diff(curves.tp, prepend=0), np.diff(curves.fp, prepend=0), curves.scores]
    columns = {"threshold": [str(np.float32(t)) for t in curves.threshold]}
    write_csv(path, columns | {n: [str(v) for v in c] for n, c in zip(COLUMNS[1:], counts, strict=True)})


def read_curves(path: str | Path) -> Curves:
    """Read what :func:`write_curves` wrote.

    Raises:
        BenchmarkError: not such a file.
    """
    try:
        require_file(Path(path))
        with gzip.open(path, "rt", newline="") as file:
            header, *points = csv.reader(file)
        if tuple(header) != COLUMNS:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        threshold, *counts = np.array(points, str).reshape(-1, len(COLUMNS)).T
        anomalous, normal, scores = (values.astype(np.int64) for values in counts)
        return Curves(threshold.astype(np.float32).astype(np.float64), anomalous.cumsum(), normal.cumsum(), scores)
    except (OSError, ValueError, EOFError, csv.Error, zlib.error) as error:
        raise BenchmarkError(f"{path} holds no curves ({error}); evaluate the method again.") from error


def thin_curves(ranking: Ranking, points: int = POINTS) -> Curves:
    """Curves at about `points` thresholds, or at all where there are fewer.

    Between two points (tp, fp) only grow. That leaves open the order of the pixels between them, and with it

        (r2 - r1) (best - worst) + (r2 - r1) (f2 - f1)

    of average precision and AUROC together, with recall r, false-positive rate f, and precision between
    worst = tp1 / (tp1 + fp2) and best = tp2 / (tp2 + fp1). Points are set so that this is about the same everywhere.
    The threshold at which the recall reaches 95 % is one of them, and so is the score before it.

    Args:
        ranking: with both kinds of pixels.
        points: number of points aimed at.
    """
    down = slice(None, None, -1)
    tp, fp = ranking.tp[down], ranking.fp[down]
    above = ranking.normal - ranking.at_or_below[down]
    cut = len(tp) - 1 - ranking.cut("first_ge")
    fixed = np.unique(np.array([0, max(cut - 1, 0), cut, len(tp) - 1]))
    keep = np.arange(len(tp))
    if len(tp) > points // 2:
        keep = np.union1d(_spread(tp, fp, ranking, 4 * points), fixed)
        keep = np.union1d(_even(keep, tp, fp, ranking, points), fixed)
    scores = np.diff(keep, prepend=-1)
    before, passed = np.diff(tp[keep], prepend=0), np.diff(fp[keep], prepend=0)
    # Where one score is left between two points, a point just above it tells which normal pixels have it, too.
    told = (scores == 1) & (before * passed.astype(np.float64) > TIED * ranking.anomalous * ranking.normal)
    keys = ranking.keys[down].astype(np.int64)
    places, extra = np.flatnonzero(told), keep[told]
    columns = (
        np.insert(scores_of(keys[keep]).astype(np.float64), places, scores_of(keys[extra] + 1)),
        np.insert(tp[keep], places, tp[keep][told] - before[told]),
        np.insert(fp[keep], places, above[extra]),
        np.insert(scores, places, 0),
    )
    end = (-np.inf, ranking.anomalous, ranking.normal, 0)
    return Curves(*(np.append(column, last) for column, last in zip(columns, end, strict=True)))


def _spread(tp: np.ndarray, fp: np.ndarray, ranking: Ranking, count: int) -> np.ndarray:
    """Positions of about so many thresholds, close wherever a rate, its logarithm or the precision changes."""
    travelled = np.zeros(len(tp))
    for values in (tp, fp, np.log(np.maximum(tp, 1)), np.log(np.maximum(fp, 1)), tp / (tp + fp)):
        steps = np.abs(np.diff(values, prepend=values[:1]))
        travelled += steps.cumsum() / max(steps.sum(), 1e-12)
    return np.flatnonzero(np.diff((travelled * count / 5).astype(np.int64), prepend=-1))


def _even(candidates: np.ndarray, tp: np.ndarray, fp: np.ndarray, ranking: Ranking, points: int) -> np.ndarray:
    """At most so many of the candidates, between which about the same is left open."""
    hits, alarms = tp[candidates].tolist(), fp[candidates].tolist()
    places = candidates.tolist()
    p, n = ranking.anomalous, ranking.normal

    def chosen(allowed: float) -> list[int]:
        kept, hit, alarm, place = [], 0, 0, -1
        for i in range(len(places)):
            gained, passed = hits[i] - hit, alarms[i] - alarm
            best, worst = hits[i] / (hits[i] + alarm), hit / max(hit + alarms[i], 1)
            if i and places[i] > place + 1 and gained / p * (best - worst + passed / n) > allowed:
                last = i - 1
                if places[last] > place:
                    kept.append(places[last])
                    hit, alarm, place = hits[last], alarms[last], places[last]
        return [*kept, places[-1]]

    low, high = -12.0, 0.0  # decimal logarithm of what may be left open
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if len(chosen(10**middle)) > points else (low, middle)
    return np.array(chosen(10**high))
