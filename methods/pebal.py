"""PEBAL: a further output for "I abstain", whose price per pixel is the energy."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Handle, Need, Networks
from benchmark.network import NetworkSpec, ScaleOutputs
from benchmark.progress import say
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData, Task
from benchmark.training.segmentation import closed_set, on_one_grid, validation_scale
from benchmark.values import Fraction

from ._head import Head
from ._outliers import OutlierExposure, inlying, mean_where, outlying, smooth, with_logits
from ._sketch import QuantileSketch

ENERGY, OUTLIERS, SPARSITY = 0.1, 0.1, 5e-4
SMOOTHNESS = 3e-6 * 8 * 900**2
"""The authors' 3e-6 is of a sum over a batch of 8 crops of 900x900 pixels; this is of the mean."""
CHEAPEST = 1.0
"""Least price of abstention, at which it pays as much as being right. The authors' network never comes so near to
logsumexp = 0; one with small logits would learn to be there and to abstain everywhere, if that paid more."""


class PEBAL(OutlierExposure):
    r"""Pixel-wise energy-biased abstention: ``s = G(-logsumexp_c z_c)``, c the classes, G a Gaussian.

    G has 7x7 pixels and deviation 1. The last layers of the network get a further output, abstention (index C), and are
    trained on, the rest frozen, on images with pasted objects. With p the softmax over C + 1, ``E = -logsumexp_c z_c``
    over C and ``a^2 = max(1, G(E^2))``, the loss is

        mean_known -log(p_y + p_C / a^2)          over the images without and over those with objects
        + 0.1 mean_{pasted, c} -log(p_c + p_C / a^2)
        + 0.1 (1/2 mean_known relu(E - m_in)^2 + 1/2 mean_pasted relu(m_out - E)^2 + 5e-4 ||E_pasted||
               + smoothness of E)

    (the energy term of a batch without pasted objects is ``mean_known relu(E - m_in)^2`` and the smoothness). The
    further output is used in training only. The energies of several test scales are those of their mean logits. The
    mIoU after training stands in the record's `fit`.

    Args:
        tap: the layers behind this feature are trained: of a PSPNet "ppm_cat", its last two convolutions, which are
            nearest to the authors' choice; "penultimate" is the last convolution alone, of any network. A run takes
            that, and says so in the method's label, where the network is no PSPNet and nobody states it.
        m_in, m_out: margins of the energy of known pixels and of outliers. The authors' -12 and -6 are of their
            network; "none" takes the median energy of the training images, and halfway from there to 0.
        outlier_term: "paper", or "released", which takes the logarithm twice and so is a constant without gradient.
        share: of the images that get objects; 0 is the ablation without outliers.
        cutouts: as of every such method (:class:`~benchmark.methods._outliers.OutlierExposure`).

    Source: Tian et al., "Pixel-wise Energy-biased Abstention Learning for Anomaly Segmentation on Complex Urban Driving
        Scenes", ECCV 2022 (arXiv 2111.12264); tianyu0207/PEBAL, whose frozen normalisations drift in training, which
        ours do not.
    """

    title = "PEBAL"
    paper = "Tian et al., ECCV 2022"
    version = 2  # 1 let a^2 fall to 0.001, so that abstaining everywhere was the best of all on CamVid-OOD
    elsewhere: ClassVar[Mapping[str, Any]] = {"tap": PENULTIMATE}
    recipes: Mapping[str, Recipe] = {
        # Factors of scale are drawn between the authors' smallest and largest; they mirror 4 of 5 images, not 1 of 2.
        "pebal": Recipe(
            task="pebal",
            epochs=40,
            steps_per_epoch=0,
            optimiser="adam",
            lr=1e-5,
            weight_decay=0.0,
            scale_range=(0.5, 2.0),
            crop=(900, 900),
            aux_weight=0.0,
            label_size="full",
        )
    }
    light: Mapping[str, LightRecipe] = {
        "pebal": LightRecipe(epochs=0.5, segmentation=True, changes={**FAST, "lr": 1e-3, "label_size": "half"})
    }

    def __init__(
        self,
        tap: str = "ppm_cat",
        m_in: float | None = None,
        m_out: float | None = None,
        outlier_term: Literal["paper", "released"] = "paper",
        share: Fraction = 0.1,
        cutouts: str = "",
    ) -> None:
        super().__init__(share, cutouts)
        if tap not in ("ppm_cat", PENULTIMATE):
            raise ValueError(f"tap is ppm_cat or {PENULTIMATE}.")
        if (m_in is None) is not (m_out is None) or (m_in is not None and m_out is not None and m_in > m_out):
            raise ValueError("m_in and m_out are given together, m_in the smaller, or neither.")
        self.tap, self.m_in, self.m_out, self.outlier_term = tap, m_in, m_out, outlier_term
        self._energies: tuple[QuantileSketch, ...] = ()  # while observing

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        otherwise = f"tap={PENULTIMATE} takes any network with a penultimate layer"
        return {"base": Need(base, (self.tap,), otherwise)}

    def build(self, networks: Networks) -> None:
        weight, bias = Head(networks).affine()
        classes, width = weight.shape
        last = nn.Conv2d(width, classes + 1, 1)
        for values, known in ((last.weight, weight[:, :, None, None]), (last.bias, bias)):
            values.data = torch.cat([known, torch.zeros_like(known[:1])]).detach().clone()
        layers = [] if self.tap == PENULTIMATE else list(networks["base"].module.conv_last[:-1])
        self.final = nn.Sequential(*copy.deepcopy(layers), last)
        self.register_buffer("margins", torch.zeros(2))

    @property
    def observes(self) -> bool:
        return self.m_in is None

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._energies = self._energies or (QuantileSketch(),)
        for scale in networks["base"](batch).scales:
            self._energies[0].add(-torch.logsumexp(scale.logits, dim=1).cpu())

    def fit(self, data: FitData, networks: Networks) -> None:
        if self.m_in is None:
            if not self._energies:
                raise BenchmarkError("there are no training images, so there is no median energy to take as a margin.")
            median, self._energies = self._energies[0].quantile(0.5), ()
            margins = (median, median + abs(median) / 2)
            say(f"{data.title}: margins m_in={margins[0]:.4g} and m_out={margins[1]:.4g}", data.machine)
        else:
            margins = (self.m_in, self.m_out)
        self.margins.copy_(torch.tensor(margins))
        self.final.requires_grad_(True)
        data.train(Abstention(self, networks["base"], data), data.recipes["pebal"])

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = networks["base"](batch)
        outputs = with_logits(outputs, (self.final(scale.taps[self.tap])[:, :-1] for scale in outputs.scales))
        return smooth(-torch.logsumexp(outputs.logits(), dim=1))


