"""Score maps of images without labels: ``python -m benchmark infer IMAGES --methods msp``.

For a submission to SegmentMeIfYouCan write ``--format hdf5`` maps of its images and put them where its toolkit
(road-anomaly-benchmark) looks: the content of ``DIR/METHOD`` into ``outputs/anomaly_p/METHOD/AnomalyTrack-all``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.data import Batch, Dataset, Sample, collate
from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import dumps, read_json, to_plain, write_atomic
from benchmark.io.names import file_name
from benchmark.io.words import quantity
from benchmark.maps.files import FORMATS, read_written, write_scores
from benchmark.maps.photos import Photos
from benchmark.progress import Progress
from benchmark.run.entry import Entry
from benchmark.run.plan import expected_identity
from benchmark.run.scoring import BatchSize, Halving, drop, nothing, score
from benchmark.run.workshop import Workshop
from benchmark.training.loader import ahead

FINITE = float(np.finfo(np.float32).max)


@dataclass
class Maps:
    """Where the score maps are, and how the work went.

    Args:
        folder: of all methods.
        form: a name in :data:`benchmark.maps.files.FORMATS`.
        source: where the images come from, and how they were read; maps of other images with the same names are not
            taken for theirs.
        written, kept: number of maps by method label.
        problems: a sentence for every image that could not be read.
        sources: by method label, of which pixels each map was made: image id -> digest.
    """

    folder: Path
    form: str
    source: Mapping[str, Any]
    written: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    sources: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, entry: Entry) -> Path:
        """Folder of one method."""
        return self.folder / file_name(entry.label)

    def path(self, entry: Entry, image_id: str) -> Path:
        """File of one map."""
        return self.of(entry) / f"{image_id}{FORMATS[self.form]}"

    def about(self, entry: Entry) -> dict[str, Any]:
        """What METHOD.json says: what the maps are made with, and the threshold of the masks where there are any.

        Raises:
            BenchmarkError: it cannot be read.
        """
        path = self._about(entry)
        try:
            found = read_json(path) if path.exists() else {}
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"{path} cannot be read ({error}); delete it and the maps beside it.") from error
        return found if isinstance(found, dict) else {"": found}

    def claim(self, entry: Entry, about: Mapping[str, Any]) -> None:
        """Write down what a method's maps are made with, or find that those that are there were made with the same.

        Raises:
            BenchmarkError: they were not.
        """
        before = self.about(entry)
        threshold = {key: before.pop(key) for key in ("threshold",) if key in before}
        if before and before != about:
            changed = [key for key in about if before.get(key) != about[key]]
            raise BenchmarkError(
                f"{self.of(entry)} holds maps of another origin (other {', '.join(changed)}, see "
                f"{self._about(entry)}); name another folder with --to, or delete both."
            )
        write_atomic(self._about(entry), dumps({**about, **threshold}))

    def note_threshold(self, entry: Entry, threshold: Mapping[str, Any]) -> None:
        """Write into METHOD.json what the masks are made with."""
        write_atomic(self._about(entry), dumps({**self.about(entry), "threshold": dict(threshold)}))

    def _about(self, entry: Entry) -> Path:
        return self.folder / f"{file_name(entry.label)}.json"

    def open(self, entry: Entry) -> None:
        """Read of which pixels a method's maps were made.

        A line of the list is an image id, a tab and a digest; the last line of an id counts. A line that a kill cut
        off, or a list that is not there, makes maps that are written anew.

        Raises:
            BenchmarkError: the list cannot be read or written.
        """
        path = self._list(entry)
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"{path} cannot be read ({error}); delete it and run again.") from error
        lines = [line.rpartition("\t") for line in text.split("\n")[:-1]]
        self.sources[entry.label] = {image_id: digest for image_id, tab, digest in lines if tab}
        write_atomic(path, "".join(f"{i}\t{digest}\n" for i, digest in sorted(self.sources[entry.label].items())))

    def read(self, entry: Entry, image_id: str, size: tuple[int, ...]) -> np.ndarray:
        """A map, float32 (H, W).

        Args:
            entry: of the method.
            image_id: of the image.
            size: (H, W) of the image.
        Raises:
            BenchmarkError: it cannot be read, or is not of that size.
        """
        scores = read_written(path := self.path(entry, image_id), self.form)
        if scores.shape != tuple(size):
            raise BenchmarkError(f"{path} is not of the size of its image; delete it and run again.")
        return scores

    def has(self, entry: Entry, image_id: str, digest: str) -> bool:
        """Whether a method's map of an image with these pixels is there."""
        return self.sources[entry.label].get(image_id) == digest and self.path(entry, image_id).exists()

    def write(self, entry: Entry, image_id: str, digest: str, scores: np.ndarray) -> None:
        """Write a map. What the list said of an older one is withdrawn before, so that no kill can make it wrong."""
        known = self.sources[entry.label].get(image_id, "")
        if known not in ("", digest):
            self._note(entry, image_id, "")
        write_scores(self.path(entry, image_id), scores)
        if known != digest:
            self._note(entry, image_id, digest)

    def _note(self, entry: Entry, image_id: str, digest: str) -> None:
        self.sources[entry.label][image_id] = digest
        path = self._list(entry)
        try:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(f"{image_id}\t{digest}\n")
        except OSError as error:
            raise BenchmarkError(
                f"Cannot write {path} ({error.strerror}); free space or name another folder with --to."
            ) from error

    def _list(self, entry: Entry) -> Path:
        return self.folder / f"{file_name(entry.label)}.images.tsv"


