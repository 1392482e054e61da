"""Validation images of another dataset with anomalies of our own pasted in: to choose settings without a test set."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmark.data import ANOMALY, Dataset, DatasetCard, Sample
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS

from ._objects import make

_VERSION = 1


class Pasted(Dataset):
    """``--dataset pasted:base=NAME``: "test" is NAME's validation split, one or two invented objects in each image.

    The objects have random outlines, materials and light, a soft edge, the image's own brightness, sharpness and
    grain as far as these can be told, and on the ground a contact shadow; they cover 0.2 to 10 % of an image and are
    larger further down. They are a pure function of version and index. Networks are those of NAME; "train" and
    "val" are NAME's own. Results here choose hyper-parameters; they say little about real anomalies.

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
            image = _paste(rng, image, labels)
        pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)
        done = Sample(sample.id, torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels))
        return done.checked(len(self.classes), f"{self.card.title} {sample.id}")

    def fingerprint(self) -> str:
        """The base's; of the test split, hashed together with the version of the objects."""
        base = self.base.fingerprint()
        return base if self.split != "test" else hashlib.sha256(f"pasted {_VERSION} {base}".encode()).hexdigest()


def _paste(rng: np.random.Generator, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Lay a new object over an image (H, W, 3) in [0, 1]; marks it in `labels` and returns the new image."""
    height, width = labels.shape
    flies = rng.random() < 0.2
    foot = rng.uniform(0.15, 0.5) if flies else rng.uniform(0.55, 0.98)  # of the height; the horizon is near 0.45
    size = rng.uniform(0.08, 0.25) if flies else (0.08 + 0.55 * (foot - 0.5)) * rng.uniform(0.7, 1.4)
    spots = rng.integers((height, width), size=(64, 2))
    thing = make(rng, max(8, round(size * height)), image[spots[:, 0], spots[:, 1]])
    rgb, alpha = _harmonised(rng, thing.rgb, thing.alpha, image)
    h, w = alpha.shape
    top = int(np.clip(round(foot * height) - h, 0, max(height - h, 0)))
    left = int(rng.integers(-w // 4, max(width - w + w // 4, 1)))  # up to a quarter may be outside
    if not flies:
        bottom = int(np.flatnonzero((alpha > 0.5).any(1))[-1])
        columns = np.flatnonzero((alpha[bottom - h // 8 : bottom + 1] > 0.5).any(0))
        image = _shadowed(rng, image, left + columns.mean(), top + bottom, max(np.ptp(columns), 0.4 * w))
    y, x = slice(top, min(top + h, height)), slice(max(left, 0), min(left + w, width))
    part = slice(0, y.stop - y.start), slice(x.start - left, x.stop - left)
    cover = alpha[part][..., None]
    image = image.copy()
    image[y, x] = image[y, x] * (1 - cover) + rgb[part] * cover
    labels[y, x][alpha[part] > 0.5] = ANOMALY
    return image


def _harmonised(
    rng: np.random.Generator, rgb: np.ndarray, alpha: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The object under the image's exposure and as sharp and grainy as the image, so that neither gives it away."""
    grey = image.mean(2)
    exposure = np.clip(np.percentile(grey, 80) / 0.7, 0.3, 1.2)
    detail = cv2.Laplacian(grey, cv2.CV_32F)
    blur = np.clip(0.9 - 6 * float(np.abs(detail).mean()), 0.3, 0.9)
    grain = np.median(np.abs(detail)) / 4.5
    rgb = cv2.GaussianBlur(rgb * exposure, (0, 0), blur) + rng.normal(0, grain, (*alpha.shape, 1)).astype(np.float32)
    soft = cv2.GaussianBlur(alpha, (0, 0), blur)
    return rgb, soft / soft.max()


def _shadowed(rng: np.random.Generator, image: np.ndarray, x: float, y: float, width: float) -> np.ndarray:
    """The image with a soft dark ellipse around the place where an object touches the ground."""
    reach = int(1.2 * width) + 2
    rows = slice(max(int(y) - reach, 0), int(y) + reach)
    columns = slice(max(int(x) - reach, 0), int(x) + reach)
    image = image.copy()
    part = image[rows, columns]
    down, right = np.ogrid[: part.shape[0], : part.shape[1]]
    across = (right + columns.start - x) / (0.6 * width)
    along = (down + rows.start - y) / max(0.1 * width, 1.5)
    part *= 1 - rng.uniform(0.35, 0.7) * np.exp(-((across**2 + along**2) ** 1.5))[..., None].astype(np.float32)
    return image
