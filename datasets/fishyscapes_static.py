"""Fishyscapes Static (Blum et al., 2021): objects of PASCAL VOC blended into validation images of Cityscapes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data import Download, Policy
from benchmark.errors import BenchmarkError
from benchmark.images import find_images, natural

from ._city_folders import IMAGE_END, IMAGES, find_part, homes
from ._evaluation import FISHYSCAPES, Bundled, Source
from ._files import Pair, find_folder, pair_up
from .cityscapes import IMAGES_ARCHIVE


class FishyscapesStatic(Bundled):
    """The 30 public validation images, 2048x1024; labels hold 0 (known), 1 (anomaly) and 255 (void).

    One of

    * ``anomaly_val/fs_static`` (or ``fishyscapes/Static``) with images and masks in folders,
    * ``fs_static_val/`` with ``NAME_rgb.jpg`` beside ``NAME_labels.png``,
    * the authors' archive ``fs_val_v3.zip``, unpacked into ``fs_val_v3/``: ``NNNN_NAME_rgb.npz`` is added to the
      Cityscapes image ``leftImg8bit/val/CITY/NAME_leftImg8bit.png`` (which must lie beside it in ``cityscapes/``) and
      clipped to 0..255; ``NNNN_NAME_labels.png`` is the mask. Some of its objects are Cityscapes' own and labelled 0.

    Much published code leaves out the images without an anomaly, which drops a third of the normal pixels and lifts
    AUPR by a few points: that is the protocol pooled-anomalous, recorded beside pooled.
    """

    card = replace(
        Bundled.card,
        title="Fishyscapes Static (validation)",
        note="The anomalies are pasted in.",
        licence="images under the Cityscapes licence, non-commercial research; objects from PASCAL VOC",
        citation=FISHYSCAPES,
        url="https://fishyscapes.com",
        # The checksum is the one that pytorch-ood holds the archive against.
        downloads=(
            Download(
                "fs_val_v3",
                "https://robotics.ethz.ch/~asl-datasets/Fishyscapes/fs_val_v3.zip",
                members=((r"(?:[^/]+/)?([^/]+_(?:rgb\.npz|labels\.png))", r"\1"),),
                checksum="md5:0dc11db9e57088c5bb18de4c55a53f3a",
            ),
            IMAGES_ARCHIVE,
        ),
        obtain="""\
The objects are public and fetched; the images they are pasted into are those of Cityscapes:
1. Register at https://www.cityscapes-dataset.com/register/ and accept the licence.
2. From https://www.cityscapes-dataset.com/downloads/ get leftImg8bit_trainvaltest.zip (11 GB).
3. python -m benchmark fetch fishyscapes-static --archive leftImg8bit_trainvaltest.zip
   or unpack it yourself into the folder cityscapes/ of the data root.""",
        sizes={"test": 30},
    )
    policy = Policy(protocols=("per-image", "pooled", "pooled-anomalous"))
    folders = ("fs_static", "fishyscapes/Static")
    elsewhere = ", nor fs_static_val/, nor fs_val_v3/ beside cityscapes/leftImg8bit/val"

    @classmethod
    def _source(cls, root: Path) -> Source | None:
        if found := super()._source(root):
            return found
        if flat := find_folder(root, "fs_static_val", "fishyscapes/fs_static_val"):
            return partial(pair_up, flat, flat, "_rgb", "_labels")
        overlays = find_folder(root, "fs_val_v3", "fishyscapes/fs_val_v3")
        images = find_part(homes(root, "cityscapes"), IMAGES, "val")
        return partial(_pairs, overlays, images) if overlays and images else None

    def _image(self, pair: Pair) -> Tensor:
        image = super()._image(pair)
        if pair.overlay is None:
            return image
        try:
            with np.load(pair.overlay, allow_pickle=False) as archive:
                added = torch.from_numpy(archive["rgb"].astype(np.int32)).permute(2, 0, 1)
            return (image.int() + added).clamp(0, 255).to(torch.uint8)
        except Exception as error:  # whatever the readers of archives raise at damaged bytes
            raise BenchmarkError(
                f"{pair.overlay} is no overlay for {pair.image} ({error}); unpack fs_val_v3.zip again."
            ) from error


def _pairs(overlays: Path, images: Path) -> list[Pair]:
    """Every label file of the authors' archive with its overlay and the image of Cityscapes that its name says."""
    found = find_images(overlays, "_labels")
    pairs = []
    for key in sorted(found, key=natural):
        name = key.rpartition("/")[2].partition("_")[2]  # without the running number
        image = images / name.partition("_")[0] / f"{name}{IMAGE_END}.png"
        overlay = found[key].with_name(found[key].name.replace("_labels.png", "_rgb.npz"))
        for path, archive in ((image, "leftImg8bit_trainvaltest.zip of Cityscapes"), (overlay, "fs_val_v3.zip")):
            if not path.is_file():
                raise BenchmarkError(f"{found[key]} needs {path}; unpack {archive} there.")
        pairs.append(Pair(key, image, found[key], overlay))
    if not pairs:
        raise BenchmarkError(f"{overlays} holds no *_labels.png; unpack fs_val_v3.zip there.")
    return pairs