def infer(workshop: Workshop, entries: Sequence[Entry], images: Dataset, maps: Maps, force: bool = False) -> None:
    """Score images with methods as ``run`` does, and write the maps.

    Test scales and arithmetic are those of ``run``, and so are the batches where all images are of one size, so that a
    labelled dataset gets the scores that its records were measured on. A map that is there and was made of the same
    pixels is kept. An image that cannot be read is noted, a method that fails is dropped with a sentence; the others go
    on.

    Args:
        workshop: with everything loaded.
        entries: the methods.
        images: what to score.
        maps: where they go; also gathers how the work went.
        force: write anew what is there.
    Raises:
        BenchmarkError: the folder holds maps of other images, or of another network, setup or format.
    """
    for entry in entries:
        _claim(workshop, entry, maps)

    def turn(entry: Entry, batch: Batch, digests: Mapping[str, str]) -> Callable[[], None]:
        return nothing if entry.error else _score(workshop, entry, images, batch, digests, maps, force)

    title = f"scoring with {quantity(len(entries), 'method')}"
    take_turns(workshop, entries, images, maps.problems, title, turn)


def _claim(workshop: Workshop, entry: Entry, maps: Maps) -> None:
    """Write down beside a method's folder what its maps are made with, or find that it is the same."""
    identity = to_plain(expected_identity(workshop, entry))
    for key in ("fingerprint", "limit", "protocols", "validation"):  # of measuring, not of scoring
        del identity[key]
    about = {**maps.source, "method": entry.label, **identity}
    about |= {"precision": workshop.setup.options.precision, "format": maps.form}
    maps.claim(entry, about)
    maps.open(entry)


def take_turns(
    workshop: Workshop,
    entries: Sequence[Entry],
    images: Dataset,
    problems: list[str],
    title: str,
    turn: Callable[[Entry, Batch, Mapping[str, str]], Callable[[], None]],
) -> None:
    """All methods on all images, which may be photos, batch by batch; who fails is dropped with a sentence.

    Args:
        workshop: with everything loaded.
        entries: the methods.
        images: those that can be read have their turn.
        problems: gets a sentence for every other one.
        title: of the bar.
        turn: (method, batch, digest of each image's pixels by its id), else as of
            :class:`~benchmark.run.scoring.Halving`.
    """
    asked, device = workshop.setup.options.batch_size, workshop.setup.machine.device
    first = next(iter(readable(images, range(len(images)), [])), None)
    size = BatchSize.chosen(first, asked, device) if first else BatchSize(1)
    digests: dict[str, str] = {}  # of the images of a batch, by id

    def given(entry: Entry, batch: Batch) -> Callable[[], None]:
        return turn(entry, batch, digests)

    halving = Halving(workshop, size, lambda batch: batch, given, partial(drop, workshop))
    workshop.pool.time(False)  # nobody asks how long it takes
    try:
        with Progress(title, 0, len(images), workshop.setup.machine) as progress:
            for tried, batch, found in batches_of(workshop, images, problems, size):
                digests = dict(zip(batch.ids, found, strict=True))
                halving.whole(entries, batch)
                size.warmed(workshop.pool, entries)
                progress.update(tried)
    finally:
        workshop.pool.forget()
        workshop.pool.time(True)


