"""Score maps of images without labels: ``python -m benchmark infer IMAGES --methods msp``.

For a submission to SegmentMeIfYouCan write ``--format hdf5`` maps of its images and put them where its toolkit
(road-anomaly-benchmark) looks: the content of ``DIR/METHOD`` into ``outputs/anomaly_p/METHOD/AnomalyTrack-all``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark.data import Batch, Dataset, Sample, collate
from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import dumps, to_plain, write_atomic
from benchmark.io.names import file_name
from benchmark.maps.files import FORMATS, from_half_codes, read_scores, write_scores
from benchmark.pictures import colour_limits, overlay, save_image
from benchmark.progress import Progress
from benchmark.run.plan import expected_identity
from benchmark.run.scoring import drop, images_per_batch, score
from benchmark.run.workshop import Entry, Workshop
from benchmark.training.loader import ahead

SAMPLED = 1 << 24
"""Scores of a method, of all images together, that decide the colours of its pictures."""


@dataclass
class Maps:
    """Where the score maps are, and how the work went.

    Args:
        folder: of all methods.
        form: a name in :data:`benchmark.maps.files.FORMATS`.
        source: where the images come from; maps of other images with the same names are not taken for theirs.
        written, kept: number of maps by method label.
        problems: a sentence for every image that could not be read.
    """

    folder: Path
    form: str
    source: str
    written: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def of(self, entry: Entry) -> Path:
        """Folder of one method."""
        return self.folder / file_name(entry.label)

    def path(self, entry: Entry, image_id: str) -> Path:
        """File of one map."""
        return self.of(entry) / f"{image_id}{FORMATS[self.form]}"


def infer(workshop: Workshop, entries: Sequence[Entry], images: Dataset, maps: Maps, force: bool = False) -> None:
    """Score images with methods as ``run`` does, and write the maps.

    Batches, test scales and arithmetic are those of ``run``, so that a labelled dataset gets the scores that its
    records were measured on. A map that is there is kept. An image that cannot be read is noted, a method that fails
    is dropped with a sentence; the others go on.

    Args:
        workshop: with everything loaded.
        entries: the methods.
        images: what to score.
        maps: where to; gathers how it went.
        force: write anew what is there.
    Raises:
        BenchmarkError: the folder holds maps of other images, or of another network, setting or format.
    """
    for entry in entries:
        _claim(workshop, entry, maps)
    done, machine = 0, workshop.setup.machine
    progress = Progress(f"scoring with {len(entries)} methods", 0, len(images), machine)
    try:
        for count, batches in _batches(workshop, images, maps.problems):
            for batch in batches:
                for entry in (e for e in entries if not e.error):
                    _score(workshop, entry, batch, maps, force)
            done += count
            progress.update(done, "")
    finally:
        progress.close()
        workshop.pool.forget()


def draw(entries: Sequence[Entry], images: Dataset, maps: Maps) -> Path:
    """Draw the maps over their images, the colours of a method meaning the same in all of them.

    Args:
        entries: the methods.
        images: that were scored.
        maps: of :func:`infer`.
    Returns:
        The folder of the pictures.
    """
    home = maps.folder / "pictures"
    values: dict[str, list[np.ndarray]] = {}
    for entry, sample in _drawn(entries, images, maps):
        step = math.ceil(math.sqrt(len(images) * sample.labels.numel() / SAMPLED))
        values.setdefault(entry.label, []).append(_read(maps, entry, sample)[::step, ::step])
    limits = {label: colour_limits(sampled) for label, sampled in values.items()}
    for entry, sample in _drawn(entries, images, maps):
        picture = overlay(sample.image.permute(1, 2, 0).numpy(), _read(maps, entry, sample), limits[entry.label])
        save_image(home / file_name(entry.label) / f"{sample.id}.jpg", picture)
    return home


def _claim(workshop: Workshop, entry: Entry, maps: Maps) -> None:
    """Write down beside a method's folder what its maps are made with, or find that it is the same."""
    identity = to_plain(expected_identity(workshop, entry))
    for key in ("fingerprint", "limit", "protocols"):  # of measuring, not of scoring
        del identity[key]
    about = {"images": maps.source, "method": entry.label, **identity}
    about |= {"precision": workshop.setup.options.precision, "format": maps.form}
    path = maps.folder / f"{file_name(entry.label)}.json"
    before = about
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"{path} cannot be read ({error}); delete it and the maps beside it.") from error
    if before != about:
        changed = [key for key in about if not isinstance(before, dict) or before.get(key) != about[key]]
        raise BenchmarkError(
            f"{maps.of(entry)} holds maps of another origin (other {', '.join(changed)}, see {path}); "
            f"name another folder with --to, or delete both."
        )
    write_atomic(path, dumps(about))


def _batches(workshop: Workshop, images: Dataset, problems: list[str]) -> Iterator[tuple[int, list[Batch]]]:
    """How many images were tried, and the batches of those that can be read, on the device."""
    machine, size = workshop.setup.machine, workshop.setup.options.batch_size
    if not size:
        first = next(iter(_readable(images, range(len(images)), [])), None)
        size = images_per_batch(first) if first else 1

    def build(start: int) -> tuple[int, list[Batch]]:
        indices = range(start, min(start + size, len(images)))
        return len(indices), collate(list(_readable(images, indices, problems)))

    for count, batches in ahead(build, range(0, len(images), size), machine.workers):
        yield count, [batch.to(machine.device) for batch in batches]


def _readable(images: Dataset, indices: Iterable[int], problems: list[str]) -> Iterator[Sample]:
    for index in indices:
        try:
            sample = images[index]
        except BenchmarkError as error:
            problems.append(str(error))
            continue
        yield sample


def _score(workshop: Workshop, entry: Entry, batch: Batch, maps: Maps, force: bool) -> None:
    paths = [maps.path(entry, image_id) for image_id in batch.ids]
    missing = [index for index, path in enumerate(paths) if force or not path.exists()]
    maps.kept[entry.label] = maps.kept.get(entry.label, 0) + len(batch) - len(missing)
    if not missing:
        return
    try:
        scores = score(workshop, entry, batch)[0].cpu().numpy()
        for index in missing:
            if holes := int(np.isnan(scores[index]).sum()):
                raise BenchmarkError(f"{entry.label}, image {batch.ids[index]}: {holes} scores are NaN.")
            write_scores(paths[index], scores[index])
            maps.written[entry.label] = maps.written.get(entry.label, 0) + 1
    except Exception as error:  # whatever a plugin raises must not take the others down
        drop(workshop, entry, batch, error)


def _drawn(entries: Sequence[Entry], images: Dataset, maps: Maps) -> Iterator[tuple[Entry, Sample]]:
    """Every method with every image of which it has a map."""
    for sample in _readable(images, range(len(images)), []):
        for entry in entries:
            if maps.path(entry, sample.id).exists():
                yield entry, sample


def _read(maps: Maps, entry: Entry, sample: Sample) -> np.ndarray:
    scores = read_scores(maps.path(entry, sample.id))
    return from_half_codes(scores) if maps.form == "png" else scores.astype(np.float32)
