"""Validation images of another dataset with anomalies of our own pasted in: to choose settings without a test set."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmark.data import Dataset, DatasetCard, Sample
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from benchmark.training.objects import object_to_validate_on
from benchmark.training.pasting import paste

_VERSION = 1


class Pasted(Dataset):
    """``--dataset pasted:base=NAME``: "test" is NAME's validation split, one or two invented objects in each image.

    The objects have random outlines, materials and light, a soft edge, the image's own brightness, sharpness and
    grain as far as these can be told, and on the ground a contact shadow; they cover 0.2 to 10 % of an image and are
    larger further down. They are a pure function of version and index. Networks are those of NAME; "train" and
    "val" are NAME's own. Results here choose hyper-parameters; they say little about real anomalies, and nothing should
    be chosen here of methods that learn from pasted objects: theirs have other outlines and materials, but are laid in
    the same way.

    Args:
        split: "train", "val" or "test".
        root: the data root, in which the base is found.
        base: a dataset that has a validation split; one with options in quotation marks, as in
            ``pasted:base="folder:path=DIR"``.
    """

    card = DatasetCard(
        title="Validation images with pasted anomalies (base=NAME)",
        note="The anomalies are invented and pasted in; good for choosing settings, not for ranking methods.",
        licence="as of the base dataset; the pasted objects are this project's",
        citation="see the base dataset",
    )

    def __init__(self, split: str, root: Path, base: str = "minihazards") -> None:
        super().__init__(split, root)
        if DATASETS.canonical(base) == self.name:
            raise BenchmarkError("pasted cannot paste into itself; name another dataset with base=NAME.")
        self.base: Dataset = DATASETS.create(base, split="val" if split == "test" else split, root=root)
        self.spec = replace(self.spec, config={"base": self.base.label})
        base_card = self.base.card
        self.card = replace(
            self.card,
            title=f"{base_card.title}: validation images with pasted anomalies",
            note=" ".join(filter(None, (self.card.note, base_card.note))),
            classes=base_card.classes,
            palette=base_card.palette,
            citation=base_card.citation,
            url=base_card.url,
            class_labels=base_card.class_labels,
            # As it was given, since a label names no place.
            trained_on=base_card.trained_on or (base if ":" in base else self.base.name),
        )
        self.policy = self.base.policy.for_other_images()

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> Sample:
        sample = self.base[index]
        if self.split != "test":
            return sample
        image = sample.image.permute(1, 2, 0).numpy().astype(np.float32) / 255
        labels = sample.labels.numpy().copy()
        rng = np.random.default_rng([_VERSION, index])
        for _ in range(1 + (rng.random() < 0.3)):
            image = paste(rng, image, labels, object_to_validate_on)
        pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)
        done = Sample(sample.id, torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels))
        return done.checked(len(self.classes), f"{self.card.title} {sample.id}")

    def fingerprint(self) -> str:
        """The base's; of the test split, hashed together with the version of the objects."""
        base = self.base.fingerprint()
        return base if self.split != "test" else hashlib.sha256(f"pasted {_VERSION} {base}".encode()).hexdigest()
