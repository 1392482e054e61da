"""Nearest neighbours in a frozen encoder, whose distances a guided filter fits to the edges of the image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.method import PENULTIMATE, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData

from .knn import KNN

GRID = 4
"""Pixels of what the encoder sees to one of the grid on which lines are fitted."""


class GuidedKNN(Method):
    r"""kNN whose distances follow the edges of the image: ``s = <mean_w a, I> + mean_w b``.

    d is the mean distance to the k nearest of a bank of training features (:mod:`benchmark.methods.knn`, variant
    "mean"), by default those of a frozen pretrained encoder, upsampled to the image. A cell of the encoder is 16 pixels
    wide or more, so d fades where an object ends. The guided filter takes the image I (RGB in 0..1) for where it
    ends: in every window w, d is explained by the colours of its pixels, ::

        a_w = (Cov_w(I, I) + eps 1)^-1 Cov_w(I, d),    b_w = mean_w(d) - <a_w, mean_w(I)>,

    and every pixel has the mean of the lines of all windows that hold it, applied to its own colour. Where the colour
    does not change, a = 0, and s is d averaged twice. Nothing is normalised and nothing is learned: the filter knows
    no other image, and s stays a distance, in the units of d.

    The lines are fitted where one pixel stands for 4 x 4 of those that the encoder sees, and applied to the image at
    its own size (the fast guided filter).

    Args:
        k: number of neighbours.
        bank: largest number of training features.
        tap: the features, as of kNN: of an encoder "16+8+32" where nothing is stated.
        encoder: timm's name of the frozen encoder, with the size of the images where it is not their own
            ("tf_efficientnet_lite0-360"); empty takes the features of the shared network.
        radius: of the windows, which are 2 radius + 1 pixels of the coarse grid wide; 0 filters nothing.
        eps: variance of a colour, of values in 0..1, from which on it counts as an edge.

    Source: the neighbours as kNN; He, Sun, Tang, "Guided Image Filtering", ECCV 2010, and He, Sun, "Fast Guided
        Filter", arXiv 1505.00996, 2015. The combination is this suite's; results/README.md has its ablation.
    """

    title = "Guided kNN"
    paper = "this suite"
    score_options = frozenset({"k", "radius", "eps"})
    needs_classes = False

    def __init__(
        self,
        k: int = 3,
        bank: int = 5000,
        tap: str = PENULTIMATE,
        encoder: str = "tf_efficientnet_lite0",
        radius: int = 3,
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        if radius < 0 or not eps > 0:
            raise ValueError("radius is at least 0 and eps greater than 0.")
        self.knn = KNN("mean", k, bank, tap, encoder)
        self.radius, self.eps = radius, eps

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return self.knn.needs(base)

    def build(self, networks: Networks) -> None:
        self.knn.build(networks)

    def observe(self, batch: Batch, networks: Networks) -> None:
        self.knn.observe(batch, networks)

    def fit(self, data: FitData, networks: Networks) -> None:
        self.knn.fit(data, networks)

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        distances = self.knn.score(batch, networks)
        if not self.radius:
            return distances
        height, width = self.knn.cells.outputs(batch, networks).scales[0].covers
        grid = (-(-height // GRID), -(-width // GRID))
        return guided(distances, batch.images.float() / 255, grid, self.radius, self.eps)


def guided(values: Tensor, images: Tensor, grid: tuple[int, int], radius: int, eps: float) -> Tensor:
    """The fast guided filter.

    Args:
        values: what is filtered, (B, H, W).
        images: the guide, (B, 3, H, W), in 0..1.
        grid: (h, w), on which the lines are fitted; averages over areas lead there.
        radius: of the windows, on the grid; what would be outside counts for nothing.
        eps: added to the variances of the colours.
    Returns:
        (B, H, W).
    """

    def mean(x: Tensor) -> Tensor:
        for axis in (0, 1):
            window = tuple(2 * radius + 1 if i == axis else 1 for i in (0, 1))
            padding = tuple(radius if i == axis else 0 for i in (0, 1))
            x = F.avg_pool2d(x, window, 1, padding, count_include_pad=False)
        return x

    guide, coarse = (F.interpolate(x, grid, mode="area") for x in (images, values[:, None]))
    colour, level = mean(guide), mean(coarse)
    slope = mean(guide * coarse) - colour * level  # (B, 3, h, w)
    pairs = mean((guide[:, :, None] * guide[:, None]).flatten(1, 2)).unflatten(1, (3, 3))
    spread = pairs - colour[:, :, None] * colour[:, None] + eps * torch.eye(3, device=guide.device)[..., None, None]
    slope = torch.linalg.solve(spread.permute(0, 3, 4, 1, 2), slope.permute(0, 2, 3, 1)[..., None])[..., 0]
    slope = slope.permute(0, 3, 1, 2)
    lines = mean(torch.cat([slope, level - (slope * colour).sum(1, keepdim=True)], dim=1))
    lines = F.interpolate(lines, images.shape[-2:], mode="bilinear", align_corners=False)
    return (lines[:, :3] * images).sum(1) + lines[:, 3]
