"""Task: what a training learns. The loop knows nothing else of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from benchmark.data import Batch
from benchmark.distributed import average_gradients
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine, autocast
from benchmark.network import Network
from benchmark.recipe import Recipe
from benchmark.training.pasting import Pasting


class Task(nn.Module, ABC):
    """Something to learn. Children, parameters and buffers are what is trained and what survives a kill.

    Only :meth:`loss` must be written. State that belongs to the training (TRADI's statistics) is a buffer, not a plain
    attribute, else it is lost at a resume. A frozen network that merely helps (a teacher) must not be a child: it would
    be put in training mode and saved with every state; keep the handle (``networks["base"]``) or a tuple around it and
    call it under ``torch.no_grad()``.

    Several processes share the forwards of children and of networks (:mod:`benchmark.training.sharing`): a child treats
    images one by one, batch normalisation aside; what relates them to each other belongs into the loss.
    """

    stride: int = 8
    """Images are padded (replicated, labels ignored) to multiples of this before they get here."""
    pasting: Pasting | None = None
    """Pastes outlier objects into the training images before they are augmented; validation images stay as they are."""
    machine: Machine | None = None
    """Set by the loop before the first step, as is `recipe`."""
    recipe: Recipe

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor | dict[str, Tensor]:
        """What is minimised: a scalar, or a dict whose "loss" is minimised and whose other entries are reported.

        Args:
            batch: augmented, uint8, on the device, sides multiples of `stride`.
        """

    def optimisers(self, recipe: Recipe) -> list[torch.optim.Optimizer]:
        """One optimiser from the recipe over all parameters that require gradients.

        Encoders of networks among them whose weights are pretrained learn at ``recipe.encoder_lr`` times the rate.
        The schedule multiplies each group's own learning rate, so a task with several optimisers sets their ratio here.
        """
        return [make_optimiser(self, recipe)]

    def step(self, batch: Batch, optimisers: list[torch.optim.Optimizer]) -> Mapping[str, Tensor]:
        """One optimiser step. Override it where one loss does not suffice (a GAN: two losses, two optimisers).

        Returns:
            what to report, scalars on the device; "loss" first. They are checked for NaN.
        """
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        with self.autocast():
            result = self.loss(batch)
        losses = result if isinstance(result, dict) else {"loss": result}
        losses["loss"].backward()
        for optimiser in optimisers:
            average_gradients(optimiser)
            optimiser.step()
        return {name: value.detach() for name, value in losses.items()}

    def after_step(self, step: int, lr: float) -> None:
        """Called after every optimiser step, without gradients; ``parameter.grad`` is still that step's.

        Args:
            step: index of the step that was just made.
            lr: the recipe's learning rate in that step.
        """

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Values on the validation split, the headline first. Called in eval mode, without gradients, autocast set.

        Args:
            batches: native size, not augmented, on the device.
        """
        return {}

    def autocast(self) -> torch.autocast:
        """Context of a forward pass at the training's precision; the inherited :meth:`step` sets it around the loss."""
        if self.machine is None:
            return autocast(torch.device("cpu"), "fp32")
        return autocast(self.machine.device, self.machine.precision)


def make_optimiser(module: nn.Module, recipe: Recipe, lr: float | None = None) -> torch.optim.Optimizer:
    """The recipe's optimiser; weight decay acts on convolution and linear weights only, unless `decay_everything`.

    On CUDA a step is one kernel for all weights ("fused"). On a CPU it is the plain one, which takes a hundredth of a
    training step there: the fused one rounds otherwise, and states and results of CPUs stay what they are.

    Args:
        module: its parameters that require gradients are optimised; those of a pretrained encoder of a network in it
            learn at ``recipe.encoder_lr`` times the rate.
        recipe: optimiser, learning rate, momentum, betas, decay.
        lr: another initial learning rate than the recipe's.
    Raises:
        BenchmarkError: no such optimiser, or nothing to optimise.
    """
    decayed, plain = split_by_decay(module, recipe.decay_everything)
    rate = recipe.lr if lr is None else lr
    begun: set[int] = set()
    if recipe.encoder_lr != 1:
        networks = [part for part in module.modules() if isinstance(part, Network) and part.pretrained]
        begun = {id(parameter) for network in networks for parameter in network.encoder.parameters()}
    groups = [
        {"params": chosen, "weight_decay": decay, "lr": rate * (recipe.encoder_lr if pretrained else 1)}
        for parameters, decay in ((decayed, recipe.weight_decay), (plain, 0.0))
        for pretrained in (False, True)
        if (chosen := [p for p in parameters if (id(p) in begun) == pretrained])
    ]
    if not groups:
        raise BenchmarkError(
            f"The {recipe.task} task {type(module).__name__} has no parameter that requires gradients."
        )
    fused = all(parameter.is_cuda for parameter in (*decayed, *plain)) or None
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
    if recipe.optimiser in ("adam", "adamw"):
        kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
        return kind(groups, rate, betas=tuple(recipe.betas), fused=fused)
    raise BenchmarkError(
        f"The {recipe.task} recipe's optimiser '{recipe.optimiser}' does not exist; it is sgd, adam or adamw."
    )


def scheduled(task: Task, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """A task's optimisers, each group of which keeps as "initial_lr" the rate that the schedule multiplies."""
    optimisers = task.optimisers(recipe)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return optimisers


def split_by_decay(module: nn.Module, everything: bool = False) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters that decay, and those that do not; a shared one counts once and decays if it may."""
    weights = {
        id(child.weight) for child in module.modules() if isinstance(child, (nn.Linear, nn.modules.conv._ConvNd))
    }
    decayed, plain = [], []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (decayed if everything or id(parameter) in weights else plain).append(parameter)
    return decayed, plain
