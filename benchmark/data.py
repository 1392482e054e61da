"""Sample, Batch and Dataset: raw pixels and labels, nothing normalised or resized; a dataset's card and policy."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.recipe import LightRecipe, LightTraining, Recipe
from benchmark.registry import DATASETS, Plugin

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
        ids = self.labels.cpu().numpy()  # torch would share so little among threads, which costs more than it saves
        wrong = (ids >= classes) & (ids < ANOMALY)
        if wrong.any():
            raise BenchmarkError(
                f"{name}: label id {ids[wrong][0]} does not exist; "
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

    @classmethod
    def unlabelled(cls, images: Tensor) -> Batch:
        """Images uint8 (B, 3, H, W) without labels: every pixel is ignored, ids are positions."""
        labels = torch.full((len(images), *images.shape[-2:]), IGNORE, dtype=torch.uint8, device=images.device)
        return cls(tuple(str(i) for i in range(len(images))), images, labels)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def blind(self) -> Batch:
        """What a method is given to score: a copy of the images, and labels that say nothing and cannot be written."""
        silence = torch.full((1, 1, 1), IGNORE, dtype=torch.uint8, device=self.labels.device)
        return Batch(self.ids, self.images.clone(), silence.expand(self.labels.shape))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images and labels in pixels."""
        return self.images.shape[-2], self.images.shape[-1]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        # Towards the CPU, a copy that nobody waits for may be read before it has arrived.
        early = torch.device(device).type != "cpu"
        return Batch(self.ids, self.images.to(device, non_blocking=early), self.labels.to(device, non_blocking=early))

    def part(self, first: int, size: int) -> Batch:
        """At most so many of its samples from one on, which share its memory; itself where that is all of them."""
        if not first and size >= len(self):
            return self
        cut = slice(first, first + size)
        return Batch(self.ids[cut], self.images[cut], self.labels[cut])


def image_digest(image_id: str, image: Tensor, labels: Tensor) -> str:
    """Digest of an image: its id, its pixels, its labels."""
    found = hashlib.sha256(f"{image_id} {tuple(image.shape)}".encode())
    for pixels in (image, labels):
        found.update(pixels.cpu().contiguous().numpy().data)
    return found.hexdigest()


