"""Score maps, labels and predictions as they come: arrays or tensors, checked and brought to one form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics.evaluator import View


def as_maps(view: View, where: str) -> tuple[Any, Any, Any]:
    """Scores as float32, labels and prediction (or None) on the same device, all of one shape (H, W).

    Tensors on the CPU become arrays (numpy sorts with the vector units), tensors on an accelerator stay where they are.

    Raises:
        BenchmarkError: not (H, W), sizes that differ, labels that are not uint8, scores outside the range of float32.
    """
    scores, labels, prediction = view.scores, view.labels, view.prediction
    device = on_device(scores)
    if not device:
        scores, labels = to_array(scores), to_array(labels)
        prediction = None if prediction is None else to_array(prediction)
    elif not hasattr(labels, "device") or labels.device != scores.device:
        import torch

        labels = torch.as_tensor(labels, device=scores.device)
    if device and prediction is not None:
        prediction = prediction.to(scores.device)
    if len(scores.shape) != 2:
        raise BenchmarkError(f"{where}: scores must be (H, W), not {tuple(scores.shape)}.")
    for name, other in (("labels", labels), ("prediction", prediction)):
        if other is not None and tuple(other.shape) != tuple(scores.shape):
            raise BenchmarkError(f"{where}: scores are {tuple(scores.shape)}, {name} {tuple(other.shape)} (H, W).")
    if str(labels.dtype).removeprefix("torch.") != "uint8":
        raise BenchmarkError(f"{where}: labels must be uint8 (254 anomaly, 255 ignore), not {labels.dtype}.")
    return (scores.float() if device else _as_float32(scores, where)), labels, prediction


def as_arrays(view: View, where: str) -> tuple[Any, Any, Any]:
    """As :func:`as_maps`, on the CPU wherever the tensors live, and without NaN among the scores."""
    scores, labels, prediction = as_maps(replace(view, scores=to_array(view.scores)), where)
    if nans := int(np.isnan(scores).sum()):
        raise BenchmarkError(f"{where}: {nans} of {scores.size} scores are NaN.")
    return scores, labels, prediction


def on_device(value: Any) -> bool:
    """Whether a value is a tensor that lives on an accelerator."""
    return hasattr(value, "device") and getattr(value.device, "type", "cpu") not in ("cpu", "meta")


def to_array(value: Any) -> np.ndarray:
    """An array, or a tensor of any device as one."""
    if hasattr(value, "detach"):
        value = value.detach()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.cpu().numpy()
    return np.asarray(value)


def _as_float32(scores: np.ndarray, where: str) -> np.ndarray:
    if scores.dtype == np.float32:
        return scores
    with np.errstate(over="ignore"):
        single = scores.astype(np.float32)
    if np.isinf(single).sum() != np.isinf(scores).sum():
        raise BenchmarkError(f"{where}: scores exceed the range of float32 (3.4e38); rescale them.")
    return single
