"""Augmentation: samples in, one training batch out, as a function of recipe, seed and step alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from benchmark.data import IGNORE, Batch, Sample
from benchmark.errors import BenchmarkError
from benchmark.network import scaled_size
from benchmark.recipe import Recipe

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_SHUFFLE, _STEP, _SLOT = range(3)  # which kind of draw a seed belongs to


def shuffled(images: int, seed: int, index: int) -> int:
    """The image at a position of the endless stream of permutations, one permutation after the other."""
    turn, position = divmod(index, images)
    return int(_permutation(images, seed, turn)[position])


@lru_cache(maxsize=8)
def _permutation(images: int, seed: int, turn: int) -> np.ndarray:
    return np.random.default_rng((seed, _SHUFFLE, turn)).permutation(images)


def augment(
    samples: Sequence[Sample], recipe: Recipe, seed: int, step: int, first_slot: int = 0, stride: int = 8
) -> Batch:
    """Scale, crop, mirror and tint samples and stack them.

    Images are resized bilinearly with antialiasing, labels by nearest neighbour. What a crop or the stride adds at the
    bottom and at the right repeats the border in the image and is ignored in the labels.

    Args:
        samples: of one step (or a process's share of it).
        recipe: its scales, max_size, scale_range, crop, flip and colour are used.
        seed: of the run.
        step: of the run; together with the seed and the slot it decides every draw.
        first_slot: position of the first sample in the step's batch.
        stride: sides of the result are multiples of it.
    Raises:
        BenchmarkError: the images still differ in size at the end.
    """
    scale = 0
    if recipe.scales:
        scale = int(np.random.default_rng((seed, _STEP, step)).choice(recipe.scales))
    images, labels = [], []
    for slot, sample in enumerate(samples, first_slot):
        image, label = _augment(sample, recipe, scale, np.random.default_rng((seed, _SLOT, step, slot)), stride)
        images.append(image)
        labels.append(label)
    sizes = sorted({label.shape for label in labels})
    if len(sizes) > 1:
        names = " and ".join(f"{width}x{height}" for height, width in sizes[:2])
        raise BenchmarkError(
            f"The {recipe.task} recipe puts images of {names} pixels in one batch: set its 'crop' (height, width), "
            f"or batch_size=1."
        )
    return Batch(
        tuple(sample.id for sample in samples),
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        torch.from_numpy(np.stack(labels)),
    )


def _augment(
    sample: Sample, recipe: Recipe, scale: int, rng: np.random.Generator, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """One image (H, W, 3) and its labels (H, W)."""
    image = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
    labels = sample.labels.numpy()
    size = labels.shape
    if scale:
        image, labels = resize(image, labels, scaled_size(size, scale, recipe.max_size, stride))
    if recipe.scale_range:
        factor = rng.uniform(*recipe.scale_range)
        image, labels = resize(image, labels, tuple(max(1, round(side * factor)) for side in labels.shape))
    if recipe.crop:
        image, labels = _crop(image, labels, recipe.crop, rng)
    image, labels = _pad(image, labels, tuple(-(-side // stride) * stride for side in labels.shape))
    if recipe.flip and rng.random() < 0.5:
        image, labels = cv2.flip(image, 1), cv2.flip(np.ascontiguousarray(labels), 1)
    if recipe.colour:
        image = _tint(image, recipe.colour, rng)
    return image, labels


def resize(image: np.ndarray, labels: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) bilinear and antialiased, labels (H, W) nearest, to `size` (height, width)."""
    if labels.shape == size:
        return image, labels
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    ids = F.interpolate(torch.from_numpy(labels)[None, None], size, mode="nearest-exact")
    return np.ascontiguousarray(pixels[0].permute(1, 2, 0).numpy()), ids[0, 0].numpy()


def _crop(
    image: np.ndarray, labels: np.ndarray, size: Sequence[int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    top, left = (int(rng.integers(max(0, side - target) + 1)) for side, target in zip(labels.shape, size, strict=True))
    window = (slice(top, top + size[0]), slice(left, left + size[1]))
    return _pad(image[window], labels[window], tuple(size))


def _pad(image: np.ndarray, labels: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    bottom, right = size[0] - labels.shape[0], size[1] - labels.shape[1]
    if not bottom and not right:
        return image, labels
    return (
        cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE),
        cv2.copyMakeBorder(labels, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=IGNORE),
    )


def _tint(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation, each by a factor in 1 -+ strength, as one affine map of the colours."""
    brightness, contrast, saturation = rng.uniform(max(0.0, 1 - strength), 1 + strength, 3)
    grey = brightness * float(_LUMA @ cv2.mean(image)[:3])
    colours = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    offset = np.full((3, 1), (1 - contrast) * grey)
    return cv2.transform(image, np.hstack([brightness * contrast * colours, offset]))