def chained_digest(before: str, image: str) -> str:
    """Digest of the images seen before and one more, whose own it is."""
    return hashlib.sha256(f"{before} {image}".encode()).hexdigest()


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
        url: https; empty where the archive is behind a login and the card's ``obtain`` says how to get it.
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
        values: label -> value in the file. Only a dataset with exactly these classes can be written like this, and no
            label without a value (ignored pixels, where 255 is not among them).
    """

    images: Mapping[str, str]
    labels: Mapping[str, str]
    values: Mapping[int, int]

    @property
    def classes(self) -> int:
        """Number of known classes."""
        return sum(label < ANOMALY for label in self.values)


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What a dataset is, for whoever reads a table, draws a picture or fetches the files.

    Attributes:
        title: as printed above a table.
        classes: names of the known classes; label id = position.
        palette: RGB in 0..255 per known class, for pictures.
        note: a sentence that every table of this dataset must carry (for instance that its scenes are rendered).
        licence: of the images and labels, in words.
        citation: whom to cite.
        url: where the dataset is published.
        downloads: published archives that together make the dataset; nothing but ``fetch`` reads them.
        layout: how its files are laid out, where ``export`` can write other datasets like it.
        obtain: what the user has to do where an archive is behind a login, step by step; printed by ``fetch``.
        splits: those of the three splits that it has; opening another is an error.
        sizes: published number of images per split; a differing count is reported.
        class_labels: whether known pixels carry their class. Where they do not (label 0 means "known"), there is no
            mIoU.
        trained_on: dataset whose networks are evaluated here; empty where the dataset has a training split of its own.
        control: whether what it calls anomalous is not unknown, so that no method is better there than another. Its
            records stand on no board and count for no rank.
    """

    title: str = ""
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    note: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    downloads: tuple[Download, ...] = ()
    layout: Layout | None = None
    obtain: str = ""
    splits: tuple[str, ...] = SPLITS
    sizes: Mapping[str, int] = field(default_factory=dict)
    class_labels: bool = True
    trained_on: str = ""
    control: bool = False

    def __post_init__(self) -> None:
        if len(self.classes) > ANOMALY:
            raise BenchmarkError(
                f"{self.title or 'A dataset'} has {len(self.classes)} classes; labels 0 to {ANOMALY - 1} are there for "
                f"them, {ANOMALY} is an anomaly and {IGNORE} is ignored."
            )


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a dataset is used here, where the command line does not say otherwise: our choices, none of its facts.

    Attributes:
        auto: rank for ``--dataset auto``: of the datasets found under the data root, the smallest rank is taken.
        exported_as: the dataset whose layout ``export`` takes where ``--as`` does not name one.
        network: the network that all methods share; empty is `benchmark.networks.REFERENCE`.
        scales: test scales (short sides in pixels); empty is the native size.
        paper_scales: test scales of the papers that report on this dataset, for ``--preset paper``.
        paper_max_size: bound of the long side at those scales, in pixels; 0 is none.
        protocols: evaluation protocols recorded by ``run``; the first per-image and the first pooled one stand in the
            table.
        light: where it is given, everything is trained from scratch by light recipes, also by methods that this
            dataset knows nothing of; None keeps the authors' recipes.
        recipes: per training task, the fields of its recipe that differ on this dataset, after `light`.
        method_options: per method, the keywords that differ from its defaults for networks trained here, unless a
            call states them. Chosen without a look at the test split; they show in the method's label.
        pretrained: the policy for networks whose encoder is pretrained, and whose network is then the one that all
            methods share; None where they are used like any other.
    """

    auto: int | None = None
    exported_as: str = ""
    network: str = ""
    scales: tuple[int, ...] = ()
    paper_scales: tuple[int, ...] = ()
    paper_max_size: int = 0
    protocols: tuple[str, ...] = ("per-image", "pooled")
    light: LightTraining | None = None
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    method_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pretrained: Policy | None = None

    @property
    def shared(self) -> str:
        """The network that all methods share where the command line names none."""
        return (self.pretrained or self).network

    def of(self, pretrained: bool) -> Policy:
        """The policy for networks of one kind: with a pretrained encoder, or trained from scratch."""
        return self.pretrained if pretrained and self.pretrained else self

    def recipe(self, authors: Recipe, light: LightRecipe) -> Recipe:
        """How a thing is trained on this dataset.

        Args:
            authors: its recipe.
            light: what is different about it where trainings are light.
        """
        recipe = self.light.recipe(authors, light) if self.light else authors
        return recipe.changed(self.recipes.get(authors.task, {}))

    def for_other_images(self) -> Policy:
        """The same for a set that evaluates networks trained here: without what only its own test images need."""
        pretrained = self.pretrained.for_other_images() if self.pretrained else None
        changes: dict[str, Any] = {"auto": None, "paper_scales": (), "paper_max_size": 0}
        return replace(self, **changes, protocols=Policy().protocols, pretrained=pretrained)


class Dataset(Plugin, ABC):
    """A split of a dataset: a map from an index to a :class:`Sample`.

    A subclass says in :attr:`card` what it is and in :attr:`policy` how it is used here; the rest of the suite goes by
    these two values and asks for no dataset's name. Constructor keywords beyond `split` and `root` are its options
    (``name:key=value``); where they change what the card says, ``__init__`` gives the instance a card of its own.
    Opening a dataset (``__init__``) checks the layout and lists the files, and reads no image.

    Args:
        split: "train" and "val" hold no anomalies, "test" does.
        root: the data root (``--data``, ``ANOMALY_DATA``, default ``./data``), in which the dataset finds itself.
    Raises:
        BenchmarkError: no such split, files missing; the sentence says where they were looked for.
    """

    registry = DATASETS
    given = frozenset({"split", "root"})

    card: DatasetCard = DatasetCard()
    """What it is."""
    policy: Policy = Policy()
    """How it is used here."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for kind, value in (("card", DatasetCard), ("policy", Policy)):
            if stray := [f.name for f in fields(value) if f.name in vars(cls)]:
                raise BenchmarkError(
                    f"{cls.__name__} says '{stray[0]}' where nothing looks for it; write "
                    f"{kind} = {value.__name__}({stray[0]}=...)."
                )

    def __init__(self, split: str, root: Path) -> None:
        splits, trained_on = self.card.splits, self.card.trained_on
        if split not in SPLITS:
            raise BenchmarkError(f"{self.name} has no split '{split}'; it has {', '.join(splits)}.")
        if split not in splits:
            use = f"evaluates networks trained on {trained_on}" if trained_on else "trains networks"
            raise BenchmarkError(f"{self.name} has no {split} split; it only {use}.")
        self.split = split
        self.root = Path(root)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the known classes, as the card has them; label id = position."""
        return self.card.classes

    @classmethod
    def available(cls, root: Path) -> bool:
        """Whether the files of this dataset are found under the data root (cheap; opens no image)."""
        return True

    def absent(self, what: str) -> BenchmarkError:
        """The error for files that are not under the data root, with what mends it.

        Args:
            what: what was looked for there; ends a sentence that begins with "... has no".
        """
        known = self.card.downloads or self.card.obtain
        mend = f"`python -m benchmark fetch {self.name}` gets it or says how" if known else "put it there"
        return BenchmarkError(f"{self.root.absolute()} has no {what}; {mend}, or name its place with --data.")

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
