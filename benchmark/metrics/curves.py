"""Precision-recall and ROC curves of a ranking, thinned for plots."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.io.walk import require_file
from benchmark.metrics.keys import scores_of
from benchmark.metrics.ranking import Ranking
from benchmark.metrics.rows import write_csv


@dataclass(frozen=True, eq=False)
class Curves:
    """Points of both curves by falling threshold; float64 arrays of one length.

    Attributes:
        threshold: score at and above which pixels are positive.
        recall: true-positive rate.
        precision: of the pixels called positive.
        fpr: false-positive rate.
    """

    threshold: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    fpr: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The four arrays by name, for ``np.savez``."""
        return {name: getattr(self, name) for name in ("threshold", "recall", "precision", "fpr")}


def write_curves(path: str | Path, curves: Curves) -> None:
    """Write the points as compressed CSV (``.csv.gz``); equal curves give equal bytes.

    Six significant digits, and nine for thresholds, which tell all float32 scores apart.
    """
    digits = {"threshold": ".9g"}
    write_csv(path, {key: [format(v, digits.get(key, ".6g")) for v in a] for key, a in curves.arrays().items()})


def read_curves(path: str | Path) -> Curves:
    """Read what :func:`write_curves` wrote.

    Raises:
        BenchmarkError: not such a file.
    """
    try:
        require_file(Path(path))
        with gzip.open(path, "rt", newline="") as file:
            header, *points = csv.reader(file)
        columns = np.array(points, np.float64).reshape(-1, len(header)).T
        return Curves(**dict(zip(header, columns, strict=True)))
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise BenchmarkError(f"{path} holds no curves ({error}); evaluate the method again.") from error


def thin_curves(ranking: Ranking, points: int = 512) -> Curves:
    """Curves at about `points` thresholds.

    Kept are the first and last threshold and every one by which recall, false-positive rate, the logarithm of the
    latter or precision has moved on by a fixed step, so that no visible corner is lost on either axis.

    Args:
        ranking: with both kinds of pixels.
        points: number of points aimed at.
    """
    down = slice(None, None, -1)
    tp, fp = ranking.tp[down], ranking.fp[down]
    recall, precision, fpr = tp / ranking.anomalous, tp / (tp + fp), fp / ranking.normal
    travelled = np.zeros(len(tp))
    decades = np.log10(np.maximum(fp, 1)) / max(np.log10(ranking.normal), 1.0)
    for values in (recall, fpr, decades, precision):
        steps = np.abs(np.diff(values, prepend=values[:1]))
        travelled += steps.cumsum() / max(steps.sum(), 1e-12)
    bucket = np.minimum((travelled * points / 4).astype(np.int64), points)
    keep = np.flatnonzero(np.diff(bucket, prepend=-1))
    keep = np.union1d(keep, np.array([0, len(tp) - 1]) if len(tp) else keep)
    thresholds = scores_of(ranking.keys[down][keep]).astype(np.float64)
    return Curves(thresholds, recall[keep], precision[keep], fpr[keep])
