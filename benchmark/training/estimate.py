"""How long a training will take, good to about a factor of two: counted operations over a measured throughput."""

from __future__ import annotations

import copy
import time
from functools import lru_cache

import torch
from torch import nn

from benchmark.machine import Machine, autocast, products
from benchmark.network import scaled_size
from benchmark.recipe import Recipe
from benchmark.training.schedule import steps_per_epoch


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
    machine: Machine,
    frozen_flops: float = 0.0,
) -> float:
    """Seconds that a training will take on this device.

    A trained network costs three forwards per image (one forward, two convolutions' worth of gradients), a frozen one
    beside it (a teacher) one.

    Args:
        flops: of a forward of what is trained, per native image (:func:`forward_flops`).
        size: (H, W) of the native image.
        recipe: number of steps, batch size, scales.
        images: of the training split.
        machine: device and precision.
        frozen_flops: of a forward of what is only run.
    """
    area = training_size(recipe, size) / (size[0] * size[1])
    steps = steps_per_epoch(recipe, images) * recipe.epochs
    return (
        steps * recipe.batch_size * area * (3 * flops + frozen_flops) / _throughput(machine.device, machine.precision)
    )


def evaluation_seconds(flops: float, images: int, device: torch.device, precision: str) -> float:
    """Seconds of the forwards of so many images.

    Args:
        flops: of all forwards of one image.
        images: their number.
        device: where.
        precision: of :data:`benchmark.machine.PRECISIONS`.
    """
    return images * flops / _throughput(device, precision)


@lru_cache(maxsize=4)
def _throughput(device: torch.device, precision: str) -> float:
    """Operations per second of a small convolutional network in training, measured in about 0.2 s."""
    with torch.random.fork_rng([]):
        width, batch, side = (32, 4, 32) if device.type == "cpu" else (256, 8, 64)
        block = [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        model = nn.Sequential(*copy.deepcopy(block), *copy.deepcopy(block))
        inputs = torch.ones(batch, width, side, side, device=device).contiguous(memory_format=torch.channels_last)
        model.to(device=device, memory_format=torch.channels_last)
    flops = 3 * 2 * 2 * batch * side**2 * width**2 * 9

    def step() -> None:
        with products(device, precision):
            with autocast(device, precision):
                loss = model(inputs.requires_grad_()).float().mean()
            loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(3):
        step()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 0.2:
        step()
        count += 1
    return count * flops / (time.perf_counter() - began)
