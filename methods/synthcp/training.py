"""Training the generator: adversarial, on ground-truth label maps of normal images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import Batch
from benchmark.distributed import average_gradients
from benchmark.recipe import Recipe
from benchmark.training import Task
from benchmark.training.segmentation import nearest
from benchmark.training.task import make_optimiser

from .discriminator import Discriminator
from .perceptual import Perceptual
from .spade import Generator, one_hot

MATCHING = 10.0
"""Weight of the L1 distance between the discriminator's features of synthesis and image."""
PERCEPTUAL = 10.0
"""Weight of the L1 distance between VGG's features of both."""


class Synthesis(Task):
    """Generator G against discriminator D with the hinge loss, feature matching and, at hand, the perceptual loss.

    G minimises ``-mean D(G(m)) + 10 matching + 10 perceptual``, D minimises
    ``mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(m)))``, each averaged (feature matching too) over D's two scales. In
    every step G learns first, then D judges a new synthesis. The rates are those of two time scales: half the recipe's
    for G, twice it for D.

    Args:
        generator: what is wanted.
        classes: C.
        width: channels of the discriminator's first convolution.
        perceptual: frozen, on the device of the training, or None.

    Source: Park et al., CVPR 2019, section 3 and appendix; Heusel et al., NeurIPS 2017 (two time scales).
    """

    stride = 1

    def __init__(self, generator: Generator, classes: int, width: int, perceptual: Perceptual | None = None) -> None:
        super().__init__()
        self.classes = classes
        self.generator = generator
        self.discriminator = Discriminator(classes, width)
        self._perceptual = (perceptual,)  # in a tuple: a child module would be put in training mode and saved

    def optimisers(self, recipe: Recipe) -> list[torch.optim.Optimizer]:
        return [
            make_optimiser(self.generator, recipe, recipe.lr / 2),
            make_optimiser(self.discriminator, recipe, recipe.lr * 2),
        ]

    def examples(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One-hot label maps and images in [-1, 1] at the generator's size, whatever the aspect of the batch."""
        size = self.generator.size
        images = F.interpolate(batch.images.float(), size, mode="bicubic", align_corners=False, antialias=True)
        return one_hot(nearest(batch.labels, size), self.classes), images.clamp(0, 255) / 127.5 - 1

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The generator's."""
        return self._generator_losses(*self.examples(batch))

    def step(self, batch: Batch, optimisers: list[torch.optim.Optimizer]) -> Mapping[str, Tensor]:
        generate, discriminate = optimisers
        maps, images = self.examples(batch)
        # The discriminator's own gradients are of no use in the generator's half of the step.
        self.discriminator.requires_grad_(False)
        with self.autocast():
            losses = self._generator_losses(maps, images)
        _descend(losses["loss"], generate)
        self.discriminator.requires_grad_(True)
        with self.autocast():
            losses["discriminator"] = self._discriminator_loss(maps, images)
        _descend(losses["discriminator"], discriminate)
        return {name: value.detach() for name, value in losses.items()}

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean absolute difference of synthesis and image, both in [-1, 1], over all pixels and colours."""
        total = count = 0.0
        for batch in batches:
            maps, images = self.examples(batch)
            total += float((self.generator(maps).float() - images).abs().double().sum())
            count += images.numel()
        return {"l1": total / count} if count else {}

    def _generator_losses(self, maps: Tensor, images: Tensor) -> dict[str, Tensor]:
        synthesis = self.generator(maps).float()
        found = self.discriminator(maps, synthesis)
        with torch.no_grad():
            wanted = self.discriminator(maps, images)
        losses = {
            "adversarial": -sum(layers[-1].float().mean() for layers in found) / len(found),
            "matching": sum(
                F.l1_loss(a.float(), b.float())
                for ours, theirs in zip(found, wanted, strict=True)
                for a, b in zip(ours[:-1], theirs[:-1], strict=True)
            )
            / len(found),
        }
        total = losses["adversarial"] + MATCHING * losses["matching"]
        (perceptual,) = self._perceptual
        if perceptual is not None:
            losses["perceptual"] = perceptual(synthesis, images)
            total = total + PERCEPTUAL * losses["perceptual"]
        return {"loss": total, **losses}

    def _discriminator_loss(self, maps: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad():
            synthesis = self.generator(maps).float()
        real, fake = self.discriminator(maps, images), self.discriminator(maps, synthesis)
        hinges = [
            F.relu(1 - a[-1].float()).mean() + F.relu(1 + b[-1].float()).mean() for a, b in zip(real, fake, strict=True)
        ]
        return sum(hinges) / len(hinges)


def _descend(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    average_gradients(optimiser)
    optimiser.step()
