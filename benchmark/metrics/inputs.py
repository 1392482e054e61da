"""Score maps, labels and predictions as they come: arrays or tensors, checked and brought to one form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import View
from benchmark.metrics.ranking import Ranking
from benchmark.metrics.rounding import MEND
from benchmark.metrics.strata import ANOMALY, IGNORE

TOLERANCE = 1e-5
"""How far the metrics of an image may move when its scores become float32."""
_FEW_DIGITS = {"float32", "float16", "bfloat16", "bool", "int8", "uint8", "int16", "uint16"}
"""Types whose every value float32 holds."""
_EXACT = 1 << 24
"""Float32 holds every integer below, and the next one is rounded to it."""


def as_maps(view: View, where: str, classes: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Scores as float32, labels and prediction (or None) as arrays of one shape (H, W); NaN is left to whoever sorts.

    Args:
        view: one image, as arrays or tensors of any device.
        where: names method and image in messages.
        classes: number of known classes; 0 where the labels do not tell them apart.
    Raises:
        BenchmarkError: not (H, W), sizes that differ, labels that are not uint8 or of no class, a prediction that is
            no class, masked arrays, scores that are no real numbers or that float32 cannot hold apart.
    """
    scores, labels = to_array(view.scores, "scores", where), to_array(view.labels, "labels", where)
    prediction = None if view.prediction is None else to_array(view.prediction, "prediction", where)
    if scores.ndim != 2:
        raise BenchmarkError(f"{where}: scores must be (H, W), not {scores.shape}.")
    for name, other in (("labels", labels), ("prediction", prediction)):
        if other is not None and other.shape != scores.shape:
            raise BenchmarkError(f"{where}: scores are {scores.shape}, {name} {other.shape} (H, W).")
    _check_labels(labels, classes, where)
    if prediction is not None:
        check_prediction(prediction, classes, where)
    if scores.dtype != np.float32:
        single = check_range(scores, where)
        _check_ties(scores, single, labels, where)
        scores = single
    return scores, labels, prediction


def as_arrays(view: View, where: str, classes: int = 0) -> tuple[np.ndarray, np.ndarray, Any]:
    """As :func:`as_maps`, without NaN among the scores."""
    scores, labels, prediction = as_maps(view, where, classes)
    if nans := int(np.isnan(scores).sum()):
        raise BenchmarkError(f"{where}: {nans} of {scores.size} scores are NaN.")
    return scores, labels, prediction


def scores_and_labels(view: View, where: str) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`as_arrays`, whatever the prediction is, which nobody reads."""
    scores, labels, _ = as_arrays(replace(view, prediction=None), where)
    return scores, labels


def more_digits(view: View, where: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores and labels as arrays where the scores' type has more digits than float32, else None."""
    if str(view.scores.dtype).removeprefix("torch.") in _FEW_DIGITS:
        return None
    return to_array(view.scores, "scores", where), to_array(view.labels, "labels", where)


def to_array(value: Any, name: str, where: str) -> np.ndarray:
    """An array, or a tensor of any device as one.

    Args:
        value: what was given.
        name: what it should be, for the message.
        where: names method and image.
    Raises:
        BenchmarkError: no array can be made of it, or it is a masked one, whose mask would be lost.
    """
    try:
        if hasattr(value, "detach"):
            value = value.detach()
            if str(value.dtype) == "torch.bfloat16":
                value = value.float()
            value = value.cpu().numpy()
        if np.ma.is_masked(value):
            raise BenchmarkError(f"{where}: {name} are a masked array; label its masked pixels 255 (ignore) instead.")
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise BenchmarkError(f"{where}: {name} are no array ({error}).") from None


