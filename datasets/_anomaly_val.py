"""The sets of the "anomaly validation" bundle: images without a training split, for Cityscapes networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmark.errors import BenchmarkError
from datasets._files import FileDataset, find_folder, pair_up

SMIYC = (
    "Chan, Lis, Uhlemeyer, Blum, Honari, Siegwart, Fua, Salzmann, Rottmann: SegmentMeIfYouCan: A Benchmark for Anomaly "
    "Segmentation. NeurIPS Datasets and Benchmarks 2021."
)


def validation_members(track: str, suffix: str, but: str = "$.") -> tuple[tuple[str, str], ...]:
    """Members of a SegmentMeIfYouCan archive that are validation images or their masks, for ``Download.members``.

    Args:
        track: the archive's one folder.
        suffix: of the images, which lie in ``images/``; the masks are ``labels_masks/NAME_labels_semantic.png``.
        but: numbers left out, as a regular expression (default: none).
    """
    name = rf"(validation_?(?!{but}\b|{but}_)\d+)"
    return (
        (rf"{track}/images/{name}\.{suffix}", rf"images/\1.{suffix}"),
        (rf"{track}/labels_masks/{name}_labels_semantic\.png", r"labels_masks/\1.png"),
    )


class AnomalyVal(FileDataset):
    """Images in ``anomaly_val/<folder>/images``, masks of the same name in ``anomaly_val/<folder>/labels_masks``.

    The masks tell anomaly from known and say nothing of classes: a known pixel has label 0, which here means "known"
    and not "road", and there is no mIoU.
    """

    folder: ClassVar[str] = ""
    """Name of the set's folder, disregarding case, "-" and "_"."""
    values: ClassVar[Mapping[int, int]] = {}
    """Value in a mask -> label."""

    classes = (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    )  # fmt: skip
    palette = (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    )  # fmt: skip
    class_labels = False
    trained_on = "cityscapes"

    def __init__(self, split: str, root: Path) -> None:
        super().__init__(split, root)
        if split != "test":
            raise BenchmarkError(
                f"{self.name} has no {split} split; it only evaluates networks trained on {self.trained_on}."
            )
        home = self._find(self.root)
        if home is None:
            raise self.absent(f"folder anomaly_val/{self.folder} (with images/ and labels_masks/)")
        self._open(pair_up(home / "images", home / "labels_masks"), self.values)

    @classmethod
    def available(cls, root: Path) -> bool:
        return cls._find(Path(root)) is not None

    @classmethod
    def _find(cls, root: Path) -> Path | None:
        bundle = find_folder(root, "anomaly_val")
        return find_folder(bundle, cls.folder) if bundle else None
