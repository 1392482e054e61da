"""ABNN: a trained network becomes a Bayesian one, whose normalisation layers have random gains."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from benchmark.data import Batch
from benchmark.errors import BenchmarkError
from benchmark.method import Method, Networks
from benchmark.network import Network, Outputs, ScaleOutputs
from benchmark.recipe import FAST, LightRecipe, Recipe
from benchmark.training import FitData, Segmentation, run_seed, seeded
from benchmark.training.segmentation import cross_entropy, on_one_grid
from benchmark.values import Amount, Range

from ._confidence import negative_log_max

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class ABNN(Method):
    r"""Adaptable Bayesian network: ``p = 1/(M L) sum_{m,l} softmax(z_{m,l})``, ``s = -log max_c p_c``.

    In every normalisation layer the gain gamma of a channel becomes ``gamma (1 + sigma eps)``, eps ~ N(0, 1), drawn
    anew for each forward. M copies of the shared network are trained on for a short time under this noise, each by the
    cross-entropy plus the same with random weights of the classes, drawn once per copy, so that the copies differ; p is
    the mean over L draws of each. Normalisation statistics stay those of the trained network. The draws of the
    evaluation are a function of the seed, the same for all images.

    Args:
        members: M.
        draws: L.
        sigma: deviation of the noise; 0 gives deterministic copies.

    The length and the rate of the training on are this suite's: the paper's are not stated in what was read of it.

    Source: Franchi et al., "Make Me a BNN: A Simple Strategy for Estimating Bayesian Uncertainty from Pre-trained
        Models", CVPR 2024 (arXiv 2312.15297).
    """

    title = "ABNN"
    paper = "Franchi et al., CVPR 2024"
    trial: Mapping[str, Any] = {"members": 1, "draws": 2}
    recipes: Mapping[str, Recipe] = {"abnn": Recipe(task="abnn", epochs=1, lr=0.001, aux_weight=0.0)}
    light: Mapping[str, LightRecipe] = {
        "abnn": LightRecipe(epochs=0.25, segmentation=True, changes={**FAST, "lr": 2e-4, "label_size": "half"})
    }

    def __init__(
        self,
        members: Annotated[int, Range(1, 100)] = 3,
        draws: Annotated[int, Range(1, 1000)] = 4,
        sigma: Amount = 1.0,
    ) -> None:
        super().__init__()
        self.members, self.draws, self.sigma = members, draws, sigma

    def build(self, networks: Networks) -> None:
        base = networks["base"]
        if not gains(base.module):
            raise BenchmarkError(f"makes the gains of normalisations random, and {base.spec.arch} has none.")
        self.copies = nn.ModuleList(copy.deepcopy(base.module) for _ in range(self.members))
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))

    def fit(self, data: FitData, networks: Networks) -> None:
        recipe = data.recipes["abnn"]
        self.seed.fill_(run_seed(recipe))
        self.copies.requires_grad_(True)
        for index, network in enumerate(self.copies):
            with seeded(recipe, index):
                weights = torch.rand(networks["base"].spec.classes)
            task = Noisy(network, data.train_set.classes, self.sigma, weights)
            data.train(task, recipe.changed({"seed": recipe.seed + index}))

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        spec = networks["base"].spec
        total: Tensor | None = None
        for index, network in enumerate(self.copies):
            for draw in range(self.draws):
                random = torch.Generator().manual_seed(int(self.seed) * 1_000_003 + index * self.draws + draw)
                values = noisy(network, self.sigma, random)
                scales = []
                for scale in spec.scales or (0,):
                    seen = network.prepare(batch.images, scale, spec.max_size)
                    logits = functional_call(network, values, (seen.inputs,))["logits"].float()
                    scales.append(ScaleOutputs(logits, {}, seen.padded, seen.covers))
                p = Outputs(scales, batch.size).log_probabilities().exp()
                total = p if total is None else total.add_(p)
        assert total is not None
        return negative_log_max(total / (self.members * self.draws))

    @property
    def forwards(self) -> float:
        return self.members * self.draws


class Noisy(Segmentation):
    """Cross-entropy under noise, once plain and once with the copy's weights of the classes."""

    def __init__(self, network: Network, classes: tuple[str, ...], sigma: float, weights: Tensor) -> None:
        super().__init__(network, classes)
        self.sigma = sigma
        self.register_buffer("weights", weights)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        # Statistics of a batch under noise would not be those of the trained network.
        for module in self.network.modules():
            if isinstance(module, NORMS):
                module.eval()
        inputs = self.network.prepare(batch.images).inputs
        outputs = functional_call(self.network, noisy(self.network, self.sigma), (inputs,))
        logits, labels = on_one_grid(outputs["logits"], batch.labels, self.recipe.label_size)
        known = labels < len(self.classes)
        target = labels.long().masked_fill(~known, 0)
        each = F.cross_entropy(logits, target, reduction="none") * self.weights[target]
        weighted = each[known].sum() / known.sum().clamp(min=1)
        plain = cross_entropy(logits, labels, len(self.classes))
        return {"loss": plain + weighted, "plain": plain, "weighted": weighted}


def gains(network: Network) -> dict[str, nn.Parameter]:
    """The gains of all normalisations of a network, by their names as parameters."""
    found = {f"{name}.weight": part.weight for name, part in network.named_modules() if isinstance(part, NORMS)}
    return {name: gain for name, gain in found.items() if gain is not None}


def noisy(network: Network, sigma: float, random: torch.Generator | None = None) -> dict[str, Tensor]:
    """Gains with noise, ``gamma (1 + sigma eps)``, by name; of PyTorch's generator where none is given."""
    return {
        name: gain * (1 + sigma * torch.randn(gain.shape, generator=random).to(gain))
        for name, gain in gains(network).items()
    }