def check_prediction(prediction: np.ndarray, classes: int, where: str) -> None:
    """Refuse a prediction that is not a known class at every pixel.

    Args:
        prediction: of any shape.
        classes: number of known classes; 0 where that is not known.
        where: names method and image.
    Raises:
        BenchmarkError: NaN, fractions, or ids that are no class.
    """
    kind = str(prediction.dtype)
    if not kind.startswith(("int", "uint", "float")):
        raise BenchmarkError(f"{where}: predictions must be ids of classes, not {kind}.")
    last = (classes or ANOMALY) - 1
    # A comparison with NaN is false, so what is asked is whether all are right.
    right = (prediction >= 0) & (prediction <= last)
    if kind.startswith("float"):
        right &= prediction == prediction.round()
    if not bool(right.all()):
        wrong = prediction[~right].reshape(-1)[0].item()
        raise BenchmarkError(f"{where}: a predicted class lies outside 0..{last} ({wrong}).")


def check_range(scores: np.ndarray, where: str) -> np.ndarray:
    """The scores as float32.

    Raises:
        BenchmarkError: they are no real numbers, or lie outside its range.
    """
    if scores.dtype == np.float32:
        return scores
    if scores.dtype.kind not in "buif":
        raise BenchmarkError(f"{where}: scores must be real numbers, not {scores.dtype}.")
    with np.errstate(over="ignore"):
        single = scores.astype(np.float32)
    if np.isinf(single).sum() != np.isinf(scores).sum():
        raise BenchmarkError(f"{where}: scores exceed the range of float32 (3.4e38); rescale them.")
    return single


def check_threshold(value: float) -> float:
    """A threshold of scores; NaN, which no score lies above or below, is refused.

    Raises:
        BenchmarkError: it is NaN.
    """
    if math.isnan(value):
        raise BenchmarkError("A threshold is NaN, which no score lies above or below; name a number.")
    return float(value)


def _check_labels(labels: np.ndarray, classes: int, where: str) -> None:
    if labels.dtype != np.uint8:
        raise BenchmarkError(f"{where}: labels must be uint8 (254 anomaly, 255 ignore), not {labels.dtype}.")
    if classes and bool((wrong := (labels >= classes) & (labels < ANOMALY)).any()):
        known = f"0..{classes - 1}, 254 (anomaly) and 255 (ignore)"
        raise BenchmarkError(f"{where}: label id {int(labels[wrong][0])} does not exist; known are {known}.")


def _check_ties(scores: np.ndarray, single: np.ndarray, labels: np.ndarray, where: str) -> None:
    """Refuse scores of more digits than float32 has, where the lost ones decide on the metrics.

    Nearly every conversion makes a few ties, which move nothing; so the image is ranked both ways.
    """
    exact_integers = scores.dtype.kind != "f" and bool((np.abs(single) < _EXACT).all())
    if exact_integers or (scores.dtype.kind == "f" and bool((single == scores).all())):
        return
    counted = labels != IGNORE
    anomalous = labels[counted] == ANOMALY
    if np.isnan(single).any() or not 0 < int(anomalous.sum()) < anomalous.size:
        return  # a NaN is refused with its place by whoever sorts
    exact, found = _metrics(scores[counted], anomalous), _metrics(single[counted], anomalous)
    moved = max(abs(a - b) for a, b in zip(exact, found, strict=True))
    if moved > TOLERANCE:
        raise BenchmarkError(
            f"{where}: the {scores.dtype} scores lie closer together than float32, in which scores are compared, tells "
            f"apart: a metric moves by {100 * moved:.2g} points; {MEND}."
        )


def _metrics(scores: np.ndarray, anomalous: np.ndarray) -> tuple[float, float, float]:
    """AUROC, average precision and FPR95 of pixels whose scores are compared in their own type."""
    normal = np.sort(scores[~anomalous])
    distinct, counts = np.unique(scores[anomalous], return_counts=True)
    below, at_or_below = (np.searchsorted(normal, distinct, side) for side in ("left", "right"))
    ranking = Ranking(distinct, counts, below, at_or_below, len(normal))
    return ranking.auroc(), ranking.average_precision(), ranking.fpr("first_ge")
