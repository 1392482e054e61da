"""Sets without a training split, for networks that were trained on Cityscapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from benchmark.data import ANOMALY, IGNORE, DatasetCard

from ._files import FileDataset, Pair, find_folder, pair_up
from .cityscapes import Cityscapes

SMIYC = (
    "Chan, Lis, Uhlemeyer, Blum, Honari, Siegwart, Fua, Salzmann, Rottmann: SegmentMeIfYouCan: A Benchmark for Anomaly "
    "Segmentation. NeurIPS Datasets and Benchmarks 2021."
)
FISHYSCAPES = (
    "Blum, Sarlin, Nieto, Siegwart, Cadena: The Fishyscapes Benchmark: Measuring Blind Spots in Semantic Segmentation. "
    "International Journal of Computer Vision 129, 2021."
)
_BUNDLES = ("anomaly_val", "Validation_Dataset", "Anomaly_Validation_Dataset", "Anomaly_Validation_Datasets")
_PARTS = (("images", "labels_masks"), ("original", "labels"), ("images", "labels"))

Source = Callable[[], list[Pair]]
"""Lists the files of a set that was found."""


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


class EvaluationOnly(FileDataset):
    """A test split whose labels tell anomaly from known and say nothing of classes.

    A known pixel has label 0, which here means "known" and not "road", and there is no mIoU.
    """

    card = DatasetCard(
        classes=Cityscapes.card.classes,
        palette=Cityscapes.card.palette,
        class_labels=False,
        trained_on="cityscapes",
        splits=("test",),
    )


class Bundled(EvaluationOnly):
    """Images in ``anomaly_val/<folder>/images``, masks of the same name in ``anomaly_val/<folder>/labels_masks``.

    The bundle's folder may also be called ``Validation_Dataset`` or be the data root itself; instead of ``images`` and
    ``labels_masks`` there may be ``original`` or ``images`` and ``labels``.
    """

    folders: ClassVar[tuple[str, ...]] = ()
    """Names of the set's folder, disregarding case, "-" and "_"; the first is the one that messages name."""
    elsewhere: ClassVar[str] = ""
    """The other places that are looked at, in words."""
    values: ClassVar[Mapping[int, int]] = {0: 0, 1: ANOMALY, 255: IGNORE}
    """Value in a mask -> label."""

    def __init__(self, split: str, root: Path) -> None:
        super().__init__(split, root)
        source = self._source(self.root)
        if source is None:
            raise self.absent(f"folder anomaly_val/{self.folders[0]} (with images/ and labels_masks/){self.elsewhere}")
        self._open(source(), self.values)

    @classmethod
    def available(cls, root: Path) -> bool:
        return cls._source(Path(root)) is not None

    @classmethod
    def _source(cls, root: Path) -> Source | None:
        """How the set's files are listed, None where it is not found."""
        bundles = [b for name in _BUNDLES if (b := find_folder(root, name))]
        for home in (h for b in (*bundles, root) for name in cls.folders if (h := find_folder(b, name))):
            for images, labels in _PARTS:
                if (home / images).is_dir() and (home / labels).is_dir():
                    return partial(pair_up, home / images, home / labels)
        return None
