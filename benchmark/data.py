"""Sample, Batch and the Dataset protocol: raw pixels and labels, nothing normalised, nothing resized."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmark.errors import BenchmarkError

ANOMALY = 254
"""Label of a pixel that shows something no network was trained on."""
IGNORE = 255
"""Label of a pixel that takes part in nothing: neither in training nor in any metric."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Sample:
    """One image with its labels.

    Attributes:
        id: unique within the split, stable between runs, usable as a file name ("t5/12").
        image: uint8 RGB, (3, H, W), as stored on disk.
        labels: uint8, (H, W): 0..C-1 known classes, 254 anomaly, 255 ignore.
    """

    id: str
    image: Tensor
    labels: Tensor

    def checked(self, classes: int, where: str = "") -> Sample:
        """Return the sample itself, or say in one sentence which rule it breaks.

        Args:
            classes: number of known classes C.
            where: the file to name in the message.
        Raises:
            BenchmarkError: wrong dtype or shape, sizes that differ, a label id that does not exist.
        """
        name = where or self.id
        if self.image.dtype != torch.uint8 or self.image.ndim != 3 or self.image.shape[0] != 3:
            raise BenchmarkError(f"{name}: the image must be uint8 RGB (3, H, W), not {_form(self.image)}.")
        if self.labels.dtype != torch.uint8 or self.labels.ndim != 2:
            raise BenchmarkError(f"{name}: the labels must be uint8 (H, W), not {_form(self.labels)}.")
        if self.image.shape[1:] != self.labels.shape:
            raise BenchmarkError(
                f"{name}: the image is {self.image.shape[2]}x{self.image.shape[1]} pixels, "
                f"its labels are {self.labels.shape[1]}x{self.labels.shape[0]}."
            )
        wrong = (self.labels >= classes) & (self.labels < ANOMALY)
        if wrong.any():
            raise BenchmarkError(
                f"{name}: label id {int(self.labels[wrong][0])} does not exist; "
                f"known are 0..{classes - 1}, {ANOMALY} (anomaly) and {IGNORE} (ignore)."
            )
        return self


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of one size, stacked. Compared by identity, which is what network outputs are cached by."""

    ids: tuple[str, ...]
    images: Tensor  # uint8 (B, 3, H, W)
    labels: Tensor  # uint8 (B, H, W)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images and labels in pixels."""
        return tuple(self.images.shape[-2:])  # type: ignore[return-value]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(self.ids, self.images.to(device, non_blocking=True), self.labels.to(device, non_blocking=True))


def collate(samples: Sequence[Sample]) -> list[Batch]:
    """Stack samples into as few batches as their sizes allow, in order.

    Images of one dataset may differ in size; they are never resized to fit each other.
    """
    groups: list[list[Sample]] = []
    for sample in samples:
        if groups and groups[-1][0].image.shape == sample.image.shape:
            groups[-1].append(sample)
        else:
            groups.append([sample])
    return [
        Batch(
            tuple(s.id for s in group),
            torch.stack([s.image for s in group]),
            torch.stack([s.labels for s in group]),
        )
        for group in groups
    ]


@dataclass(frozen=True)
class Download:
    """A published archive, and which folder of the data root is made of it (``python -m benchmark fetch``).

    Attributes:
        folder: relative to the data root; it comes into being whole or not at all.
        url: https; empty where the archive is behind a login and the dataset's ``obtain`` says how to get it.
        members: pairs of a regular expression for the whole path of a member and its path in the folder (``\\1`` is
            the first group). The first that matches counts; a member that none matches is left out.
        size: of the archive in bytes, as published; 0 where it is not. The same holds for the next two.
        unpacked: bytes of the members.
        checksum: "md5:" or "sha256:" and the digest.
        file: name of the archive, where it is not the last part of the url.
    """

    folder: str
    url: str = ""
    members: tuple[tuple[str, str], ...] = ((r"(.+)", r"\1"),)
    size: int = 0
    unpacked: int = 0
    checksum: str = ""
    file: str = ""

    @property
    def name(self) -> str:
        """The archive's file name."""
        return self.file or self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Layout:
    """Where the PNG files of a dataset lie and what they hold, for ``export`` to write another dataset in the same way.

    Attributes:
        images: split -> path of an image below the dataset's folder, in which ``{id}`` stands for the sample's id.
        labels: the same of its labels, one channel.
        values: label -> value in the file. A dataset has these classes and no others to be written so, and a label
            without a value (ignored pixels, where 255 is not among them) cannot be written.
    """

    images: Mapping[str, str]
    labels: Mapping[str, str]
    values: Mapping[int, int]

    @property
    def classes(self) -> int:
        """Number of known classes."""
        return sum(label < ANOMALY for label in self.values)


