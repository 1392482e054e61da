"""What every dataset made of image and label files shares: pairing, looking up labels, fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmark.data import ANOMALY, Dataset, Sample
from benchmark.errors import BenchmarkError
from benchmark.images import SUFFIXES, decode, find_images, natural, read_image

_UNKNOWN = 253
_EDGE = 4096


@dataclass(frozen=True)
class Pair:
    """An image file and its label file."""

    id: str
    image: Path
    labels: Path


class FileDataset(Dataset):
    """Pairs of files whose label values are looked up in a table.

    A subclass's ``__init__`` ends with :meth:`_open`.
    """

    def _open(self, pairs: Sequence[Pair], values: Mapping[int, int]) -> None:
        """Take the files of the split.

        Args:
            pairs: the images with their labels.
            values: value in a label file -> label (0..C-1, 254 anomaly, 255 ignore); any other value is an error.
        """
        self.pairs = list(pairs)
        if self.split != "test":
            values = {value: label for value, label in values.items() if label != ANOMALY}
        self.values = dict(sorted(values.items()))
        self._table = np.full(256, _UNKNOWN, np.uint8)
        for value, label in values.items():
            self._table[value] = label

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = read_image(pair.image)
        raw = read_labels(pair.labels)
        if image.shape[1:] != raw.shape:
            raise BenchmarkError(
                f"{pair.labels} has {raw.shape[1]}x{raw.shape[0]} pixels, its image {pair.image} has "
                f"{image.shape[2]}x{image.shape[1]}; the two must be equal: unpack or export both again."
            )
        labels = self._table[raw]
        unknown = labels == _UNKNOWN
        if unknown.any():
            value = int(raw[unknown][0])
            raise BenchmarkError(
                f"{pair.labels}: the value {value} is no label of the {self.split} split of {self.name} (known are "
                f"{_ranges(self.values)}); put the original file back or, where the file is right, map the value."
            )
        return Sample(pair.id, image, torch.from_numpy(labels)).checked(len(self.classes), str(pair.labels))

    def fingerprint(self) -> str:
        """SHA-256 over id, suffix, size, first and last 4 KiB of every image and label file, and the label table.

        Where the files lie does not matter. Reading the ends only keeps it at a fraction of a second for thousands of
        files; a change in the middle of a compressed file that leaves its size alone is not noticed.
        """
        digest = hashlib.sha256(repr(self.values).encode())
        for pair in sorted(self.pairs, key=lambda p: p.id):
            for kind, path in (("images", pair.image), ("labels", pair.labels)):
                size = path.stat().st_size
                digest.update(f"\n{kind}/{pair.id}{path.suffix} {size}\n".encode())
                with path.open("rb") as file:
                    digest.update(file.read(_EDGE))
                    file.seek(max(size - _EDGE, 0))
                    digest.update(file.read(_EDGE))
        return digest.hexdigest()


def read_labels(path: Path) -> np.ndarray:
    """Decode a single-channel 8-bit file to its values, (H, W); of a palette image, the indices.

    Raises:
        BenchmarkError: missing, truncated, not an image, or a colour image.
    """

    def values(image: Image.Image) -> np.ndarray:
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8)
        if image.mode not in ("L", "P"):
            raise BenchmarkError(
                f"{path} is an image of mode {image.mode}; labels must be single-channel, 8 bits, one value a class."
            )
        return np.asarray(image)

    return decode(path, values)


def pair_up(images: Path, labels: Path) -> list[Pair]:
    """Every image beneath one folder with the label file of the same relative name beneath another, in natural order.

    Raises:
        BenchmarkError: a folder is missing or empty, a file has no partner, two files have one name.
    """
    found = {"image": find_images(images), "label": find_images(labels)}
    for kind, other, place in (("image", "label", labels), ("label", "image", images)):
        for name in found[kind]:
            if name not in found[other]:
                raise BenchmarkError(
                    f"{found[kind][name]} has no {other} file {place / name}.*; add it or remove both."
                )
    if not found["image"]:
        raise BenchmarkError(f"{images} holds no image ({', '.join(SUFFIXES)}); unpack the archive there.")
    return [Pair(name, found["image"][name], found["label"][name]) for name in sorted(found["image"], key=natural)]


def find_folder(parent: Path, *names: str) -> Path | None:
    """The first folder in `parent` that has one of the names, disregarding case, "-" and "_"."""
    if not parent.is_dir():
        return None
    folders = {plain(p.name): p for p in sorted(parent.iterdir()) if p.is_dir()}
    return next((folders[plain(name)] for name in names if plain(name) in folders), None)


def plain(name: str) -> str:
    """A folder's name without case, "-" and "_"."""
    return name.lower().replace("-", "").replace("_", "")


def _ranges(values: Mapping[int, int]) -> str:
    """Values as in "0..11, 255"."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and runs[-1][1] == value - 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)
