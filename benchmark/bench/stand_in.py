"""Synthetic images in the place of a dataset's, for measurements that need its sizes and not its files."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from benchmark.data import Batch, Dataset, Policy, Sample, collate
from benchmark.errors import BenchmarkError
from benchmark.recipe import LIGHT_SEGMENTATION, LightRecipe, Recipe
from benchmark.registry import DATASETS, METHODS, PluginSpec

SIZE = (720, 1280)
"""(H, W) for which the recipes of the road-scene papers are written."""
DIFFERENT = 4
"""Images of a split that differ; the others repeat them."""


class StandIn(Dataset):
    """As many images as a dataset publishes, with its classes, recipes and test scales.

    Every access decodes a PNG, as reading a file does. Where the images are smaller than `SIZE`, so are the recipes'
    scales and crops and the papers' test scales, in proportion.

    Args:
        like: the dataset's class; its files are not looked for.
        split: train, val or test.
        size: (H, W) of the images.
        images: number of images instead of the published one; 0 for that.
    Raises:
        BenchmarkError: the dataset publishes no number of images.
    """

    def __init__(self, like: type[Dataset], split: str, size: tuple[int, int] = SIZE, images: int = 0) -> None:
        self.card, self.policy = like.card, like.policy
        self.spec = PluginSpec(DATASETS.name_of(like), {}, {})
        super().__init__(split, Path())
        if split not in self.card.sizes:
            raise BenchmarkError(
                f"{self.name} publishes no number of {split} images, from which the hours follow; take a dataset for "
                f"which `python -m benchmark list datasets` shows one."
            )
        self.count = images or self.card.sizes[split]
        if size[0] != SIZE[0]:
            self.policy = _scaled_policy(like.policy, size[0] / SIZE[0])
        number = min(DIFFERENT, self.count)
        self._files = [_encoded(seed, size, len(self.classes)) for seed in range(number)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        image, labels = (np.asarray(Image.open(io.BytesIO(file))) for file in self._files[index % len(self._files)])
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return Sample(f"{self.split}/{index}", pixels, torch.from_numpy(labels.copy()))

    def batches(self, size: int, number: int, device: torch.device) -> list[Batch]:
        """A number of batches of the same `size` images, each an object of its own, for which nothing is cached."""
        (batch,) = collate([self[index % len(self)] for index in range(size)])
        batch = batch.to(device)
        return [Batch(batch.ids, batch.images, batch.labels) for _ in range(number)]

    def fingerprint(self) -> str:
        return f"stand-in-{self.label}-{self.split}"


def _encoded(seed: int, size: tuple[int, int], classes: int) -> tuple[bytes, bytes]:
    """Image and labels as PNG: patches of all classes, and noise of a photograph's strength."""
    rng = np.random.default_rng(seed)
    height, width = size
    coarse = rng.normal(size=(classes, max(2, height // 40), max(2, width // 40))).astype(np.float32)
    labels = np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_LINEAR) for c in coarse]).argmax(0)
    colours = rng.integers(30, 226, (classes, 3))
    image = np.clip(colours[labels] + rng.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8)
    return _png(image), _png(labels.astype(np.uint8))


def _png(pixels: np.ndarray) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, format="PNG", compress_level=3)
    return memory.getvalue()


def _scaled_policy(policy: Policy, factor: float) -> Policy:
    """The policy with the papers' test scales, and scales and crops of every known recipe, in proportion."""
    known = {"segmentation": (Recipe(), LIGHT_SEGMENTATION)}
    for method in map(METHODS.get, METHODS.available()):
        known |= {task: (r, method.light.get(task, LightRecipe())) for task, r in method.recipes.items()}
    found = {}
    for task, (authors, light) in known.items():
        recipe = policy.recipe(authors, light)
        smaller = {
            "scales": tuple(_scaled(s, factor) for s in recipe.scales),
            "max_size": _scaled(recipe.max_size, factor) if recipe.max_size else 0,
            "crop": tuple(_scaled(s, factor) for s in recipe.crop),
        }
        changed = {k: v for k, v in smaller.items() if v != getattr(recipe, k)}
        found[task] = {**policy.recipes.get(task, {}), **changed}
    return dataclasses.replace(
        policy,
        paper_scales=tuple(_scaled(s, factor) for s in policy.paper_scales),
        paper_max_size=_scaled(policy.paper_max_size, factor) if policy.paper_max_size else 0,
        recipes=found,
        pretrained=_scaled_policy(policy.pretrained, factor) if policy.pretrained else None,
    )


def _scaled(pixels: int, factor: float) -> int:
    return max(16, round(pixels * factor))
