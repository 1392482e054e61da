"""Score maps as files: what ``infer`` writes and ``score`` reads."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmark.errors import BenchmarkError

SUFFIXES = (".npy", ".npz", ".png", ".tif", ".tiff", ".hdf5")
"""What :func:`read_scores` reads."""
FORMATS = {"npy": ".npy", "tif": ".tif", "png": ".png", "hdf5": ".hdf5"}
"""What :func:`write_scores` writes: name -> suffix."""


def read_scores(path: Path) -> np.ndarray:
    """The score map in a file.

    Raises:
        BenchmarkError: not readable, or not one map of at least 16 bits.
    """
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                if len(archive.files) != 1:
                    raise BenchmarkError(f"{path} holds {len(archive.files)} arrays; it must hold the score map alone.")
                return archive[archive.files[0]]
        if path.suffix == ".hdf5":
            return _read_hdf5(path)
        from PIL import Image

        with Image.open(path) as image:
            if not image.mode.startswith(("I", "F")):
                raise BenchmarkError(
                    f"{path} is of mode {image.mode}; write one channel of 16 bits or float32, as fewer bits make ties."
                )
            return np.asarray(image)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise BenchmarkError(f"{path} cannot be read ({error}); write it again.") from error


def write_scores(path: Path, scores: np.ndarray) -> None:
    """Write a score map in the format that the suffix names, whole or not at all.

    ``.npy`` and ``.tif`` keep float32 as it is. ``.png`` holds 16-bit codes (:func:`half_codes`): another scale, the
    same order. ``.hdf5`` holds float16 under the name "value", as SegmentMeIfYouCan's toolkit does.

    Args:
        path: with a suffix of :data:`FORMATS`.
        scores: float32 (H, W), higher = more anomalous.
    Raises:
        BenchmarkError: the file cannot be written, or 16 bits do not hold the scores.
    """
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


def _read_hdf5(path: Path) -> np.ndarray:
    with hdf5().File(path, "r") as file:
        if "value" not in file:
            raise BenchmarkError(f"{path} holds no dataset named 'value'; write the score map under that name.")
        return file["value"][:]


def _write(path: Path, suffix: str, scores: np.ndarray) -> None:
    if suffix == ".npy":
        with path.open("wb") as file:
            np.save(file, np.asarray(scores, np.float32))
    elif suffix == ".hdf5":
        with hdf5().File(path, "w") as file:
            file.create_dataset("value", data=_half(scores), compression="gzip")
    else:
        from PIL import Image

        pixels = half_codes(scores) if suffix == ".png" else np.asarray(scores, np.float32)
        Image.fromarray(pixels).save(path, format="PNG" if suffix == ".png" else "TIFF")
