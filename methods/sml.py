"""Standardised maximum logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Networks
from benchmark.training import FitData

BOUNDARY_RADII = (3, 2, 1, 0)
"""By how many pixels (L1) the boundary is widened in each iteration of the suppression."""
KERNEL, SIGMA, DILATION = 7, 1.0, 6
"""The smoothing Gaussian: taps per side, standard deviation in taps, pixels between taps."""


class SML(Method):
    r"""Standardised max logits: ``s = -(m - mu_y) / sigma_y`` with ``m = max_c z_c`` and ``y = argmax_c z_c``.

    ``mu_y`` and ``sigma_y`` are the mean and standard deviation of m over all pixels of the training images that are
    predicted as y, at test resolution; labels are not used. A class that is (nearly) never predicted there takes the
    statistics of all pixels. With several test scales, logits are averaged first.

    Args:
        boundary: iterative boundary suppression (:func:`suppress_boundaries`).
        smoothing: dilated Gaussian smoothing (:func:`smooth`), after it.

    Source: Jung et al., "Standardized Max Logits", ICCV 2021; shjung13/Standardized-max-logits, whose released
        statistics come from 200 augmented crops instead.
    """

    title = "SML"
    paper = "Jung et al., ICCV 2021"
    score_options = frozenset({"boundary", "smoothing"})
    needs_classes = False

    def __init__(self, boundary: bool = True, smoothing: bool = True) -> None:
        super().__init__()
        self.boundary = boundary
        self.smoothing = smoothing
        self._moments: Tensor | None = None  # while observing: n, mean, sum of squared deviations; (3, C)

    def build(self, networks: Networks) -> None:
        classes = networks["base"].spec.classes
        self.register_buffer("mean", torch.zeros(classes))
        self.register_buffer("std", torch.ones(classes))

    def observe(self, batch: Batch, networks: Networks) -> None:
        values, classes = (t.flatten() for t in networks["base"](batch).max_logits())
        values, length = values.double(), len(self.mean)
        n = torch.bincount(classes, minlength=length).double()
        mean = torch.bincount(classes, values, length) / n.clamp(min=1)
        squares = torch.bincount(classes, (values - mean[classes]).square(), length)
        new = torch.stack([n, mean, squares])
        self._moments = new if self._moments is None else _merge(self._moments, new)

    def fit(self, data: FitData, networks: Networks) -> None:
        if self._moments is None:
            raise BenchmarkError("there are no training images, so there are no statistics to standardise by.")
        moments, self._moments = self._moments, None
        every = moments[:, 0]
        for c in range(1, moments.shape[1]):
            every = _merge(every, moments[:, c])
        own = (moments[0] > 1) & (moments[2] > 1e-12 * moments[0])
        n, mean, squares = torch.where(own, moments, every[:, None])
        self.mean.copy_(mean)
        self.std.copy_((squares / (n - 1).clamp(min=1)).sqrt().clamp(min=1e-6))

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        values, classes = networks["base"](batch).max_logits()
        standard = (values - self.mean[classes]) / self.std[classes]
        with torch.autocast(values.device.type, enabled=False):  # the convolutions would round to bfloat16
            if self.boundary:
                standard = suppress_boundaries(standard, classes)
            if self.smoothing:
                standard = smooth(standard)
        return -standard


def _merge(a: Tensor, b: Tensor) -> Tensor:
    """Moments (n, mean, sum of squared deviations) of two samples together (Chan et al. 1979)."""
    n = a[0] + b[0]
    gap, share = b[1] - a[1], b[0] / n.clamp(min=1)
    return torch.stack([n, a[1] + gap * share, a[2] + b[2] + gap.square() * a[0] * share])


def suppress_boundaries(values: Tensor, classes: Tensor) -> Tensor:
    """Replace values near class boundaries by those of the classes' insides (Jung et al., section 3.3).

    A boundary pixel is one whose largest class id among its 4 neighbours and itself differs from the smallest in its
    3x3 window. Four iterations walk inwards from the boundary widened by 3, 2, 1 and 0 pixels: each of its pixels takes
    the mean of the values outside it in its 3x3 window (border pixels repeated), or stays where there are none.

    Args:
        values: (B, H, W).
        classes: predicted classes (B, H, W).
    """
    ids = classes[:, None].float()
    edge = (_cross_dilation(ids) != -F.max_pool2d(-ids, 3, 1, 1)).float()
    widened = [edge]
    while len(widened) <= max(BOUNDARY_RADII):
        widened.append(_cross_dilation(widened[-1]))
    values = values[:, None]
    for radius in BOUNDARY_RADII:
        inside = 1 - widened[radius]
        # Averages over the window of 9; their ratio is the mean over the pixels inside.
        total, count = (F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1) for x in (values * inside, inside))
        values = torch.where((inside == 0) & (count > 0), total / count.clamp(min=1e-6), values)
    return values[:, 0]


def _cross_dilation(x: Tensor) -> Tensor:
    """Largest value among a pixel and its 4 neighbours; r times in a row it reaches the L1 ball of radius r."""
    return torch.maximum(F.max_pool2d(x, (1, 3), 1, (0, 1)), F.max_pool2d(x, (3, 1), 1, (1, 0)))


def smooth(values: Tensor) -> Tensor:
    """Dilated Gaussian of (B, H, W): 7x7 taps 6 pixels apart, border pixels repeated."""
    half = KERNEL // 2
    taps = torch.arange(-half, half + 1, dtype=values.dtype, device=values.device)
    taps = (-(taps**2) / (2 * SIGMA**2)).exp()
    taps = (taps / taps.sum()).view(1, 1, 1, KERNEL)
    margin = half * DILATION
    values = F.pad(values[:, None], (margin,) * 4, mode="replicate")
    rows = F.conv2d(values, taps, dilation=DILATION)
    return F.conv2d(rows, taps.mT, dilation=DILATION)[:, 0]
