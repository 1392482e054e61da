"""Photos and videos as people have them, without labels, for ``infer`` and the Python API."""

from __future__ import annotations

import hashlib
import importlib
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.data import IGNORE, Dataset, Sample
from benchmark.errors import BenchmarkError
from benchmark.images import ORIENTATION, natural, rgb
from benchmark.io.walk import named, require_file, walk
from benchmark.maps.video import VIDEOS, Video

LEFT_OUT = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""What Pillow tells by its content and does not decode itself; EPS is a program, run by an interpreter."""
HEIF = (".heic", ".heif")
"""What telephones write; Pillow reads it with the package pillow-heif."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Value of EXIF's orientation -> what turns the stored pixels upright."""


class Photos(Dataset):
    """Photos and frames of videos; every pixel is labelled "ignore".

    The id of a photo in a folder is its relative name without suffix, that of a single file its name without suffix,
    that of a frame of a video its name without suffix and the number of the frame from 0 ("drive/000120").

    Args:
        sources: photos, folders of photos, and videos.
        longest: what has a longer side than this, in pixels, is reduced to it, antialiased; 0 reduces nothing.
        every: of a video, every so-manieth frame.
    Raises:
        BenchmarkError: a source does not exist, there is no photo, a video cannot be read, or two have one id.
    """

    def __init__(self, sources: Sequence[Path], longest: int = 0, every: int = 1) -> None:
        self.sources = tuple(map(Path, sources))
        self.longest = longest
        self.sizes: dict[str, tuple[int, int]] = {}
        """(H, W) of what has been read so far, as it is stored."""
        self._found: dict[str, tuple[Path, int]] = {}
        self.videos: dict[Path, Video] = {}
        for source in self.sources:
            self._add(source, every)
        if not self._found:
            raise BenchmarkError(f"{', '.join(map(str, sources))}: no images there; videos are named one by one.")
        self._ids = list(self._found)

    def _add(self, source: Path, every: int) -> None:
        if not os.path.exists(source):  # other than Path.exists, also of a name that no file can have
            raise BenchmarkError(f"{source} is neither an image file nor a folder of images.")
        name = named(source, source.parent).removesuffix(source.suffix)
        if source.is_dir():
            for relative, path in sorted(walk(source, _suffixes()).items(), key=lambda item: natural(item[0])):
                self._put(relative.removesuffix(path.suffix), path)
        elif source.suffix.lower() in VIDEOS:
            video = self.videos[source] = Video(source, every)
            for number in video.numbers:
                self._put(f"{name}/{number:06}", source, number)
        else:
            self._put(name, source)

    def _put(self, image_id: str, path: Path, frame: int = -1) -> None:
        if image_id in self._found:
            raise BenchmarkError(
                f"{self._found[image_id][0]} and {path} would both be image '{image_id}'; give them apart."
            )
        self._found[image_id] = (path, frame)

    @property
    def reduced(self) -> int:
        """How many of the images that have been read so far were reduced."""
        return sum(0 < self.longest < max(size) for size in self.sizes.values())

    def video_of(self, image_id: str) -> Video | None:
        """The video that an image is a frame of."""
        return self.videos.get(self._found[image_id][0])

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        image_id = self._ids[index]
        path, frame = self._found[image_id]
        pixels = read_photo(path) if frame < 0 else self.videos[path].frame(frame)
        self.sizes[image_id] = pixels.shape[:2]
        image = as_image(reduce(pixels, self.longest))
        return Sample(image_id, image, torch.full(image.shape[1:], IGNORE, dtype=torch.uint8))

    def fingerprint(self) -> str:
        """SHA-256 over the name and the content of every file, what is left out of a video, and `longest`."""
        digest = hashlib.sha256(f"{self.longest}".encode())
        for path in dict.fromkeys(path for path, _ in self._found.values()):
            every = self.videos[path].every if path in self.videos else 1
            try:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise BenchmarkError(f"{path} cannot be read ({error.strerror}); put it back.") from error
            digest.update(f"\n{path.name} {every} {content}".encode(errors="surrogateescape"))
        return digest.hexdigest()


