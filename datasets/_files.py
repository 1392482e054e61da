"""What every dataset made of image and label files shares: finding, pairing, decoding, fingerprint."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.data import ANOMALY, Dataset, Sample
from benchmark.errors import BenchmarkError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_UNKNOWN = 253
_EDGE = 4096


@dataclass(frozen=True)
class Pair:
    """An image file and its label file.

    Attributes:
        overlay: a file that the image is changed by, where the dataset has such.
    """

    id: str
    image: Path
    labels: Path
    overlay: Path | None = None

    @property
    def files(self) -> tuple[tuple[str, Path], ...]:
        """Every file of the pair with the word for its kind."""
        found = (("images", self.image), ("labels", self.labels), ("overlays", self.overlay))
        return tuple((kind, path) for kind, path in found if path is not None)


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
        image = self._image(pair)
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

    def _image(self, pair: Pair) -> Tensor:
        """The image of a pair, uint8 RGB (3, H, W)."""
        return read_image(pair.image)

    def fingerprint(self) -> str:
        """SHA-256 over id, suffix, size, first and last 4 KiB of every image and label file, and the label table.

        Where the files lie does not matter. Reading the ends only keeps it at a fraction of a second for thousands of
        files; a change in the middle of a compressed file that leaves its size alone is not noticed.
        """
        digest = hashlib.sha256(repr(self.values).encode())
        for pair in sorted(self.pairs, key=lambda p: p.id):
            for kind, path in pair.files:
                size = path.stat().st_size
                digest.update(f"\n{kind}/{pair.id}{path.suffix} {size}\n".encode())
                with path.open("rb") as file:
                    digest.update(file.read(_EDGE))
                    file.seek(max(size - _EDGE, 0))
                    digest.update(file.read(_EDGE))
        return digest.hexdigest()


def read_image(path: Path) -> Tensor:
    """Decode a file to uint8 RGB (3, H, W); alpha is dropped, grey is repeated, an EXIF rotation is not applied.

    Pillow and not OpenCV, because OpenCV returns a part of a truncated file without a word.

    Raises:
        BenchmarkError: missing, truncated, or not an image.
    """
    pixels = _decode(path, lambda image: np.asarray(image if image.mode == "RGB" else image.convert("RGB")))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


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

    return _decode(path, values)


def _decode(path: Path, read: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return read(image)
    except FileNotFoundError:
        raise BenchmarkError(f"{path} is not there any more; put it back or unpack the archive again.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BenchmarkError(
            f"{path} cannot be decoded ({error}); it is truncated or damaged: download or unpack it again."
        ) from error


def pair_up(images: Path, labels: Path, image_end: str = "", label_end: str = "") -> list[Pair]:
    """Every image beneath one folder with the label file of the same relative name beneath another, in natural order.

    Args:
        images: folder of the images.
        labels: folder of the label files; it may be the same one.
        image_end: what the stem of an image ends with beyond the common name ("_leftImg8bit"); files whose stem does
            not are passed over.
        label_end: the same of the label files.
    Raises:
        BenchmarkError: a folder is missing or empty, a file has no partner, two files have one name.
    """
    found = {"image": listed(images, image_end), "label": listed(labels, label_end)}
    for kind, other, place, end in (("image", "label", labels, label_end), ("label", "image", images, image_end)):
        for name in found[kind]:
            if name not in found[other]:
                raise BenchmarkError(
                    f"{found[kind][name]} has no {other} file {place / name}{end}.*; add it or remove both."
                )
    if not found["image"]:
        what = f"image *{image_end}.*" if image_end else "image"
        raise BenchmarkError(f"{images} holds no {what} ({', '.join(SUFFIXES)}); unpack the archive there.")
    return [Pair(name, found["image"][name], found["label"][name]) for name in sorted(found["image"], key=natural)]


def natural(name: str) -> list[tuple[int, str]]:
    """Sorting key that puts "t5/9" before "t5/10"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def find_folder(parent: Path, *names: str) -> Path | None:
    """The first of the named folders in `parent`, disregarding case, "-" and "_"; "a/b" is the folder b in a."""
    for name in names:
        place: Path | None = parent
        for part in name.split("/"):
            place = _child(place, part) if place else None
        if place:
            return place
    return None


def _child(parent: Path, name: str) -> Path | None:
    if not parent.is_dir():
        return None
    return next((p for p in sorted(parent.iterdir()) if plain(p.name) == plain(name) and p.is_dir()), None)


def plain(name: str) -> str:
    """A folder's name without case, "-" and "_"."""
    return name.lower().replace("-", "").replace("_", "")


def listed(folder: Path, end: str = "") -> dict[str, Path]:
    """The image files beneath a folder whose stem ends with `end`, by relative name without that ending.

    Raises:
        BenchmarkError: the folder is missing, two files have one name.
    """
    if not folder.is_dir():
        raise BenchmarkError(f"{folder} is missing; unpack the archive there or name its place with --data.")
    found: dict[str, Path] = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in files:
            path = Path(place, file)
            if file.startswith(".") or path.suffix.lower() not in SUFFIXES or not path.stem.endswith(end):
                continue
            name = path.relative_to(folder).with_suffix("").as_posix().removesuffix(end)
            if name in found:
                raise BenchmarkError(f"{found[name]} and {path} have the same name; remove one of them.")
            found[name] = path
    return found


def _ranges(values: Mapping[int, int]) -> str:
    """Values as in "0..11, 255"."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and runs[-1][1] == value - 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)
