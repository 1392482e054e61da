"""Datasets made of another dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from benchmark.data import IGNORE, Dataset, DatasetCard, Sample
from benchmark.errors import BenchmarkError
from benchmark.recipe import digest
from benchmark.registry import PluginSpec

if TYPE_CHECKING:
    from benchmark.networks import External


class Derived(Dataset):
    """A split made of another one, whose name, options, card and policy it has unless a subclass says otherwise."""

    def __init__(self, base: Dataset) -> None:
        self.base, self.split, self.root = base, base.split, base.root
        self.spec, self.card, self.policy = base.spec, base.card, base.policy

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> Sample:
        return self.base[index]

    def fingerprint(self) -> str:
        return self.base.fingerprint()


class Subset(Derived):
    """The first `limit` images of a dataset. Used by ``--limit`` and by tests."""

    def __init__(self, base: Dataset, limit: int) -> None:
        super().__init__(base)
        self.limit = min(limit, len(base))

    def __len__(self) -> int:
        return self.limit

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.limit:
            raise IndexError(index)
        return self.base[index]

    def fingerprint(self) -> str:
        return digest([self.base.fingerprint(), self.limit], 64)


class VoidAsClass(Derived):
    """A training split whose void is a class of its own, after the known ones.

    Args:
        base: the split; its void pixels have the label 255.
        look_at: number of images in which void is looked for.
    Raises:
        BenchmarkError: none of the first images has a void pixel.
    """

    def __init__(self, base: Dataset, look_at: int = 50) -> None:
        super().__init__(base)
        if not any((base[index].labels == IGNORE).any() for index in range(min(look_at, len(base)))):
            raise BenchmarkError(
                f"The labels of {base.card.title} leave no pixel out as void, so there is no void class to learn; "
                f"score an output for one of the classes instead."
            )
        self.card = dataclasses.replace(base.card, classes=(*base.classes, "void"))

    def __getitem__(self, index: int) -> Sample:
        sample = self.base[index]
        void = len(self.classes) - 1
        labels = torch.where(sample.labels == IGNORE, torch.tensor(void, dtype=torch.uint8), sample.labels)
        return Sample(sample.id, sample.image, labels)

    def fingerprint(self) -> str:
        return digest([self.base.fingerprint(), "void as class"], 64)


class AbsentSplit(Dataset):
    """Training images that are not here: whoever asks for one is told why.

    Args:
        split: "train" or "val".
        owner: which images are meant.
        why: a sentence.
        card: of the dataset, where it is known.
    """

    def __init__(self, split: str, owner: str, why: str, card: DatasetCard | None = None) -> None:
        super().__init__(split, Path())
        self.spec = PluginSpec(owner, {}, {})
        self.card = dataclasses.replace(card or self.card, sizes={})
        self.why = f"It needs the {split} images of {owner}, which cannot be had: {why}"

    def __len__(self) -> int:
        raise BenchmarkError(self.why)

    def __getitem__(self, index: int) -> Sample:
        raise BenchmarkError(self.why)

    def fingerprint(self) -> str:
        return ""


class Resized(Derived):
    """A dataset at a network's own input size: images resized as the network would, labels by nearest neighbour.

    Many published scripts evaluate there instead of upsampling the scores to the labels. Pillow resizes the labels.

    Args:
        base: the images as they are.
        network: its `size` and `resize` are used; where that turns images into floats, they stay floats.
    Raises:
        ValueError: the network takes images of any size.
    """

    def __init__(self, base: Dataset, network: External) -> None:
        super().__init__(base)
        if network.size is None:
            raise ValueError("the network has no input size of its own.")
        self.resize, self.size = network.resize, network.size

    def __getitem__(self, index: int) -> Sample:
        sample, (height, width) = self.base[index], self.size
        labels = Image.fromarray(sample.labels.numpy()).resize((width, height), Image.Resampling.NEAREST)
        image = self.resize(sample.image[None], (height, width))[0]
        return Sample(sample.id, image, torch.from_numpy(np.array(labels)))
