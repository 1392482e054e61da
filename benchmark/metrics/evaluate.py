"""Evaluation of score maps that somebody already has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import View
from benchmark.metrics.pixel import PixelEvaluator
from benchmark.metrics.pixel_protocols import PixelProtocol
from benchmark.metrics.result import PixelResult

_END = object()


def evaluate_scores(
    scores: Iterable[Any],
    labels: Iterable[Any],
    protocol: str | PixelProtocol = "streethazards",
    *,
    predictions: Iterable[Any] | None = None,
    ids: Iterable[str] | None = None,
    classes: Sequence[str] = (),
    exact_pooled: bool = False,
) -> PixelResult:
    """Evaluate score maps under one protocol, one image at a time.

    For several protocols at once, rows per image, curves or sharding use ``PixelEvaluator``.

    Args:
        scores: per image a (H, W) array or tensor of any device; higher is more anomalous. Compared as float32.
        labels: per image a uint8 (H, W) array or tensor: known classes below 254, 254 anomaly, 255 ignore.
        protocol: a name or a protocol that ranks pixels.
        predictions: per image the (H, W) predicted classes, for ``failure-split``.
        ids: names of the images for messages; their position if not given.
        classes: names of the known classes, for protocols that ignore some.
        exact_pooled: keep all scores for exact pooled values.
    Raises:
        BenchmarkError: a NaN, shapes that differ, iterables of different length.

    Example:
        >>> import numpy as np
        >>> from benchmark.metrics import evaluate_scores
        >>> labels = np.zeros((4, 5), np.uint8)
        >>> labels[0, :2] = 254
        >>> scores = np.linspace(1, 0, 20).reshape(4, 5)
        >>> evaluate_scores([scores], [labels], "streethazards").aupr
        1.0
    """
    evaluator = PixelEvaluator([protocol], classes=classes, exact_pooled=exact_pooled)
    label_maps = iter(labels)
    names = iter(ids) if ids is not None else None
    predicted = iter(predictions) if predictions is not None else None
    for index, score_map in enumerate(scores):
        row = [next(source, _END) if source is not None else None for source in (label_maps, names, predicted)]
        if _END in [value for value in row if value is _END]:
            raise BenchmarkError(f"There are more score maps than labels, ids or predictions (which end at {index}).")
        label_map, name, prediction = row
        evaluator.update(View(str(index) if name is None else str(name), score_map, label_map, prediction))
    if next(label_maps, _END) is not _END:
        raise BenchmarkError("There are more label maps than score maps.")
    return evaluator.result(protocol)