class Dataset(ABC):
    """A split of a dataset: a map from an index to a :class:`Sample`.

    What a class attribute says here is what the rest of the suite goes by; nothing outside this class asks for a
    dataset's name. Opening a dataset (`__init__`) checks the layout and lists the files, and reads no image.

    Args:
        split: "train" and "val" hold no anomalies, "test" does.
        root: the data root (``--data``, ``ANOMALY_DATA``, default ``./data``), in which the dataset finds itself.
    Raises:
        BenchmarkError: no such split, files missing; the sentence says where they were looked for.
    """

    name: ClassVar[str] = ""
    """Set by the registry: the plugin's name."""
    title: ClassVar[str] = ""
    """As printed above a table."""
    classes: ClassVar[tuple[str, ...]] = ()
    """Names of the known classes; label id = position."""
    palette: ClassVar[tuple[tuple[int, int, int], ...]] = ()
    """RGB per known class, for pictures."""
    note: ClassVar[str] = ""
    """A sentence that every table of this dataset must carry (for instance that its scenes are rendered)."""
    license: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    url: ClassVar[str] = ""
    downloads: ClassVar[tuple[Download, ...]] = ()
    """Published archives that together make the dataset; nothing but ``fetch`` reads them."""
    obtain: ClassVar[str] = ""
    """What the user has to do where an archive is behind a login, step by step; printed by ``fetch``."""
    layout: ClassVar[Layout | None] = None
    """How its files are laid out, where ``export`` can write other datasets like it."""
    exported_as: ClassVar[str] = ""
    """The dataset whose layout ``export`` takes where ``--as`` does not name one."""
    auto: ClassVar[int | None] = None
    """Rank for ``--dataset auto``: of the datasets found under the data root, the smallest rank is taken."""
    splits: ClassVar[tuple[str, ...]] = SPLITS
    """Those of the three splits that it has; opening another is an error."""
    sizes: ClassVar[Mapping[str, int]] = {}
    """Published number of images per split; a differing count is reported."""
    class_labels: ClassVar[bool] = True
    """Whether known pixels carry their class. Where they do not (label 0 means "known"), there is no mIoU."""
    trained_on: ClassVar[str] = ""
    """Dataset whose networks are evaluated here; empty where the dataset has a training split of its own."""
    network: ClassVar[str] = ""
    """Network that ``run`` takes where ``--network`` is not given; empty is `benchmark.networks.REFERENCE`."""
    scales: ClassVar[tuple[int, ...]] = ()
    """Test scales (short sides in pixels) where ``--scales`` is not given; empty is the native size."""
    paper_scales: ClassVar[tuple[int, ...]] = ()
    """Test scales of the papers that report on this dataset, for ``--preset paper``."""
    paper_max_size: ClassVar[int] = 0
    """Bound of the long side at those scales, in pixels; 0 is none."""
    protocols: ClassVar[tuple[str, ...]] = ("per-image", "pooled")
    """Evaluation protocols recorded by ``run``; the first per-image and the first pooled one stand in the table."""
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Per training task, the fields of its recipe that differ on this dataset from the authors' values."""
    method_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Per method, the keywords that differ from its defaults for networks trained here, unless a call states them.
    Chosen without a look at the test split; they show in the method's label."""

    def __init__(self, split: str, root: Path) -> None:
        if split not in SPLITS:
            raise BenchmarkError(
                f"{self.name or type(self).__name__} has no split '{split}'; it has {', '.join(self.splits)}."
            )
        if split not in self.splits:
            use = f"evaluates networks trained on {self.trained_on}" if self.trained_on else "trains networks"
            raise BenchmarkError(f"{self.name or type(self).__name__} has no {split} split; it only {use}.")
        self.split = split
        self.root = Path(root)

    @classmethod
    def available(cls, root: Path) -> bool:
        """Whether the files of this dataset are found under the data root (cheap; opens no image)."""
        return True

    def absent(self, what: str) -> BenchmarkError:
        """The error for files that are not under the data root, with what mends it.

        Args:
            what: was looked for there, as the end of "... has no".
        """
        return BenchmarkError(
            f"{self.root.absolute()} has no {what}; `python -m benchmark fetch {self.name}` gets it or says how, or "
            f"name its place with --data."
        )

    @abstractmethod
    def __len__(self) -> int:
        """Number of images in the split."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The sample at an index, checked (:meth:`Sample.checked`); an error names the file."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hexadecimal digest that changes when the images or labels of this split change."""

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))