def read_photo(path: Path) -> np.ndarray:
    """Decode a photo to uint8 RGB (H, W, 3), upright as its EXIF says.

    Any format that Pillow decodes, told by the content. Alpha is dropped, grey is repeated; of 16 bits a channel the
    upper 8 are kept.

    Raises:
        BenchmarkError: missing, truncated, not an image, of several images, too large for Pillow, or of numbers whose
            scale nothing tells (floats).
    """
    try:
        require_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a large photo; what is a bomb is an error
            with Image.open(path, formats=_formats()) as image:
                frames = 1 if image.format in ("MPO", "HEIF") else getattr(image, "n_frames", 1)  # others are previews
                if frames > 1:
                    raise BenchmarkError(f"{path} holds {frames} images; save the one that is meant alone.")
                return _upright(path, image)
    except BenchmarkError:
        raise
    except FileNotFoundError:
        raise BenchmarkError(f"{path} is not there; put it back.") from None
    except Image.DecompressionBombError as error:
        raise BenchmarkError(f"{path} is too large ({error}); reduce it first.") from None
    except Image.UnidentifiedImageError:
        more = "; `pip install pillow-heif` reads it" if path.suffix.lower() in HEIF else ""
        raise BenchmarkError(f"{path} is no image that Pillow can read{more}.") from None
    except Exception as error:  # whatever Pillow's readers raise at bytes that somebody made up
        reason = str(error) or type(error).__name__
        raise BenchmarkError(f"{path} cannot be decoded ({reason}); it is truncated or damaged.") from error


def _upright(path: Path | str, image: Image.Image) -> np.ndarray:
    pixels = rgb(path, image)
    # Asked after decoding, which turns some formats by itself and takes the tag away.
    turned = image.getexif().get(ORIENTATION, 1)
    return np.asarray(Image.fromarray(pixels).transpose(UPRIGHT[turned])) if turned in UPRIGHT else pixels


def reduce(pixels: np.ndarray, longest: int) -> np.ndarray:
    """An image uint8 (H, W, 3) with at most `longest` pixels on its long side (bilinear, antialiased); 0 leaves it."""
    height, width = pixels.shape[:2]
    if not longest or max(height, width) <= longest:
        return pixels
    share = longest / max(height, width)
    size = max(1, round(width * share)), max(1, round(height * share))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def as_image(image: str | Path | Image.Image | np.ndarray | Tensor) -> Tensor:
    """An image in any usual form as uint8 RGB (3, H, W).

    Args:
        image: a file, a PIL image, an array uint8 (H, W, 3) or grey (H, W), or a tensor uint8 (3, H, W).
    Raises:
        BenchmarkError: it is of another type or shape, or the file cannot be read.
    """
    if isinstance(image, str | Path):
        image = read_photo(Path(image))
    elif isinstance(image, Image.Image):
        try:
            image = _upright("The image", image)
        except (OSError, ValueError) as error:  # Pillow reads it only now
            raise BenchmarkError(
                f"The image cannot be decoded ({error}); it was closed, or its file is damaged."
            ) from error
    if isinstance(image, np.ndarray):
        pixels = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size:
            return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
        raise BenchmarkError(
            f"An image is an array uint8 (H, W, 3) of RGB in 0..255, not {image.dtype} {tuple(image.shape)}."
        )
    if isinstance(image, Tensor):
        if image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] == 3 and image.numel():
            return image
        kind = str(image.dtype).removeprefix("torch.")
        raise BenchmarkError(f"An image is a tensor uint8 (3, H, W) of RGB in 0..255, not {kind} {tuple(image.shape)}.")
    raise BenchmarkError(f"An image is a file, a PIL image, an array or a tensor, not a {type(image).__name__}.")


@cache
def _formats() -> tuple[str, ...]:
    """Names of the formats that Pillow decodes here."""
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in Image.OPEN if name not in LEFT_OUT)


@cache
def _suffixes() -> frozenset[str]:
    """What photos in a folder may end in."""
    known = set(_formats())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known) | {*HEIF}
