"""``python -m benchmark bench metrics``: the speed of the metrics beside scikit-learn, torchmetrics and the floor.

Everything is measured in one process on the same synthetic 720x1280 images. In every round the contestants take turns,
each with all images, so that a busy machine slows all alike; printed are medians over the rounds and the median of the
ratios within them.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count
from typing import Any

import numpy as np

from benchmark.records.device import MetricTime

SIZE = (720, 1280)
REFERENCE = "scikit-learn, as the reference evaluation calls it"


def bench_metrics(rounds: int = 7, size: tuple[int, int] = SIZE) -> str:
    """The table of :func:`metric_times` as text; arguments as there."""
    from tabulate import tabulate

    lines = []
    for one in metric_times(rounds, size):
        ratios = ("" if r is None else f"{r:.1f}" for r in (one.times_faster, one.cpu_times_faster))
        lines.append((one.name, f"{one.milliseconds:.2f}", f"{one.cpu_milliseconds:.2f}", *ratios))
    header = ("", "ms", "CPU ms", "times faster", "(CPU time)")
    table = tabulate(lines, header, colalign=("left", *["right"] * 4), disable_numparse=True)
    machine = f"{platform.processor() or platform.machine()}, numpy {np.__version__}"
    return f"Milliseconds per {size[0]}x{size[1]} image, medians of {rounds} rounds ({machine}):\n\n{table}"


def metric_times(rounds: int = 7, size: tuple[int, int] = SIZE) -> list[MetricTime]:
    """Measure all contestants that are installed.

    Args:
        rounds: repetitions over all images, of which medians are taken.
        size: (H, W) of the images in pixels.
    """
    images = [synthetic_image(seed, size) for seed in range(3)]
    contestants = dict(_contestants(images))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for index in range(-1, rounds):  # the first round warms caches and allocators
        for name, run in contestants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for image in range(len(images)):
                run(image)
            if index >= 0:
                spent = time.perf_counter() - wall, time.process_time() - cpu
                times[name].append((spent[0] / len(images), spent[1] / len(images)))
    reference = np.array(times[REFERENCE])
    found = []
    for name, measured in times.items():
        wall, cpu = np.median(measured, axis=0) * 1e3
        ratios = np.median(reference / np.array(measured), axis=0)
        compared = not name.startswith("components")
        found.append(MetricTime(name, float(wall), float(cpu), *(float(r) if compared else None for r in ratios)))
    return found


def synthetic_image(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A smooth softmax score map (1 - largest of 13 probabilities) and labels with about 2 % anomaly.

    Returns:
        float32 (H, W), uint8 (H, W).
    """
    import cv2

    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.ogrid[:height, :width]
    labels = np.zeros(size, np.uint8)
    for _ in range(3):
        cy, cx = rng.uniform(0.3, 0.8) * height, rng.uniform(0.1, 0.9) * width
        labels[((y - cy) / (0.05 * height)) ** 2 + ((x - cx) / (0.05 * width)) ** 2 < 1] = 254
    coarse = rng.normal(0, 3, (13, height // 8, width // 8)).astype(np.float32)
    logits = np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_LINEAR) for c in coarse])
    logits[:, labels == 254] *= 0.6
    scores = 1 - 1 / np.exp(logits - logits.max(0)).sum(0)
    return scores.astype(np.float32), labels


def _contestants(images: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[str, Callable[[int], Any]]]:
    """Names, and what each does with the image at an index."""
    yield "floor: read scores and labels once", lambda i: (images[i][0].sum(), images[i][1].sum(dtype=np.uint64))
    yield "floor: one sort of the scores", lambda i: np.sort(images[i][0], axis=None)
    yield from _ours(images)
    yield REFERENCE, lambda i: _scikit_learn(*images[i])
    if find_spec("torchmetrics"):
        yield "torchmetrics, exact", lambda i: _torchmetrics(*images[i])
    yield from _components(images[0][1].shape)


def _ours(images: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[str, Callable[[int], Any]]]:
    from benchmark.metrics import PixelEvaluator, View

    for name, protocols in (("per image only", ["per-image"]), ("both aggregates", ["per-image", "pooled"])):
        evaluator, numbers = PixelEvaluator(protocols), count()
        # As where a hundred images have been seen before: the sketch keeps a sample of each.
        for index in range(100 if name == "both aggregates" else 1):
            evaluator.update(View(f"{next(numbers)}", *images[index % len(images)]))

        def run(i: int, evaluator: PixelEvaluator = evaluator, numbers: Iterator[int] = numbers) -> None:
            evaluator.update(View(f"{next(numbers)}", *images[i]))

        yield f"ours, {name}", run


def _scikit_learn(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """AUROC, AP and FPR95, each from a sort of its own, as the StreetHazards evaluation computes them."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    is_anomaly = labels == 254
    examples = np.concatenate((scores[is_anomaly], scores[~is_anomaly]))
    truth = np.zeros(len(examples), np.int32)
    truth[: is_anomaly.sum()] = 1
    order = np.argsort(examples, kind="mergesort")[::-1]
    ends = np.append(np.flatnonzero(np.diff(examples[order])), len(examples) - 1)
    tp = truth[order].cumsum(dtype=np.float64)[ends]
    fp = 1 + ends - tp
    full = np.searchsorted(tp, tp[-1])
    cut = np.argmin(np.abs(tp[full::-1] / tp[-1] - 0.95))
    fpr95 = fp[full::-1][cut] / (truth == 0).sum()
    return roc_auc_score(truth, examples), average_precision_score(truth, examples), fpr95


def _torchmetrics(scores: np.ndarray, labels: np.ndarray) -> None:
    import torch
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_roc

    pair = torch.from_numpy(scores).flatten(), torch.from_numpy((labels == 254).astype(np.int64)).flatten()
    for metric in (binary_auroc, binary_average_precision, binary_roc):
        metric(*pair)


def _components(size: tuple[int, int]) -> Iterator[tuple[str, Callable[[int], Any]]]:
    import cv2

    from benchmark.metrics.components import COMPONENT_PROTOCOLS, match_components

    labels = synthetic_image(0, size)[1]
    rng = np.random.default_rng(0)
    rules = next(p for p in COMPONENT_PROTOCOLS if p.name == "smiyc-obstacles")
    for cell in (64, 12, 2):
        coarse = rng.normal(size=(size[0] // cell, size[1] // cell)).astype(np.float32)
        mask = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR) > 0.8
        found = cv2.connectedComponents(mask.view(np.uint8))[0] - 1
        yield f"components, {found} predicted", lambda i, mask=mask: match_components(mask, labels, rules)
