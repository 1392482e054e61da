"""Image files: found beneath a folder, in natural order, decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.io.walk import require_file, walk

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Told by the content; whatever else Pillow may read (PostScript by an interpreter) is not asked."""
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
"""Pillow's modes with 8 bits a channel, or of which it keeps the upper 8."""
BITS, PHOTOMETRIC, ORIENTATION, SAMPLE_FORMAT = 258, 262, 274, 339
"""Numbers of tags in a TIFF."""


def read_image(path: Path) -> Tensor:
    """Decode a file to uint8 RGB (3, H, W); alpha is dropped, grey is repeated, an EXIF rotation is not applied.

    Of 16 bits a channel the upper 8 are kept, of 12 bits likewise.

    Pillow and not OpenCV, because OpenCV returns a part of a truncated file without a word.

    Raises:
        BenchmarkError: missing, truncated, not an image, or of numbers whose scale nothing tells (32 bits, floats).
    """
    pixels = decode(path, lambda image: rgb(path, image))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def rgb(path: Path | str, image: Image.Image) -> np.ndarray:
    """Pixels of an opened image, uint8 (H, W, 3), as :func:`read_image` takes them.

    Args:
        path: names the image in messages.
        image: as Pillow opened it.
    Raises:
        BenchmarkError: its numbers have a scale that nothing tells.
    """
    if image.mode in _EIGHT_BITS:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")  # by Pillow's version
    if not sixteen or tiff_tag(image, PHOTOMETRIC, 1) == 0:
        raise BenchmarkError(
            f"{path} holds pixels of the kind {image.mode}, which cannot be shown without a choice; save it with 8 or "
            f"16 bits a channel."
        )
    # Pillow's own conversion would clip at 255.
    (bits,) = tiff_tag(image, BITS, (16,))
    grey = (np.asarray(image).astype(np.uint16) >> (bits - 8)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def decode(path: Path, read: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """What `read` makes of the opened file.

    Raises:
        BenchmarkError: as :func:`read_image`, or what `read` raises.
    """
    try:
        require_file(path)
        with Image.open(path, formats=_FORMATS) as image:
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a JPEG with a preview
            if frames > 1:
                raise BenchmarkError(f"{path} holds {frames} images; save the one that is meant alone.")
            if (turned := tiff_tag(image, ORIENTATION, 1)) != 1:
                raise BenchmarkError(f"{path} is stored turned (orientation {turned}); save it upright.")
            return read(image)
    except BenchmarkError:
        raise
    except FileNotFoundError:
        raise BenchmarkError(f"{path} is not there any more; put it back or unpack the archive again.") from None
    except Exception as error:  # whatever Pillow's readers raise at bytes that somebody made up
        reason = str(error) or type(error).__name__
        raise BenchmarkError(
            f"{path} cannot be decoded ({reason}); it is truncated or damaged: download or unpack it again."
        ) from error


def tiff_tag(image: Image.Image, number: int, default: Any) -> Any:
    """A tag of an opened TIFF; the default where it has none or is no TIFF."""
    return getattr(image, "tag_v2", {}).get(number, default) if image.format == "TIFF" else default


def find_images(folder: Path, end: str = "") -> dict[str, Path]:
    """Every image file beneath a folder by its relative name without suffix (:func:`benchmark.io.walk.walk`).

    Args:
        folder: where to look.
        end: what the stem must end with ("_leftImg8bit"); the name is without it.
    Raises:
        BenchmarkError: no such folder, two files of one name, or as ``walk``.
    """
    if not os.path.isdir(folder):
        raise BenchmarkError(f"{folder} is missing; unpack the archive there or name its place with --data.")
    found: dict[str, Path] = {}
    for relative, path in walk(folder, SUFFIXES).items():
        if not path.stem.endswith(end):
            continue
        name = relative.removesuffix(path.suffix).removesuffix(end)
        if name in found:
            raise BenchmarkError(f"{found[name]} and {path} have the same name; remove one of them.")
        found[name] = path
    return found


def natural(name: str) -> list[tuple[int, str]]:
    """Sorting key that puts "t5/9" before "t5/10"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
