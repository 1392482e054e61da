"""A folder set of three small images and score maps of them, for faults to break."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

TOML = """
trained_on = "minihazards"
[labels]
0 = "normal"
1 = "anomaly"
255 = "ignore"
"""
SCORE = ["score", "{}/maps", "--dataset", "folder:path={}/set"]
"""Measures the maps."""
SIZE = (24, 32)


def lay_out(home: Path) -> None:
    """``set/images``, ``set/labels``, ``set/dataset.toml`` and ``maps`` below a folder."""
    rng = np.random.default_rng(0)
    (home / "set").mkdir(parents=True)
    (home / "set/dataset.toml").write_text(TOML)
    for number in range(3):
        labels = np.zeros(SIZE, np.uint8)
        labels[4:9, number : number + 6] = 1
        labels[-2:] = 255
        save(home / f"set/images/{number}.png", rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        save(home / f"set/labels/{number}.png", labels)
        save(home / f"maps/{number}.npy", (labels == 1) + rng.normal(size=SIZE))


def save(path: Path, pixels: np.ndarray) -> None:
    """Write an array as an image, or as npy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels.astype(np.float32))
    else:
        Image.fromarray(pixels).save(path)


def relabel(home: Path, change) -> None:
    """Replace the pixels of every label file by a function of them."""
    for path in (home / "set/labels").glob("*.png"):
        save(path, change(np.array(Image.open(path))))


def rescore(home: Path, change) -> None:
    """Replace every score map by a function of it, in the type that this returns."""
    for path in (home / "maps").glob("*.npy"):
        np.save(path, change(np.load(path)))


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A PNG file of what its header says and what its rows hold, which need not agree."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def npy(header: str, content: bytes = b"") -> bytes:
    """An npy file with this header."""
    text = header.encode().ljust(118 - 10 + 10 - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def pipe(path: Path) -> None:
    """Put a pipe in the place of a file: whoever opens it waits."""
    path.unlink()
    os.mkfifo(path)
