"""Evaluation of score maps that were made elsewhere: ``python -m benchmark score DIR --dataset NAME``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.io.walk import walk
from benchmark.io.words import quantity
from benchmark.maps.files import SUFFIXES, read_scores
from benchmark.metrics import Curves, Evaluator, FirstPass, Measurements, Protocol, View, hints_of, protocol
from benchmark.metrics.pixel import DEFAULT_PROTOCOLS
from benchmark.progress import counted
from benchmark.records.record import validation_part

if TYPE_CHECKING:
    from pandas import DataFrame

    from benchmark.data import Dataset


@dataclass(frozen=True, eq=False)
class ScoreReport:
    """What a folder of score maps is worth.

    Attributes:
        name: of the folder, taken for the method's name.
        dataset: name and split.
        protocols: in the order asked for.
        metrics: protocol name -> what a record would store.
        rows: one per image and set of negatives.
        curves: pooled precision-recall and ROC curve, None where no pooled protocol was asked for.
        pixels: numbers of anomalous, normal and ignored ones.
        validation: the normal images that thresholds were taken from, as a record states them.
    """

    name: str
    dataset: str
    protocols: tuple[Protocol, ...]
    metrics: Measurements
    rows: DataFrame
    curves: Curves | None
    pixels: Mapping[str, int]
    validation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hints(self) -> tuple[str, ...]:
        """What looks like a common mistake, a sentence each."""
        return hints_of(self.metrics, self.pixels)

    def __str__(self) -> str:
        """A table for the terminal: percent, 95 % intervals in brackets."""
        from tabulate import tabulate

        lines: list[list[str]] = []
        for each in self.protocols:
            found = self.metrics[each.name]
            for metric, title in each.headlines.items():
                between = ", ".join(map(_percent, found.intervals.get(metric, ())))
                beside = f"[{between}]" if between else ""
                if metric in found.uncertain:  # of a sample of the pixels
                    beside = f"±{100 * found.uncertain[metric]:.1g}, sampled"
                lines.append([each.label, title, _percent(found.value(metric)), beside])
            if found.constant_aupr is not None:
                lines.append([each.label, "AUPR of a constant score", _percent(found.constant_aupr), ""])
            lines.append([each.label, "images (skipped)", f"{found.images} ({found.skipped})", ""])
        table = tabulate(
            lines,
            ("protocol", "", "%", "95 % interval"),
            colalign=("left", "left", "right", "left"),
            disable_numparse=True,
        )
        why = [f"{each.label}: {gap}." for each in self.protocols for gap in self.metrics[each.name].gaps()]
        advice = [f"Hint: {hint}" for hint in self.hints]
        return "\n".join([f"{self.name} on {self.dataset}\n\n{table}", *why, *advice])


def score_directory(
    directory: str | Path,
    dataset: Dataset,
    protocols: Sequence[str | Protocol] = DEFAULT_PROTOCOLS,
    exact_pooled: bool = False,
    validation: tuple[Path, Dataset] | None = None,
) -> ScoreReport:
    """Evaluate a folder of score maps.

    The map of the image with id "t5/12" is ``DIR/t5/12`` with one of the suffixes npy, npz (one array), png or tif
    (one channel of 16 or 32 bits) or hdf5 (named "value"), of the size of the labels; higher is more anomalous.

    Args:
        directory: the folder.
        dataset: split to evaluate on, with its labels.
        protocols: any but those that need predicted classes.
        exact_pooled: keep every score of sets of any size, 4 bytes a pixel.
        validation: folder of score maps of normal validation images, and these, for protocols that take a threshold
            from them.
    Raises:
        BenchmarkError: files missing, unknown, ambiguous, unreadable or of another size; an unsuitable protocol.
    """
    chosen = tuple(protocol(p) for p in protocols)
    if unsuitable := [p for p in chosen if p.predictions]:
        raise BenchmarkError(f"Protocol '{unsuitable[0].name}' needs predicted classes, which score maps do not hold.")
    if validation is None and (unsuitable := [p for p in chosen if p.validates]):
        raise BenchmarkError(
            f"Protocol '{unsuitable[0].name}' takes its threshold from normal validation images; name the folder of "
            f"their score maps by --validation."
        )
    directory = Path(directory)
    name = directory.resolve().name
    classes = dataset.classes if dataset.card.class_labels else ()
    first, taken_from = FirstPass(chosen, classes, name, exact_pooled), {}
    _read_all(directory, dataset, first)
    if validation is not None and first.validation is not None:
        _read_all(*validation, first.validation)
        taken_from = validation_part(validation[1])
    second = first.second_pass()
    if second.evaluators:
        for view in _views(dataset, _find(directory), directory):
            second.update(view)
    measured = first.measurement() | second.measurement()
    metrics = {p.name: measured[p.name] for p in chosen}
    rows, curves, pixels = first.rows(), first.curves(), first.pixels.pixels()
    return ScoreReport(name, f"{dataset.label} ({dataset.split})", chosen, metrics, rows, curves, pixels, taken_from)


def _read_all(directory: Path, dataset: Dataset, evaluator: Evaluator[Measurements]) -> None:
    """Add the map of every image; a map of none is refused, since it may be meant for an image of another name."""
    found, ids = _find(directory), set()
    views, name = _views(dataset, found, directory), directory.resolve().name
    for view in counted(views, len(dataset), name):
        evaluator.update(view)
        ids.add(view.image)
    if unknown := sorted(found.keys() - ids):
        belong = "1 file belongs" if len(unknown) == 1 else f"{len(unknown)} files belong"
        raise BenchmarkError(
            f"{directory}: {belong} to no image of {dataset.name} ({dataset.split}), "
            f"the first is {found[unknown[0]][0].name}; remove them or name another dataset."
        )


def _views(dataset: Dataset, found: Mapping[str, list[Path]], directory: Path) -> Iterator[View]:
    """What every image of the dataset gives the evaluators."""
    for index in range(len(dataset)):
        sample = dataset[index]
        yield View(sample.id, read_scores(_file_of(sample.id, found, directory)), sample.labels.numpy())


def _find(directory: Path) -> dict[str, list[Path]]:
    """Score maps by image id."""
    if not os.path.isdir(directory):  # other than Path.is_dir, also of a name that no folder can have
        raise BenchmarkError(f"{directory} is no folder; name the one that holds the score maps.")
    found: dict[str, list[Path]] = {}
    for relative, path in walk(directory, SUFFIXES).items():
        found.setdefault(relative.removesuffix(path.suffix), []).append(path)
    return found


def _file_of(image_id: str, found: Mapping[str, list[Path]], directory: Path) -> Path:
    files = found.get(image_id, [])
    if len(files) == 1:
        return files[0]
    if files:
        raise BenchmarkError(f"{files[0]} and {files[1].name} are both maps of image '{image_id}'; keep one.")
    raise BenchmarkError(
        f"There is no score map of image '{image_id}'; it must be {directory / image_id} with one of the suffixes "
        f"{', '.join(SUFFIXES)} (the folder holds {quantity(len(found), 'map')})."
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
