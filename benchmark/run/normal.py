"""``--normal``: normal images of another set, on which methods are fitted where the network's own are not at hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.data import ANOMALY, IGNORE, Dataset, DatasetCard, Policy, Sample
from benchmark.derived import Derived
from benchmark.errors import BenchmarkError, UnmetNeed
from benchmark.images import find_images, natural, read_image
from benchmark.recipe import digest
from benchmark.registry import DATASETS, PluginSpec
from benchmark.weights.store import digest_file

if TYPE_CHECKING:
    from benchmark.method import Method
    from benchmark.run.setup import Setup


class Normal(Derived):
    """A training split of another set, with labels that mean something to the network or nothing at all.

    Where the network knows all classes of the set by their names, its pixels have the network's labels. Else no pixel
    says of which class it is: all that are not ignored have the label 0 ("normal"), and the card says
    ``class_labels=False``.

    Args:
        base: the split; pixels that are ignored there, or anomalous, are ignored here.
        names: of the network's classes; None where nobody says.
    """

    def __init__(self, base: Dataset, names: tuple[str, ...] | None) -> None:
        super().__init__(base)
        known = base.card.class_labels and names is not None and set(base.classes) <= set(names)
        self.card = dataclasses.replace(base.card, classes=names or base.classes, class_labels=known)
        table = torch.full((256,), 0, dtype=torch.uint8)
        if known and names is not None:
            for label, name in enumerate(base.classes):
                table[label] = names.index(name)
        table[ANOMALY:] = IGNORE
        self._table = table

    def __getitem__(self, index: int) -> Sample:
        sample = self.base[index]
        return Sample(sample.id, sample.image, self._table[sample.labels.long()])

    def fingerprint(self) -> str:
        return digest([self.base.fingerprint(), "normal", self._table.tolist()], 64)


class Images(Dataset):
    """A folder of images without labels, every pixel of which is normal.

    Args:
        folder: searched through all its subfolders.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("train", folder)
        self.paths = dict(sorted(find_images(folder).items(), key=lambda item: natural(item[0])))
        if not self.paths:
            raise BenchmarkError(f"--normal {folder} holds no image; name a folder of images, or a dataset.")
        self.spec = PluginSpec(f"{folder.resolve().name}-{digest(str(folder.resolve()), 8)}", {}, {})
        self.card = DatasetCard(title=folder.resolve().name, classes=("normal",), class_labels=False)
        self.policy = Policy()
        self._ids = list(self.paths)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        name = self._ids[index]
        image: Tensor = read_image(self.paths[name])
        return Sample(name, image, torch.zeros(image.shape[-2:], dtype=torch.uint8))

    def fingerprint(self) -> str:
        return digest([[name, digest_file(path)] for name, path in self.paths.items()], 64)


def normal_split(call: str, split: str, root: Path, names: tuple[str, ...] | None) -> Dataset | None:
    """Normal images as ``--normal`` names them.

    Args:
        call: a dataset with its options, or a folder of images.
        split: "train", or "val", which a folder of images and some datasets do not have; it is None then.
        root: the data root.
        names: of the network's classes; None where nobody says.
    Raises:
        BenchmarkError: there is no such dataset or folder, or it has no training split, since nothing is fitted to test
            images.
    """
    name = DATASETS.canonical(call.partition(":")[0])
    if name not in DATASETS.names() and Path(call).is_dir():
        return Normal(Images(Path(call)), names) if split == "train" else None
    if name not in DATASETS.names():
        raise BenchmarkError(
            f"--normal {call} is neither a folder nor a dataset; `python -m benchmark list datasets` shows these."
        )
    try:
        return Normal(DATASETS.create(call, split=split, root=root), names)
    except BenchmarkError as error:
        if split != "train":
            return None
        raise BenchmarkError(f"--normal {call}: {error}") from None


def check_labels(setup: Setup, method: Method) -> None:
    """Refuse to fit what reads classes to images on which nobody has labelled those of the network.

    Raises:
        UnmetNeed: that is what would be done.
    """
    normal = setup.normal
    if normal is not None and method.needs_classes and not normal.card.class_labels:
        raise UnmetNeed(
            f"It is fitted to the classes of pixels, and the images of {normal.label} are not labelled with those of "
            f"{setup.base.dataset}; name other images by --normal, or leave the method out."
        )