class Abstention(Task):
    """The last layers under PEBAL's losses."""

    def __init__(self, method: PEBAL, base: Handle, data: FitData) -> None:
        super().__init__()
        self.final = method.final
        self.pasting = method.pasting(data)
        self.classes, self.outlier_term = data.train_set.classes, method.outlier_term
        self.margins: tuple[float, float] = tuple(method.margins.tolist())
        self._base, self._tap, self.stride = base, method.tap, base.module.stride

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        network = self._base.module
        tap = network.tap(self._tap)
        with torch.no_grad():
            features = network(network.prepare(batch.images).inputs, (tap,))[tap]
        logits, labels = on_one_grid(self.final(features), batch.labels, self.recipe.label_size)
        abstention = abstention_loss(logits, labels, len(self.classes), self.outlier_term == "released")
        energy = energy_loss(-torch.logsumexp(logits[:, :-1], dim=1), labels, *self.margins)
        return {"loss": abstention + ENERGY * energy, "abstention": abstention, "energy": energy}

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean IoU with the trained layers."""
        network = self._base.module

        def segment(batch: Batch) -> ScaleOutputs:
            scale = network.segment(batch.images, *validation_scale(self.recipe), (self._tap,))
            logits = self.final(scale.taps[self._tap])[:, :-1].float()
            return ScaleOutputs(logits, {}, scale.padded, scale.covers)

        return closed_set(batches, self.classes, segment)


def abstention_loss(logits: Tensor, labels: Tensor, classes: int, released: bool = False) -> Tensor:
    """PEBAL's loss without the energy term, of logits (B, C + 1, H, W) and labels (B, H, W).

    Args:
        logits: abstention last.
        labels: uint8.
        classes: labels below it are known classes.
        released: the logarithm of the outlier term is taken twice.
    """
    log_p = F.log_softmax(logits, dim=1)
    price = smooth(torch.logsumexp(logits[:, :-1], dim=1).square()).clamp(min=CHEAPEST)
    log_q = torch.logaddexp(log_p[:, :-1], (log_p[:, -1] - price.log())[:, None])  # log(p_c + p_C / a^2)
    known, outside = labels < classes, outlying(labels)
    own = -log_q.gather(1, labels.long().masked_fill(~known, 0)[:, None])[:, 0]
    mixed = outside.any(dim=2, keepdim=True).any(dim=1, keepdim=True)  # images with an object
    every = (log_q.clamp(min=1e-7).log() if released else log_q).mean(dim=1)
    return mean_where(own, known & ~mixed) + mean_where(own, known & mixed) - OUTLIERS * mean_where(every, outside)


def energy_loss(energy: Tensor, labels: Tensor, m_in: float, m_out: float) -> Tensor:
    """Squared hinges of the energies (B, H, W), the norm of those of outliers and the smoothness of all."""
    outside = outlying(labels)
    loss = mean_where((energy - m_in).relu().square(), inlying(labels))
    if outside.any():
        loss = (loss + mean_where((m_out - energy).relu().square(), outside)) / 2 + SPARSITY * energy[outside].norm()
    steps = energy.diff(dim=1).square().sum() + energy.diff(dim=2).square().sum()
    return loss + SMOOTHNESS * steps / (2 * energy.numel())
