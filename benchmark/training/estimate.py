"""How long a training will take: counted operations over a measured speed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmark.machine import autocast, products
from benchmark.network import Network, scaled_size
from benchmark.recipe import Recipe
from benchmark.training.schedule import steps_per_epoch, validations

SIDES = (256, 192, 128, 64)
"""Of the images on which speed is measured: the largest with which a step stays within these operations."""
OPERATIONS = {"cpu": 2e10, "cuda": 2e12}


def forward_flops(network: nn.Module, size: tuple[int, int], stride: int = 8) -> float:
    """Floating-point operations (2 per multiply-add) of a forward of one image of (H, W) pixels, padded to the stride.

    Nothing is computed: a copy of the network runs on meta tensors.
    """
    from torch.utils.flop_counter import FlopCounterMode  # brings triton, which only this function needs

    shadow = copy.deepcopy(network).to("meta").eval()
    height, width = (-(-side // stride) * stride for side in size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(1, 3, height, width, device="meta"))
    return float(counter.get_total_flops())


def training_size(recipe: Recipe, size: tuple[int, int]) -> float:
    """Mean number of pixels of an image of (H, W) pixels after the recipe's augmentation."""
    if recipe.crop:
        return float(recipe.crop[0] * recipe.crop[1])
    sizes = [scaled_size(size, scale, recipe.max_size) for scale in recipe.scales] or [size]
    return sum(height * width for height, width in sizes) / len(sizes)


def estimate_seconds(
    flops: float,
    size: tuple[int, int],
    recipe: Recipe,
    images: int,
    speed: float,
    frozen_flops: float = 0.0,
    validation: int = 0,
) -> float:
    """Seconds that a training will take.

    A trained network costs three forwards per image (one forward, two convolutions' worth of gradients), a frozen one
    beside it (a teacher) one; both have one more per image of native size whenever the training is validated.

    Args:
        flops: of a forward of what is trained, per native image (:func:`forward_flops`).
        size: (H, W) of the native image.
        recipe: number of steps, batch size, scales.
        images: of the training split.
        speed: operations per second (:func:`measured_speed`).
        frozen_flops: of a forward of what is only run.
        validation: images of the validation split; 0 where there is none.
    """
    area = training_size(recipe, size) / (size[0] * size[1])
    steps = steps_per_epoch(recipe, images) * recipe.epochs
    trained = steps * recipe.batch_size * area * (3 * flops + frozen_flops)
    return (trained + validations(recipe) * validation * (flops + frozen_flops)) / speed


def measured_speed(network: Network, device: torch.device, precision: str, trains: bool) -> float:
    """Operations per second of a network on two small images, measured in a fraction of a second.

    It is measured anew for every kind of network, since one of depthwise convolutions waits for memory where one of
    full convolutions computes: on one CPU core they differ by a factor of ten.

    Args:
        network: with any values; its statistics are changed.
        device: where.
        precision: of :data:`benchmark.machine.PRECISIONS`.
        trains: whether forward and backward are measured, or a forward alone.
    """
    passes, images = (3 if trains else 1), 2
    within = OPERATIONS["cpu" if device.type == "cpu" else "cuda"]
    for side in SIDES:
        size = network.size or (side, side)
        flops = passes * images * forward_flops(network, size, network.stride)
        if flops <= within:
            break
    height, width = (-(-side // network.stride) * network.stride for side in size)
    network.to(device=device, memory_format=network.memory_format).train(trains)
    inputs = torch.ones(images, 3, height, width, device=device).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with products(device, precision), torch.set_grad_enabled(trains):
            with autocast(device, precision):
                outputs = network(inputs)
            if trains:
                torch.stack([output.float().mean() for output in outputs.values()]).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.random.fork_rng([]):
        step()  # the first is slower
        took = [_seconds(step) for _ in range(2)]
        while sum(took) < 0.1:
            took.append(_seconds(step))
    return flops / min(took)  # the others were beside other work on the machine


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
