"""Validation images of another dataset with anomalies of our own pasted in: to choose settings without a test set.

And two controls, in which nothing is unknown: what a score says of a thing only because it was pasted.
"""

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
from benchmark.training.objects import object_to_validate_on
from benchmark.training.pasting import SOLID, paste

_VERSION = 1
_EDGE = 0.7  # standard deviation in pixels of the blur of a cut-out's edge: that of invented objects
_PLACES = 32  # that are tried for a known thing
_SHARE = 0.002, 0.1  # of the image, that a known thing covers: that of invented objects
_COMPACT = 0.4  # share of its bounding box that a known thing fills at least, so that no pole or kerb is one

_TITLES = {
    "invented": "validation images with pasted anomalies",
    "known": "validation images with known things pasted in",
    "unmoved": "validation images with known things marked",
}
_NOTES = {
    "invented": "The anomalies are invented and pasted in; good for choosing settings, not for ranking methods.",
    "known": "A control: what counts as anomalous are known things, cut out of other images and pasted in.",
    "unmoved": "A control: what counts as anomalous are the same known things where they belong.",
}


class Pasted(Dataset):
    """``--dataset pasted:base=NAME``: "test" is NAME's validation split, one or two invented objects in each image.

    The objects have random outlines, materials and light, a soft edge, the image's own brightness, sharpness and
    grain as far as these can be told, and on the ground a contact shadow; they cover 0.2 to 10 % of an image and are
    larger further down. They are a pure function of version and index. Networks are those of NAME; "train" and
    "val" are NAME's own. Results here choose hyper-parameters; they say little about real anomalies, and nothing should
    be chosen here of methods that learn from pasted objects: theirs have other outlines and materials, but are laid in
    the same way.

    With ``objects=known`` the marked pixels are a thing of a known class instead, cut along its label out of the image
    half the split away and laid, with an edge as soft, at the same height of this one, where of 32 places drawn the
    classes around it are most like those that were; with ``objects=unmoved`` they are that very thing in its own image,
    which stays as it is. A score that sees the unknown alone ranks the two alike, so AUROC of the first minus AUROC of
    the second is what it gives to the pasting: the seam, other light, another place.
    A thing is a connected part of one class, clear of the border, that covers 0.2 to 10 % of the image and at least
    40 % of its bounding box; an image without one leaves that other image as it was, without any marked pixel.

    Args:
        split: "train", "val" or "test".
        root: the data root, in which the base is found.
        base: a dataset that has a validation split; one with options in quotation marks, as in
            ``pasted:base="folder:path=DIR"``.
        objects: "invented", "known" or "unmoved".
    """

    card = DatasetCard(
        title="Validation images with pasted anomalies (base=NAME)",
        note=_NOTES["invented"],
        licence="as of the base dataset; the pasted objects are this project's",
        citation="see the base dataset",
    )

    def __init__(self, split: str, root: Path, base: str = "minihazards", objects: str = "invented") -> None:
        super().__init__(split, root)
        if objects not in _TITLES:
            raise BenchmarkError(f"pasted has no objects={objects}; there are {', '.join(_TITLES)}.")
        if DATASETS.canonical(base) == self.name:
            raise BenchmarkError("pasted cannot paste into itself; name another dataset with base=NAME.")
        self.base: Dataset = DATASETS.create(base, split="val" if split == "test" else split, root=root)
        self.objects = objects
        self.spec = replace(
            self.spec, config={"base": self.base.label} | ({"objects": objects} if objects != "invented" else {})
        )
        base_card = self.base.card
        self.card = replace(
            self.card,
            title=f"{base_card.title}: {_TITLES[objects]}",
            note=" ".join(filter(None, (_NOTES[objects], base_card.note))),
            control=objects != "invented",
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
        if self.objects == "unmoved":
            done = _marked(sample, _thing(sample, index))
        elif self.objects == "known":
            other = (index + len(self) // 2) % len(self)
            donor = self.base[other]
            done = _moved(sample, donor, _thing(donor, other), np.random.default_rng([_VERSION, index]))
        else:
            done = _invented(sample, np.random.default_rng([_VERSION, index]))
        return done.checked(len(self.classes), f"{self.card.title} {sample.id}")

    def fingerprint(self) -> str:
        """The base's; of the test split, hashed together with the version and the kind of the objects."""
        base = self.base.fingerprint()
        kind = "" if self.objects == "invented" else f"{self.objects} "
        return base if self.split != "test" else hashlib.sha256(f"pasted {_VERSION} {kind}{base}".encode()).hexdigest()


def _invented(sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample with one or two objects that exist nowhere."""
    image, labels = _arrays(sample)
    for _ in range(1 + (rng.random() < 0.3)):
        image = paste(rng, image, labels, object_to_validate_on)
    return _sample(sample.id, image, labels)


def _thing(sample: Sample, index: int) -> np.ndarray | None:
    """The thing of a known class that `index` draws from an image, bool (H, W); None if it shows none."""
    labels = sample.labels.numpy()
    height, width = labels.shape
    things = []
    for label in np.unique(labels[labels < ANOMALY]):
        count, parts, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))
        for part, (x, y, w, h, area) in enumerate(stats[1:count], start=1):
            clear = min(x, y) > 0 and x + w < width and y + h < height
            if clear and _SHARE[0] <= area / labels.size <= _SHARE[1] and area >= _COMPACT * w * h:
                things.append(parts == part)
    return things[np.random.default_rng([_VERSION, index]).integers(len(things))] if things else None


def _marked(sample: Sample, thing: np.ndarray | None) -> Sample:
    """The sample as it is, with the thing's pixels called anomalous."""
    labels = sample.labels.clone()
    if thing is not None:
        labels[torch.from_numpy(thing)] = ANOMALY
    return replace(sample, labels=labels)


def _moved(sample: Sample, donor: Sample, thing: np.ndarray | None, rng: np.random.Generator) -> Sample:
    """The sample with the thing of another image laid over it, as high in the image as it was there."""
    if thing is None:
        return sample
    image, labels = _arrays(sample)
    pixels, classes = _arrays(donor)
    on, around = thing.astype(np.float32), cv2.dilate(thing.astype(np.uint8), np.ones((9, 9), np.uint8)) - thing
    if thing.shape != labels.shape:  # images of a set may differ in size
        size = labels.shape[::-1]
        pixels, on = (cv2.resize(each, size, interpolation=cv2.INTER_LINEAR) for each in (pixels, on))
        classes, around = (cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in (classes, around))
    cover = cv2.GaussianBlur(on, (0, 0), _EDGE)
    columns = np.flatnonzero((cover > 0).any(0))
    before = _classes(classes, around)
    moves = rng.integers(-columns[0], labels.shape[1] - columns[-1], size=_PLACES)
    likeness = [np.minimum(before, _classes(labels, np.roll(around, move, 1))).sum() for move in moves]
    move = int(moves[np.argmax(likeness)])
    pixels, cover = np.roll(pixels, move, 1), np.roll(cover, move, 1)
    image += (pixels - image) * cover[..., None]
    labels[cover > SOLID] = ANOMALY
    return _sample(sample.id, image, labels)


def _classes(labels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Share of every label among the pixels (256)."""
    found = np.bincount(labels[where > 0], minlength=256)
    return found / max(found.sum(), 1)


def _arrays(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Image, float32 (H, W, 3) in [0, 1], and labels, uint8 (H, W), both to be written into."""
    return sample.image.permute(1, 2, 0).numpy().astype(np.float32) / 255, sample.labels.numpy().copy()


def _sample(identity: str, image: np.ndarray, labels: np.ndarray) -> Sample:
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)
    return Sample(identity, torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels))
