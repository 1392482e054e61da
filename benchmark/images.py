"""Image files: found beneath a folder, in natural order, decoded; and a dataset of nothing but images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.data import IGNORE, Dataset, Sample
from benchmark.errors import BenchmarkError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class ImageFiles(Dataset):
    """Image files without labels: every pixel is labelled "ignore".

    The id of an image in a folder is its relative name without suffix, that of a single file its name without suffix.

    Args:
        sources: files and folders.
    Raises:
        BenchmarkError: a source does not exist, there is no image, or two have one id.
    """

    def __init__(self, sources: Sequence[Path]) -> None:
        self.files: dict[str, Path] = {}
        for source in sources:
            if not source.exists():
                raise BenchmarkError(f"{source} is neither an image file nor a folder of images.")
            found = find_images(source) if source.is_dir() else {source.stem: source}
            for name in sorted(found, key=natural):
                if name in self.files:
                    raise BenchmarkError(
                        f"{self.files[name]} and {found[name]} would both be image '{name}'; give them apart."
                    )
                self.files[name] = found[name]
        if not self.files:
            raise BenchmarkError(f"{', '.join(map(str, sources))}: no images there.")
        self._ids = list(self.files)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        name = self._ids[index]
        image = read_image(self.files[name])
        return Sample(name, image, torch.full(image.shape[1:], IGNORE, dtype=torch.uint8))

    def fingerprint(self) -> str:
        raise BenchmarkError("Images without labels are not measured.")


def read_image(path: Path) -> Tensor:
    """Decode a file to uint8 RGB (3, H, W); alpha is dropped, grey is repeated, an EXIF rotation is not applied.

    Pillow and not OpenCV, because OpenCV returns a part of a truncated file without a word.

    Raises:
        BenchmarkError: missing, truncated, or not an image.
    """
    pixels = decode(path, lambda image: np.asarray(image if image.mode == "RGB" else image.convert("RGB")))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def decode(path: Path, read: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """What `read` makes of the opened file.

    Raises:
        BenchmarkError: as :func:`read_image`.
    """
    try:
        with Image.open(path) as image:
            return read(image)
    except FileNotFoundError:
        raise BenchmarkError(f"{path} is not there any more; put it back or unpack the archive again.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BenchmarkError(
            f"{path} cannot be decoded ({error}); it is truncated or damaged: download or unpack it again."
        ) from error


def find_images(folder: Path, end: str = "") -> dict[str, Path]:
    """Every image file beneath a folder by its relative name without suffix; hidden files and folders are left out.

    Args:
        folder: where to look.
        end: what the stem must end with ("_leftImg8bit"); the name is without it.
    Raises:
        BenchmarkError: no such folder, or two files of one name.
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


def natural(name: str) -> list[tuple[int, str]]:
    """Sorting key that puts "t5/9" before "t5/10"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