def batches_of(
    workshop: Workshop, images: Dataset, problems: list[str], size: BatchSize
) -> Iterator[tuple[int, Batch, list[str]]]:
    """The images that can be read, in batches on the device.

    Images are read one by one, since those of a folder may be of any sizes.

    Args:
        workshop: with the machine.
        images: what to read.
        problems: gets a sentence for every image that cannot be read.
        size: of the batches, as it is when their turn comes.
    Returns:
        How many images were tried so far, a batch, and the digests of its images.
    """
    machine = workshop.setup.machine
    workers = 0 if isinstance(images, Photos) and images.videos else machine.workers  # frames come one after the other

    def read(index: int) -> list[tuple[Sample, str]]:
        return [(sample, pixel_digest(sample.image)) for sample in readable(images, [index], problems)]

    def batch(tried: int) -> tuple[int, Batch, list[str]]:
        samples, digests = zip(*group, strict=True)
        (made,) = collate(samples)
        return tried, made.to(machine.device), list(digests)

    group: list[tuple[Sample, str]] = []
    for tried, found in enumerate(ahead(read, range(len(images)), workers)):
        for sample, digest in found:
            alike = group and group[-1][0].image.shape == sample.image.shape
            if group and not (alike and len(group) < size.fitting(sample.labels.numel())):
                yield batch(tried)
                group = []
            group.append((sample, digest))
    if group:
        yield batch(len(images))


def pixel_digest(image: Tensor) -> str:
    """What tells an image from one that takes its place under its name: a digest of its size and pixels."""
    size = "x".join(map(str, image.shape)).encode()
    return hashlib.blake2b(size + image.contiguous().numpy().tobytes(), digest_size=16).hexdigest()


def readable(images: Dataset, indices: Iterable[int], problems: list[str]) -> Iterator[Sample]:
    """The images that can be read; of every other one a sentence is added to `problems`."""
    for index in indices:
        try:
            sample = images[index]
        except BenchmarkError as error:
            problems.append(str(error))
            continue
        yield sample


def mapped(
    entries: Sequence[Entry], images: Dataset, maps: Maps, fit: bool = False
) -> Iterator[tuple[Entry, Sample, np.ndarray]]:
    """Every image with the map of every method that has one, at the size of the map, or resized to `fit` the image."""
    for sample in readable(images, range(len(images)), []):
        digest = pixel_digest(sample.image)
        shape = tuple(sample.labels.shape)
        for entry in entries:
            if maps.has(entry, sample.id, digest):
                scores = maps.read(entry, sample.id, full_size(images, sample.id, shape))
                yield entry, sample, resized(scores, shape) if fit else scores


def full_size(images: Dataset, image_id: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """(H, W) of an image as it is stored, which may be more than is scored, `shape`."""
    return images.sizes.get(image_id, shape) if isinstance(images, Photos) else shape


def resized(scores: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Scores (H, W) at another size: bilinear where it is larger, else the mean of what becomes one pixel."""
    if scores.shape == tuple(size):
        return scores
    import cv2

    finite = np.clip(scores, -FINITE, FINITE).astype(np.float32)  # no weighted mean knows infinity
    way = cv2.INTER_LINEAR if size[0] >= scores.shape[0] else cv2.INTER_AREA
    return cv2.resize(finite, (size[1], size[0]), interpolation=way)


def _score(
    workshop: Workshop,
    entry: Entry,
    images: Dataset,
    batch: Batch,
    digests: Mapping[str, str],
    maps: Maps,
    force: bool,
) -> Callable[[], None]:
    """The scores of a batch, where one of its maps is missing, and what writes the missing ones."""
    found = [(index, image_id, digests[image_id]) for index, image_id in enumerate(batch.ids)]
    missing = [each for each in found if force or not maps.has(entry, *each[1:])]
    scores = score(workshop, entry, batch)[0].cpu().numpy() if missing else None

    def keep() -> None:
        maps.kept[entry.label] = maps.kept.get(entry.label, 0) + len(batch) - len(missing)
        for index, image_id, digest in missing:
            if holes := int(np.isnan(scores[index]).sum()):
                raise BenchmarkError(f"{entry.label}, image {image_id}: {holes} scores are NaN.")
            size = full_size(images, image_id, scores[index].shape)
            maps.write(entry, image_id, digest, resized(scores[index], size))
            maps.written[entry.label] = maps.written.get(entry.label, 0) + 1

    return keep
