"""The folders of Cityscapes, which Lost and Found shares: ``leftImg8bit/SPLIT/PLACE/NAME_leftImg8bit.png``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ._files import find_folder

IMAGES = "leftImg8bit"
IMAGE_END = "_leftImg8bit"


def find_part(homes: Sequence[Path], part: str, split: str) -> Path | None:
    """The folder of a split in one part (``leftImg8bit``, ``gtFine``), in the first home that has it.

    A part may lie in a folder of its archive's name: ``leftImg8bit_trainvaltest/leftImg8bit``.
    """
    places = (home / outer / part / split for home in homes for outer in ("", f"{part}_trainvaltest", part))
    return next((place for place in places if place.is_dir()), None)


def find_split(homes: Sequence[Path], labels: str, split: str) -> tuple[Path, Path] | None:
    """The image and the label folder of a split, both in one home."""
    for home in homes:
        found = find_part([home], IMAGES, split), find_part([home], labels, split)
        if all(found):
            return found  # type: ignore[return-value]
    return None


def homes(root: Path, *names: str) -> list[Path]:
    """The folder under the data root that has one of the names, then the data root itself."""
    own = find_folder(root, *names)
    return [own, root] if own else [root]


def some_file(folder: Path, end: str) -> bool:
    """Whether a folder of places holds a file that ends so; stops at the first."""
    return next(folder.glob(f"*/*{end}"), None) is not None
