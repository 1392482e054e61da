"""Write a dataset as the files of another one are laid out, so that anything that reads those can read it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmark.data import IGNORE, SPLITS, Dataset, Layout, Sample
from benchmark.errors import BenchmarkError
from benchmark.io.atomic import replacing
from benchmark.io.jsonfile import write_atomic
from benchmark.registry import DATASETS

_CHUNK = 8


@dataclass(frozen=True)
class Exported:
    """How many images of a split were written now and how many were there already."""

    written: int
    kept: int


def export(
    factory: Callable[..., Dataset],
    like: type[Dataset],
    destination: Path,
    *,
    splits: Iterable[str] = SPLITS,
    limit: int | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> dict[str, Exported]:
    """Write images and labels as PNG; what an interrupted export has written is kept.

    ``export-test.tsv`` holds the dataset's name and fingerprint and the index and id of every image of the test split
    that was written. A file has its name only once it is complete.

    Args:
        factory: makes the dataset of a split when called with ``split=``; picklable where `workers` is not 0.
        like: the class of the dataset whose :attr:`~benchmark.data.DatasetCard.layout` is taken.
        destination: folder to write into.
        splits: the splits to write.
        limit: images per split at most; None is all.
        workers: processes that render and write; 0 does it in this one.
        quiet: whether to show no progress bar.
    Returns:
        Per split, what was done.
    Raises:
        BenchmarkError: the layout has other classes or no value for a label that occurs, or the folder holds another
            export.
    """
    layout = like.card.layout
    if layout is None:
        raise BenchmarkError(f"{DATASETS.name_of(like)} does not say how its files are laid out; name another by --as.")
    done: dict[str, Exported] = {}
    for split in splits:
        data = factory(split=split)
        if len(data.classes) != layout.classes:
            raise BenchmarkError(
                f"{data.name} has {len(data.classes)} classes and cannot be exported: the layout of {like.card.title} "
                f"has {layout.classes}."
            )
        target = Target(Path(destination), split, layout, like.card.title)
        complete = target.resume(data)
        count = len(data) if limit is None else min(limit, len(data))
        missing = [i for i in range(count) if i not in complete]
        chunks = [missing[i : i + _CHUNK] for i in range(0, len(missing), _CHUNK)]
        hidden = True if quiet else None  # on a terminal only, as all bars here
        bar = tqdm(total=count, initial=count - len(missing), desc=f"{data.name} {split}", unit="image", disable=hidden)
        with bar:
            for written in _run(factory, data, chunks, target, workers):
                target.note(written)
                bar.update(len(written))
        done[split] = Exported(len(missing), count - len(missing))
    return done


@dataclass(frozen=True)
class Target:
    """Where a split is written, and the list of what has been."""

    folder: Path
    split: str
    layout: Layout
    title: str  # of the dataset whose layout it is

    @property
    def _list(self) -> Path:
        return self.folder / f"export-{self.split}.tsv"

    def paths(self, name: str) -> tuple[Path, Path]:
        """The image and the label file of an id."""
        image, labels = (paths[self.split].format(id=name) for paths in (self.layout.images, self.layout.labels))
        return self.folder / image, self.folder / labels

    def resume(self, data: Dataset) -> set[int]:
        """Begin or take up the list; the indices whose files are complete."""
        head = f"{data.name}\t{data.fingerprint()}\n"
        lines = self._list.read_text(encoding="utf-8").splitlines(keepends=True) if self._list.exists() else [head]
        if lines[:1] != [head]:
            raise BenchmarkError(
                f"{self._list} says that {self.folder} holds an export of other images; export into an empty folder."
            )
        entries = [line.rstrip("\n").split("\t") for line in lines[1:] if line.endswith("\n")]  # the last may be torn
        kept = {int(index): name for index, name in entries if all(path.is_file() for path in self.paths(name))}
        text = head + "".join(f"{index}\t{name}\n" for index, name in kept.items())
        write_atomic(self._list, text)
        return set(kept)

    def note(self, written: Iterable[tuple[int, str]]) -> None:
        """Add images whose files are complete."""
        with self._list.open("a", encoding="utf-8") as file:
            file.writelines(f"{index}\t{name}\n" for index, name in written)

    def write(self, sample: Sample) -> None:
        """Write a sample's two files."""
        labels = sample.labels.numpy()
        values = self.layout.values
        if strange := [int(label) for label in np.unique(labels) if int(label) not in values]:
            what = "ignored pixels" if IGNORE in strange else f"pixels labelled {strange[0]}"
            raise BenchmarkError(f"{sample.id} has {what} and cannot be exported: {self.title} has none.")
        table = np.zeros(256, np.uint8)
        table[list(values)] = list(values.values())
        raw = table[labels]
        pixels = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
        for path, array in zip(self.paths(sample.id), (pixels, raw), strict=True):
            with replacing(path, disposable=True) as part:
                Image.fromarray(array).save(part, format="PNG", compress_level=3)


def _run(
    factory: Callable[..., Dataset], data: Dataset, chunks: list[list[int]], target: Target, workers: int
) -> Iterator[list[tuple[int, str]]]:
    """Write chunk by chunk; index and id of what was written."""
    if workers <= 0:
        yield from (_write(data, chunk, target) for chunk in chunks)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process in which torch has threads can hang
    with ProcessPoolExecutor(workers, context, _open, (factory, target)) as pool:
        yield from pool.map(_write_opened, chunks)


def _write(data: Dataset, chunk: list[int], target: Target) -> list[tuple[int, str]]:
    written = []
    for index in chunk:
        sample = data[index]
        target.write(sample)
        written.append((index, sample.id))
    return written


_worker: tuple[Dataset, Target]


def _open(factory: Callable[..., Dataset], target: Target) -> None:
    global _worker
    _worker = factory(split=target.split), target


def _write_opened(chunk: list[int]) -> list[tuple[int, str]]:
    return _write(_worker[0], chunk, _worker[1])
