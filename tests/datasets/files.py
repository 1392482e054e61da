"""Tiny image and label files in the layouts of the file datasets."""

from collections.abc import Iterable, Mapping
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


def cityscapes(
    root: Path,
    raw: np.ndarray,
    images: str = "cityscapes/leftImg8bit",
    labels: str = "cityscapes/gtFine",
    ending: str = "_gtFine_labelIds",
) -> None:
    """Cityscapes' train and val beneath a root, one city and two images each, with the same labels everywhere."""
    for split, city in (("train", "ulm"), ("val", "lindau")):
        for n in (2, 10):
            name = f"{split}/{city}/{city}_{n:06}_000019"
            write(root / images / f"{name}_leftImg8bit.png", noise(n))
            write(root / labels / f"{name}{ending}.png", raw)


def lost_and_found(root: Path, names: Iterable[str], raw: np.ndarray, ending: str = "_gtCoarse_labelIds") -> None:
    """Test images of Lost and Found beneath its folder, all with the same labels; a scene is a name's beginning."""
    for i, name in enumerate(names):
        place = f"test/{name.rsplit('_', 2)[0]}/{name}"
        write(root / "leftImg8bit" / f"{place}_leftImg8bit.png", noise(i, size=raw.shape))
        write(root / "gtCoarse" / f"{place}{ending}.png", raw)


def bdd(home: Path, layout: str, masks: Mapping[str, np.ndarray]) -> None:
    """BDD100K-10K beneath its folder from masks "train/NAME" and "val/NAME" of the values 0..18 and 255.

    Args:
        home: the folder.
        layout: "2020", "2018", or "authors", whose masks hold each value plus 2, and 1 for 255.
        masks: by name.
    """
    images, labels, end = {
        "2020": ("images/10k", "labels/sem_seg/masks", ""),
        "2018": ("seg/images", "seg/labels", "_train_id"),
        "authors": ("seg/images", "seg/train_labels", "_train_id"),
    }[layout]
    for i, (name, mask) in enumerate(masks.items()):
        write(home / images / f"{name}.jpg", noise(i, size=mask.shape))
        raw = np.where(mask == 255, 1, mask + 2).astype(np.uint8) if layout == "authors" else mask
        write(home / labels / f"{name}{end}.png", raw)
