"""Score maps as files: what ``infer`` writes and ``score`` reads."""

from __future__ import annotations

import math
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from benchmark.errors import BenchmarkError
from benchmark.images import BITS, SAMPLE_FORMAT, decode, tiff_tag
from benchmark.io.walk import require_file
from benchmark.metrics.inputs import check_range

SUFFIXES = (".npy", ".npz", ".png", ".tif", ".tiff", ".hdf5")
"""What :func:`read_scores` reads."""
MOST_PIXELS = 1 << 28
"""Of a score map: more is a damaged header, or not meant to be read into memory."""
_NUMBERS = ((BITS, (16,)), (SAMPLE_FORMAT, (1,)))
"""Tags of a TIFF that say what its numbers are, with what PNG amounts to."""
FORMATS = {"npy": ".npy", "tif": ".tif", "png": ".png", "hdf5": ".hdf5"}
"""What :func:`write_scores` writes: name -> suffix."""


def read_scores(path: Path) -> np.ndarray:
    """The score map in a file.

    What the file says of its size and type is looked at before its numbers are read.

    Raises:
        BenchmarkError: not readable, or not one map (H, W) of real numbers of at least 16 bits.
    """
    suffix = path.suffix.lower()
    if suffix == ".hdf5":
        hdf5()
    try:
        require_file(path)
        return _READERS[suffix](path)
    except BenchmarkError:
        raise
    except Exception as error:  # whatever the readers of five formats raise at bytes that somebody made up
        reason = str(error) or type(error).__name__
        raise BenchmarkError(f"{path} cannot be read ({reason}); write it again.") from error


def write_scores(path: Path, scores: np.ndarray) -> None:
    """Write a score map in the format that the suffix names, whole or not at all.

    ``.npy`` and ``.tif`` keep float32 as it is, ``.npy`` also float64. ``.png`` holds 16-bit codes
    (:func:`half_codes`): another scale, the same order. ``.hdf5`` holds float16 under the name "value", as
    SegmentMeIfYouCan's toolkit does.

    Args:
        path: with a suffix of :data:`FORMATS`.
        scores: (H, W), real numbers, higher = more anomalous.
    Raises:
        BenchmarkError: the file cannot be written, or the format does not hold the scores.
    """
    check_range(scores, path.stem)
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, path.suffix, scores)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        raise BenchmarkError(
            f"Cannot write {path} ({error.strerror or error}); free space or name another folder with --to."
        ) from error


def read_written(path: Path, form: str) -> np.ndarray:
    """What :func:`write_scores` wrote in a format in :data:`FORMATS`, as float32 (H, W).

    Raises:
        BenchmarkError: as :func:`read_scores`.
    """
    scores = read_scores(path)
    return from_half_codes(scores) if form == "png" else scores.astype(np.float32)


def as_stored(scores: np.ndarray, form: str) -> np.ndarray:
    """What a file of a format in :data:`FORMATS` gives back of scores, as float32: rounded where it holds float16."""
    return (_half(scores) if form in ("png", "hdf5") else np.asarray(scores)).astype(np.float32)


