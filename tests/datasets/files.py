"""Tiny image and label files in the layouts of the file datasets."""

from pathlib import Path

import numpy as np
from PIL import Image


def write(path: Path, pixels: np.ndarray) -> Path:
    """Write an array as an image, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def noise(seed: int, channels: int = 3, size: tuple[int, int] = (12, 20)) -> np.ndarray:
    """Random pixels (H, W, channels)."""
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def ids(low: int, high: int, size: tuple[int, int] = (12, 20)) -> np.ndarray:
    """Labels (H, W) in which every id from low to high occurs."""
    return (np.arange(size[0] * size[1]) % (high - low + 1) + low).astype(np.uint8).reshape(size)


def streethazards(train: Path, test: Path, channels: int = 3) -> None:
    """The archives' content beneath two folders, which may be the same; two images a town."""
    towns = (
        (train / "train", "training", "t1", 13),
        (train / "train", "validation", "t4", 13),
        (test / "test", "test", "t5", 14),
        (test / "test", "test", "t6", 14),
    )
    for i, (home, part, town, highest) in enumerate(towns):
        for n in (2, 10):
            write(home / "images" / part / town / f"{n}.png", noise(10 * i + n, channels))
            write(home / "annotations" / part / town / f"{n}.png", ids(1, highest))


def camvid(root: Path, names: tuple[str, str] = ("camvid", "camvid_ood")) -> None:
    """CamVid and CamVid-OOD beneath a root, two images a split."""
    parts = ((names[0], "train", "trainannot", 11), (names[0], "val", "valannot", 11))
    for i, (home, images, labels, highest) in enumerate((*parts, (names[1], "test_ood", "testannot_ood", 12))):
        for n in range(2):
            write(root / home / images / f"drive_{n}.jpg", noise(10 * i + n))
            write(root / home / labels / f"drive_{n}.png", ids(0, highest))
