"""Plain, slow, obvious implementations that the metrics are checked against, and score maps to check them on."""

import numpy as np


def roc_points(y, s):
    """[(recall, fpr, threshold)] at every distinct score, from the highest down."""
    return [((s[y] >= t).sum() / y.sum(), (s[~y] >= t).sum() / (~y).sum(), t) for t in np.unique(s)[::-1]]


def nearest(points):
    """The point that the StreetHazards evaluation picks.

    Walk the curve from its first point of full recall upwards in threshold; keep the first point whose recall is
    closest to .95.
    """
    full = next(i for i, (recall, _, _) in enumerate(points) if recall == 1)
    best = points[full]
    for point in reversed(points[:full]):
        if abs(point[0] - 0.95) < abs(best[0] - 0.95):
            best = point
    return best


def interpolated(points):
    recall, fpr, _ = zip((0.0, 0.0, None), *points)
    return np.interp(0.95, recall, fpr)


RULES = {
    "nearest": lambda points: nearest(points)[1],
    "first_ge": lambda points: next(fpr for recall, fpr, _ in points if recall >= 0.95),
    "first_gt": lambda points: next(fpr for recall, fpr, _ in points if recall > 0.95),
    "interpolated": interpolated,
}


def ranks(s):
    """Order-preserving integers; scikit-learn refuses infinities."""
    return np.unique(s, return_inverse=True)[1]


def labels_of(y):
    """Label map (1, n) with anomalies at the true pixels."""
    return np.where(y, 254, 0).astype(np.uint8)[None]


def smooth(rng, shape, cell=8):
    """Smooth noise: coarse normal noise, repeated, plus a little fine noise."""
    coarse = rng.normal(size=tuple(-(-n // cell) for n in shape))
    fine = rng.normal(size=shape)
    return np.kron(coarse, np.ones((cell, cell)))[: shape[0], : shape[1]] + 0.3 * fine


def score_map(kind, rng, shape):
    """(scores float32, labels) of one image for a kind of score with its typical distribution."""
    labels = np.zeros(shape, np.uint8)
    h, w = shape[0] // 5, shape[1] // 5
    y, x = rng.integers(0, shape[0] - h), rng.integers(0, shape[1] - w)
    labels[y : y + h // 2, x : x + w // 2] = 254
    base = smooth(rng, shape) + 1.2 * (labels == 254) + 0.3 * rng.normal()
    if kind == "softmax":
        scores = -1 / (1 + np.exp(2 * base.astype(np.float32) - 7))  # most pixels are confident: close to -1
    elif kind == "logit":
        scores = 3 * base - 9
    elif kind == "energy":
        scores = 2 * base + 1000
    elif kind == "distance":
        scores = np.exp(1.5 * base) * 40
    elif kind == "heavy":
        scores = np.sinh(3 * base) ** 3
    elif kind == "float16":
        scores = base.astype(np.float16)
    return scores.astype(np.float32), labels


KINDS = ("softmax", "logit", "energy", "distance", "heavy", "float16")
