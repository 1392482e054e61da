"""Datasets made of another dataset, with the same metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from benchmark.data import IGNORE, Dataset, Sample
from benchmark.errors import BenchmarkError
from benchmark.recipe import digest

if TYPE_CHECKING:
    from benchmark.networks import External


@dataclass
class Subset(Dataset):
    """The first `limit` images of a dataset, with the same metadata. Used by ``--limit`` and by tests."""

    base: Dataset
    limit: int
    split: str = field(init=False)

    def __post_init__(self) -> None:
        self.split = self.base.split
        self.root = self.base.root
        self.limit = min(self.limit, len(self.base))
        for key in Dataset.__annotations__:
            setattr(self, key, getattr(self.base, key))

    def __len__(self) -> int:
        return self.limit

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.limit:
            raise IndexError(index)
        return self.base[index]

    def fingerprint(self) -> str:
        return digest([self.base.fingerprint(), self.limit], 64)


class VoidAsClass(Subset):
    """A training split whose void is a class of its own, after the known ones.

    Raises:
        BenchmarkError: none of the first images has a void pixel.
    """

    def __init__(self, base: Dataset, look_at: int = 50) -> None:
        super().__init__(base, len(base))
        if not any((base[index].labels == IGNORE).any() for index in range(min(look_at, len(base)))):
            raise BenchmarkError(
                f"The labels of {base.title} leave no pixel out as void, so there is no void class to learn; "
                f"score an output for one of the classes instead."
            )
        self.classes = (*base.classes, "void")

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        void = len(self.classes) - 1
        labels = torch.where(sample.labels == IGNORE, torch.tensor(void, dtype=torch.uint8), sample.labels)
        return Sample(sample.id, sample.image, labels)

    def fingerprint(self) -> str:
        return digest([self.base.fingerprint(), "void as class"], 64)


class AbsentSplit(Dataset):
    """Training images that are not here: everything that asks for one learns why.

    Args:
        split: "train" or "val".
        owner: which images are meant.
        why: a sentence.
    """

    def __init__(self, split: str, owner: str, why: str) -> None:
        super().__init__(split, Path())
        self.label, self.why = owner, f"It needs the {split} images of {owner}, which cannot be had: {why}"

    def __len__(self) -> int:
        raise BenchmarkError(self.why)

    def __getitem__(self, index: int) -> Sample:
        raise BenchmarkError(self.why)

    def fingerprint(self) -> str:
        return ""


class Resized(Dataset):
    """A dataset at a network's own input size: images resized as the network would, labels by nearest neighbour.

    Many published scripts evaluate there instead of upsampling the scores to the labels. Pillow resizes the labels.

    Args:
        base: the images as they are.
        network: whose `size` and `resize` are taken; images that it makes floats stay so.
    """

    def __init__(self, base: Dataset, network: External) -> None:
        super().__init__(base.split, base.root)
        self.base, self.network = base, network

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> Sample:
        sample, (height, width) = self.base[index], self.network.size
        labels = Image.fromarray(sample.labels.numpy()).resize((width, height), Image.Resampling.NEAREST)
        image = self.network.resize(sample.image[None], (height, width))[0]
        return Sample(sample.id, image, torch.from_numpy(np.array(labels)))

    def fingerprint(self) -> str:
        return self.base.fingerprint()
