"""``python -m benchmark bench pooled``: the error, memory and mergeability of the pooled sketch.

The reference is scikit-learn on the concatenation of all pixels, for scores of every kind that methods give and of
every kind that crowds somewhere. A second sketch of the same images has a smaller budget, so that of each image it
keeps what it would keep of each in 1500.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmark.progress import counted

SIZE = (720, 1280)
IMAGES = 4
"""Images of a kind: 3.7 million pixels, which scikit-learn sorts in seconds; every score is kept."""
LARGE = 1500
"""Images of a large dataset (StreetHazards has 1500)."""
SHARDS = 7

KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": lambda z: -1 / (1 + np.exp(2 * z - 7)),  # most pixels are confident: close to -1
    "logit": lambda z: 3 * z - 9,
    "squared distance": lambda z: 40 * np.exp(1.5 * z),
    "heavy-tailed": lambda z: np.sinh(3 * z) ** 3,
    "distance near 1e6": lambda z: 2 * z + 1e6,
    "sigmoid(6 z)": lambda z: 1 / (1 + np.exp(-6 * z)),
    "100 sigmoid(6 z)": lambda z: 100 / (1 + np.exp(-6 * z)),  # crowded below 100
    "100 sigmoid(20 z)": lambda z: 100 / (1 + np.exp(-20 * z)),  # saturated: ties at 0 and 100
    "float16": lambda z: z.astype(np.float16),
    "integers": lambda z: np.round(20 * z),
    "clipped": lambda z: np.clip(z, -0.5, 1),
    "constant": lambda z: 0 * z,
}
"""Kind of score -> what it makes of smooth noise that is larger on anomalies."""


def bench_pooled(images: int = IMAGES, size: tuple[int, int] = SIZE) -> str:
    """Measure every kind of score.

    Args:
        images: of each kind.
        size: (H, W) in pixels.
    Returns:
        The table as text.
    """
    from tabulate import tabulate

    metrics = ("AUROC", "AP", "FPR95")
    header = ("scores", *metrics, *(f"{m}, sample" for m in metrics), *(f"{m} <=" for m in metrics), "MiB", "shards")
    lines = [(kind, *_measure(kind, images, size)) for kind in counted(KINDS, len(KINDS), "pooled")]
    table = tabulate(lines, header, colalign=("left", *["right"] * 11), disable_numparse=True)
    pixels, ratio = images * size[0] * size[1] / 1e6, (LARGE / images) ** 0.5
    return (
        f"Absolute error of the pooled values against scikit-learn on all {pixels:.1f} million pixels at once, and\n"
        f"of the sample of each image that is kept where there are {LARGE}, with the bound that is stored beside it.\n"
        f"Both are some {ratio:.0f} times smaller for {LARGE} images. Memory, and whether {SHARDS} shards of the\n"
        f"sample merged in a random order are the same bit for bit:\n\n{table}"
    )


def score_maps(kind: str, images: int, size: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """float32 scores (H, W) and uint8 labels with about 2 % anomaly, one image after the other."""
    import cv2

    from benchmark.data import ANOMALY

    height, width = size
    for index in range(images):
        rng = np.random.default_rng(index)
        labels = np.zeros(size, np.uint8)
        top, left = rng.integers(0, height - height // 7), rng.integers(0, width - width // 7)
        labels[top : top + height // 7, left : left + width // 7] = ANOMALY
        coarse = rng.normal(size=(height // 8, width // 8)).astype(np.float32)
        base = cv2.resize(coarse, (width, height)) + rng.normal(0, 0.3, size) + 1.2 * (labels == ANOMALY)
        yield KINDS[kind]((base + 0.3 * rng.normal()).astype(np.float32)).astype(np.float32), labels


def _measure(kind: str, images: int, size: tuple[int, int]) -> list[str]:
    from benchmark.metrics import PixelEvaluator, View
    from benchmark.metrics.pooled import BUDGET

    def sample() -> PixelEvaluator:
        return PixelEvaluator(["pooled"], budget=[kept * images // LARGE for kept in BUDGET])

    whole, sampled, shards = PixelEvaluator(["pooled"]), sample(), [sample() for _ in range(SHARDS)]
    truth, scores = [], []
    for index, (score, labels) in enumerate(score_maps(kind, images, size)):
        for evaluator in (whole, sampled, shards[index % SHARDS]):
            evaluator.update(View(f"{index}", score, labels))
        truth.append(labels.ravel() == 254)
        scores.append(score.ravel())
    reference = _scikit_learn(np.concatenate(truth), np.concatenate(scores))
    metrics = ("auroc", "aupr", "fpr95")
    found = [evaluator.result("pooled") for evaluator in (whole, sampled)]
    errors = [abs(getattr(each, m) - r) for each in found for m, r in zip(metrics, reference, strict=True)]
    bounds = [getattr(found[1].sampling, m) for m in metrics]
    order = np.random.default_rng(0).permutation(SHARDS)
    merged = shards[order[0]]
    for shard in order[1:]:
        merged.merge(shards[shard])
    same = repr(merged.result("pooled")) == repr(found[1]) and _counts_equal(merged, sampled)
    numbers = ["0" if v < 1e-12 else f"{v:.0e}" for v in (*errors, *bounds)]
    return [*numbers, f"{whole.pooled_bytes / 2**20:.1f}", "equal" if same else "DIFFERENT"]


def _counts_equal(first, second) -> bool:
    a, b = first.state(), second.state()
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a if key != "header")


def _scikit_learn(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float, float]:
    """AUROC, AP and the false-positive rate at the first recall of at least 95 %."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    return (
        roc_auc_score(truth, scores),
        average_precision_score(truth, scores),
        float(fpr[np.argmax(tpr >= 0.95)]),
    )
