"""Fishyscapes Lost & Found (Blum et al., 2021): images of Lost and Found with finer labels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmark.data import Download
from benchmark.errors import BenchmarkError
from benchmark.images import find_images, natural

from ._city_folders import IMAGE_END, IMAGES, find_part, homes
from ._evaluation import FISHYSCAPES, Bundled, Source
from ._files import Pair, find_folder
from .lost_and_found import HOMES, IMAGES_ARCHIVE

_SPLITS = ("test", "train")


class FishyscapesLostAndFound(Bundled):
    """The 100 public validation images, 2048x1024; labels hold 0 (known), 1 (anomaly) and 255 (void).

    Either the folder ``anomaly_val/FS_LostFound_full`` (or ``fishyscapes/LostAndFound``) with the images, or the
    authors' archive ``fishyscapes_lostandfound.zip``, unpacked into ``fishyscapes_lostandfound/``: its labels
    ``NNNN_NAME_labels.png`` belong to the images ``leftImg8bit/{train,test}/SCENE/NAME_leftImg8bit.png`` of Lost and
    Found, which must lie beside it in ``lost_and_found/``.
    """

    card = replace(
        Bundled.card,
        title="Fishyscapes Lost & Found (validation)",
        licence="labels CC BY 4.0; images under the licence of Lost and Found, non-commercial research",
        citation=FISHYSCAPES,
        url="https://fishyscapes.com",
        # Size and checksum of the labels as the authors' own loader holds them against (hermannsblum/bdl-benchmark).
        downloads=(
            Download(
                "fishyscapes_lostandfound",
                "https://robotics.ethz.ch/~asl-datasets/Fishyscapes/fishyscapes_lostandfound.zip",
                members=((r"(?:[^/]+/)?([^/]+_labels\.png)", r"\1"),),
                size=729_335,
                checksum="sha256:f0078e89f0a147060a0864feb90e8b523313a2723b1b764bce638dc425473094",
            ),
            IMAGES_ARCHIVE,
        ),
        sizes={"test": 100},
    )
    folders = ("FS_LostFound_full", "FS_LostAndFound_full", "fs_lost_and_found", "fishyscapes/LostAndFound")
    elsewhere = ", nor fishyscapes_lostandfound/ beside lost_and_found/leftImg8bit"

    @classmethod
    def _source(cls, root: Path) -> Source | None:
        if found := super()._source(root):
            return found
        labels = find_folder(root, "fishyscapes_lostandfound", "fishyscapes/fishyscapes_lostandfound")
        images = [p for split in _SPLITS if (p := find_part(homes(root, *HOMES), IMAGES, split))]
        return partial(_pairs, labels, images) if labels and images else None


def _pairs(labels: Path, images: list[Path]) -> list[Pair]:
    """Every label file with the image of Lost and Found that its name says."""
    found = find_images(labels, "_labels")
    pairs = []
    for key in sorted(found, key=natural):
        name = key.rpartition("/")[2].partition("_")[2]  # without the running number
        scene = name.rsplit("_", 2)[0]
        places = [folder / scene / f"{name}{IMAGE_END}.png" for folder in images]
        image = next((p for p in places if p.is_file()), None)
        if image is None:
            raise BenchmarkError(
                f"{found[key]} has no image {places[0]}; unpack leftImg8bit.zip of Lost and Found there."
            )
        pairs.append(Pair(key, image, found[key]))
    if not pairs:
        raise BenchmarkError(f"{labels} holds no *_labels.png; unpack fishyscapes_lostandfound.zip there.")
    return pairs
