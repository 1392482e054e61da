"""RPL: a block beside the frozen network learns what to add to its features where something unknown is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.method import PENULTIMATE, Batch, Handle, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData, Task
from benchmark.training.segmentation import nearest, on_one_grid
from benchmark.training.task import make_optimiser
from benchmark.values import Fraction

from ._head import Head
from ._outliers import OutlierExposure, inlying, mean_where, outlying, smooth

RATES = (12, 24, 36)
OUTLIERS = 0.05
ANCHORS, TEMPERATURE, EMBEDDING = 512, 0.1, 304


class RPL(OutlierExposure):
    r"""Residual pattern learning: ``s = G(-logsumexp_c z'_c)``, ``z' = W (f + r) + b``, G a Gaussian.

    G has 7x7 pixels and deviation 1; f are the penultimate features, W and b the last layer, all of them frozen; r is
    what a block of dilated convolutions gives for an inner feature. The segmentation stays that of z, so that it loses
    nothing. With p and p' the softmax of z and z', H the entropy, the block is trained on images with pasted objects by

        mean_known [ CE(z', argmax z) + (H(p') - H(p))^2 ] + 0.05 mean_pasted relu(logsumexp_c z'_c)

    Labels only tell what is known. The block begins at r = 0, where s is the smoothed energy. With several test scales,
    z' is averaged over them at full size.

    Args:
        tap: what the block sees, of a PSPNet "layer4", the end of its encoder; other features by their name. A run
            takes "penultimate", and says so in the method's label, where the network has no such layer and nobody
            states another.
        corocl: add a contrastive term between the features of outliers and of known cells, where two images of a batch
            have outliers. The authors compare with whole images of COCO as well, which are not here, so this is half
            of their term.
        share: of the images that get objects; 0 is the ablation without outliers, whose score stays near the energy.
        cutouts: as of every such method (:class:`~benchmark.methods._outliers.OutlierExposure`).

    Source: Liu et al., "Residual Pattern Learning for Pixel-wise Out-of-Distribution Detection in Semantic
        Segmentation", ICCV 2023 (arXiv 2211.14512); yyliu01/RPL, whose checkpoints were chosen on evaluation sets.
    """

    title = "RPL"
    paper = "Liu et al., ICCV 2023"
    needs_classes = False
    elsewhere: ClassVar[Mapping[str, Any]] = {"tap": PENULTIMATE}
    recipes: Mapping[str, Recipe] = {
        "rpl": Recipe(
            task="rpl",
            epochs=40,
            steps_per_epoch=0,
            optimiser="adam",
            lr=7.5e-5,
            weight_decay=0.0,
            crop=(700, 700),
            aux_weight=0.0,
            label_size="full",
        )
    }
    # The authors' rate stays: the loss does not see when all logits of a pixel fall together, and at 4 and 13 times
    # that rate a small network found this way out: on pasted validation images energies of known pixels were all over.
    light: Mapping[str, LightRecipe] = {
        "rpl": LightRecipe(epochs=0.5, segmentation=True, changes={**FAST, "label_size": "half"})
    }

    def __init__(self, tap: str = "layer4", corocl: bool = False, share: Fraction = 1.0, cutouts: str = "") -> None:
        super().__init__(share, cutouts)
        self.tap = tap
        self.corocl = corocl

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        otherwise = f"tap={PENULTIMATE} takes any network with a penultimate layer"
        return {"base": Need(base, (self.tap, PENULTIMATE), otherwise)}

    def build(self, networks: Networks) -> None:
        base = networks["base"]
        self.head = Head(networks)
        self.block = Residual(base.channels(self.tap), base.channels(PENULTIMATE))

    def fit(self, data: FitData, networks: Networks) -> None:
        self.block.requires_grad_(True)
        data.train(Patterns(self, networks["base"], data), data.recipes["rpl"])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = networks["base"](batch)
        total: Tensor | None = None
        for scale in outputs.scales:
            features = scale.taps[PENULTIMATE]
            logits = self.head.logits(features + self.block(scale.taps[self.tap], features)[0].float())
            full = self.head.upsampled(scale, logits, outputs.size)
            total = full if total is None else total + full
        assert total is not None
        return smooth(-torch.logsumexp(total / len(outputs.scales), dim=1))


class Residual(nn.Module):
    """What is added to the penultimate features: dilated convolutions side by side (ASPP), joined, and two 1x1 layers.

    Args:
        channels: of what it sees; inside it has 256, or as many as these where they are fewer.
        width: of what it gives.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        inner = min(256, channels)

        def layer(depth: int, kernel: int = 1, rate: int = 1) -> nn.Sequential:
            convolution = nn.Conv2d(depth, inner, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(inner), nn.ReLU())

        self.branches = nn.ModuleList([layer(channels), *(layer(channels, 3, rate) for rate in RATES)])
        # Not normalised: of one value per image there is no variance in a batch of one image.
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), nn.ReLU())
        self.joined = layer((len(RATES) + 2) * inner)
        self.last = nn.Conv2d(inner, width, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, deep: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """The residual (B, D, h, w) on the grid of the features, and the layer before it (B, inner, h', w')."""
        context = self.pooled(deep).expand(-1, -1, *deep.shape[-2:])
        joined = self.joined(torch.cat([*(branch(deep) for branch in self.branches), context], dim=1))
        residual = self.last(joined)
        if residual.shape[-2:] != features.shape[-2:]:
            residual = F.interpolate(residual, features.shape[-2:], mode="bilinear", align_corners=False)
        return residual, joined


class Patterns(Task):
    """The block under RPL's losses."""

    def __init__(self, method: RPL, base: Handle, data: FitData) -> None:
        super().__init__()
        self.block = method.block
        self.projection = nn.Conv2d(method.block.last.in_channels, EMBEDDING, 1) if method.corocl else None
        self.pasting = method.pasting(data)
        self._head, self._base, self._tap, self.stride = method.head, base, method.tap, base.module.stride

    def optimisers(self, recipe: Recipe) -> list[torch.optim.Optimizer]:
        """The last layer, which begins at 0, learns ten times as fast."""
        first, *others = (module for module in self.block.children() if module is not self.block.last)
        trunk = nn.ModuleList([first, *others, *([self.projection] if self.projection else [])])
        return [make_optimiser(trunk, recipe), make_optimiser(self.block.last, recipe, 10 * recipe.lr)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        network, size = self._base.module, self.recipe.label_size
        tap, penultimate = network.tap(self._tap), network.tap(PENULTIMATE)
        with torch.no_grad():
            maps = network(network.prepare(batch.images).inputs, tuple({tap, penultimate}))
        residual, joined = self.block(maps[tap], maps[penultimate])
        vanilla, labels = on_one_grid(maps["logits"], batch.labels, size)
        logits, _ = on_one_grid(self._head.logits(maps[penultimate] + residual), batch.labels, size)
        known, outliers = pattern_losses(logits, vanilla, labels)
        losses = {"loss": known + OUTLIERS * outliers, "known": known, "outliers": outliers}
        if self.projection is not None:
            losses["contrast"] = self._contrast(self.projection(joined), nearest(batch.labels, joined.shape[-2:]))
            losses["loss"] = losses["loss"] + losses["contrast"]
        return losses

    def _contrast(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Of random cells of the images with outliers; 0 where these are fewer than two."""
        cells = F.normalize(embeddings.float(), dim=1).permute(0, 2, 3, 1)
        outside, mixed = outlying(labels), outlying(labels).any(dim=2).any(dim=1)
        kinds = [cells[outside], cells[inlying(labels) & mixed[:, None, None]]]
        count = min(ANCHORS, *map(len, kinds))
        if mixed.sum() < 2 or count < 2:
            return 0 * embeddings.sum()
        first, second = (kind[torch.randperm(len(kind), device=kind.device)[:count]] for kind in kinds)
        return info_nce(first, second)


def pattern_losses(logits: Tensor, vanilla: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """RPL's loss of known pixels and of outliers, unweighted; logits with and without residual are (B, C, H, W)."""
    kept = F.cross_entropy(logits, vanilla.argmax(dim=1), reduction="none")
    kept = kept + (_entropy(logits) - _entropy(vanilla)).square()
    return mean_where(kept, inlying(labels)), mean_where(torch.logsumexp(logits, dim=1).relu(), outlying(labels))


def _entropy(logits: Tensor) -> Tensor:
    p = logits.softmax(dim=1).clamp(min=1e-7)
    return -(p * p.log()).sum(dim=1)


def info_nce(first: Tensor, second: Tensor) -> Tensor:
    """Contrast of two kinds of unit vectors, (n, D) each: the same kind attracts, the other repels.

    For an anchor i the mean over the j of its kind, j != i, of ``-log(e^{x_ij} / (e^{x_ij} + sum_k e^{x_ik}))``, k of
    the other kind and x the cosine over the temperature.
    """
    losses = []
    for own, other in ((first, second), (second, first)):
        pairs = own @ own.T / TEMPERATURE
        against = torch.logsumexp(own @ other.T / TEMPERATURE, dim=1, keepdim=True)
        terms = torch.logaddexp(pairs, against) - pairs
        losses.append(terms[~torch.eye(len(own), dtype=torch.bool, device=own.device)].mean())
    return (losses[0] + losses[1]) / 2
