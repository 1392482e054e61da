"""What every dataset made of image and label files shares: pairing, looking up labels, fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.data import ANOMALY, Dataset, Sample
from benchmark.errors import BenchmarkError
from benchmark.images import ORIENTATION, PHOTOMETRIC, SUFFIXES, decode, find_images, natural, read_image, tiff_tag

_LOSSY = ("JPEG", "MPO")
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_SPREAD = {"L;2": 85, "L;4": 17}
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
                try:
                    size = path.stat().st_size
                    digest.update(f"\n{kind}/{pair.id}{path.suffix} {size}\n".encode())
                    with path.open("rb") as file:
                        digest.update(file.read(_EDGE))
                        file.seek(max(size - _EDGE, 0))
                        digest.update(file.read(_EDGE))
                except OSError as error:
                    raise BenchmarkError(
                        f"{path} cannot be read ({error.strerror}); put it back or unpack the archive again."
                    ) from error
        return digest.hexdigest()


def read_labels(path: Path) -> np.ndarray:
    """Decode a single-channel file of at most 8 bits to the values stored in it, (H, W); of a palette, the indices.

    Raises:
        BenchmarkError: missing, truncated, not an image, a colour image, or compressed with a loss, which makes labels
            of values that nobody wrote.
    """

    def values(image: Image.Image) -> np.ndarray:
        if image.format in _LOSSY or image.info.get("compression") in _LOSSY_TIFF:
            raise BenchmarkError(
                f"{path} is a JPEG, whose compression changes label values; write the labels anew as PNG."
            )
        if image.mode not in ("1", "L", "P") or tiff_tag(image, PHOTOMETRIC, 1) == 0:
            raise BenchmarkError(
                f"{path} is an image of mode {image.mode}; labels must be single-channel, 8 bits, one value a class."
            )
        # Pillow spreads grey of 2 or 4 bits over 0..255: the file's values are what divides it.
        stored = image.tile[0][3] if image.tile else ""
        step = _SPREAD.get(stored[0] if isinstance(stored, tuple) else stored, 1)
        # Asked last, since it decodes the pixels, too.
        if (turned := image.getexif().get(ORIENTATION, 1)) != 1:
            raise BenchmarkError(f"{path} is stored turned (EXIF orientation {turned}); save it upright.")
        return np.asarray(image).astype(np.uint8) // np.uint8(step)

    return decode(path, values)


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
    found = {"image": find_images(images, image_end), "label": find_images(labels, label_end)}
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


def _ranges(values: Mapping[int, int]) -> str:
    """Values as in "0..11, 255"."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and runs[-1][1] == value - 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)