def hdf5() -> ModuleType:
    """The package h5py, which is no dependency of this project.

    Raises:
        BenchmarkError: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise BenchmarkError("HDF5 score maps need the package h5py; install it with `pip install h5py`.") from None
    return h5py


def half_codes(scores: np.ndarray) -> np.ndarray:
    """Float16 as uint16 in the order of the numbers: a fixed code, so that maps of different images compare.

    The bits of non-negative IEEE numbers already ascend with the number; those of negative ones descend and are
    inverted. Zero is 32768.
    """
    bits = _half(scores).view(np.uint16)
    return np.where(bits & 0x8000, ~bits, bits | 0x8000).astype(np.uint16)


def from_half_codes(codes: np.ndarray) -> np.ndarray:
    """The inverse of :func:`half_codes`, as float32."""
    codes = codes.astype(np.uint16)
    return np.where(codes & 0x8000, codes & 0x7FFF, ~codes).astype(np.uint16).view(np.float16).astype(np.float32)


def _half(scores: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = np.asarray(scores, np.float32).astype(np.float16) + np.float16(0)  # -0 becomes 0
    if (np.isinf(half) & ~np.isinf(scores)).any():
        raise BenchmarkError("The scores exceed the range of float16 (65504); use --format npy or tif.")
    return half


def _read_npy(path: Path) -> np.ndarray:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # maps no more than there is, whatever the header says
    if not isinstance(mapped, np.ndarray):
        raise BenchmarkError(f"{path} is an archive of arrays; name it .npz.")
    _check(path, mapped.shape, mapped.dtype)
    return np.array(mapped)


def _read_npz(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        if len(names := archive.namelist()) != 1:
            raise BenchmarkError(f"{path} holds {len(names)} arrays; it must hold the score map alone.")
        with archive.open(names[0]) as member:
            version = np.lib.format.read_magic(member)
            reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = reader[version](member)
        _check(path, shape, dtype)
        with archive.open(names[0]) as member:
            return np.lib.format.read_array(member, allow_pickle=False)


def _read_hdf5(path: Path) -> np.ndarray:
    h5py = hdf5()
    with h5py.File(path, "r") as file:
        if not isinstance(file.get("value", getlink=True), h5py.HardLink) or not isinstance(
            value := file["value"], h5py.Dataset
        ):
            raise BenchmarkError(f"{path} holds no dataset named 'value'; write the score map under that name.")
        _check(path, value.shape or (), value.dtype)
        # What lies in other files, or was never written, HDF5 reads as zeros without a word.
        if value.is_virtual or value.external:
            raise BenchmarkError(f"{path} keeps its numbers in other files; write them into it.")
        if value.chunks:
            written = value.id.get_num_chunks() == math.prod(
                math.ceil(n / c) for n, c in zip(value.shape, value.chunks, strict=True)
            )
        else:
            written = value.id.get_storage_size() >= value.nbytes
        if not written:
            raise BenchmarkError(f"{path} is not written to its end; write it again.")
        return value[:]


def _read_image(path: Path) -> np.ndarray:
    def values(image: Image.Image) -> np.ndarray:
        if not image.mode.startswith(("I", "F")):
            raise BenchmarkError(
                f"{path} is of mode {image.mode}; write one channel of 16 bits or float32, as fewer bits make ties."
            )
        bits, kind = (tiff_tag(image, tag, default)[0] for tag, default in _NUMBERS)
        if bits > 32 or (bits == 32 and kind == 1):  # Pillow makes float32 of float64, and negative of large unsigned
            raise BenchmarkError(f"{path} holds numbers of {bits} bits that TIFF readers cut; write float32 or an npy.")
        return np.asarray(image)

    return decode(path, values)


_READERS = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".hdf5": _read_hdf5,
    ".png": _read_image,
    ".tif": _read_image,
    ".tiff": _read_image,
}


def _check(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse what is no map of real numbers, before memory is asked for."""
    if dtype.kind not in "buif":
        raise BenchmarkError(f"{path} holds values of type {dtype}; a score map holds one real number a pixel.")
    if len(shape) != 2 or not 0 < shape[0] * shape[1] <= MOST_PIXELS:
        raise BenchmarkError(f"{path} holds an array of shape {tuple(shape)}; a score map is (H, W).")


def _write(path: Path, suffix: str, scores: np.ndarray) -> None:
    if suffix == ".npy":
        with path.open("wb") as file:
            np.save(file, scores if scores.dtype == np.float64 else np.asarray(scores, np.float32))
    elif suffix == ".hdf5":
        with hdf5().File(path, "w") as file:
            file.create_dataset("value", data=_half(scores), compression="gzip")
    else:
        pixels = half_codes(scores) if suffix == ".png" else np.asarray(scores, np.float32)
        Image.fromarray(pixels).save(path, format="PNG" if suffix == ".png" else "TIFF")
