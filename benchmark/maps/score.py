"""Evaluation of score maps that were made elsewhere: ``python -m benchmark score DIR --dataset NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from benchmark.errors import BenchmarkError
from benchmark.maps.files import SUFFIXES, read_scores
from benchmark.metrics import (
    ComponentEvaluator,
    ComponentProtocol,
    ComponentResult,
    Curves,
    Interval,
    PixelEvaluator,
    PixelProtocol,
    PixelResult,
    Protocol,
    bootstrap_interval,
    protocol,
)

if TYPE_CHECKING:
    from pandas import DataFrame

    from benchmark.data import Dataset

DEFAULT_PROTOCOLS = ("per-image", "pooled")


@dataclass(frozen=True, eq=False)
class ScoreReport:
    """What a folder of score maps is worth.

    Attributes:
        name: of the folder, taken for the method's name.
        dataset: name and split.
        results: per protocol name.
        intervals: per per-image protocol name and metric, the 95 % interval over images.
        rows: one per image and set of negatives.
        curves: pooled precision-recall and ROC curve, None where no pooled protocol was asked for.
    """

    name: str
    dataset: str
    results: dict[str, PixelResult | ComponentResult]
    intervals: dict[str, dict[str, Interval]]
    rows: DataFrame
    curves: Curves | None

    def __str__(self) -> str:
        """A table for the terminal: percent, 95 % intervals in brackets."""
        from tabulate import tabulate

        lines: list[list[str]] = []
        for name, result in self.results.items():
            if isinstance(result, ComponentResult):
                found = {"sIoU": result.siou, "PPV": result.ppv, "mean F1": result.f1}
                lines += [[result.protocol, metric, _percent(value), ""] for metric, value in found.items()]
                continue
            for metric in ("auroc", "aupr", "fpr95"):
                interval = self.intervals.get(name, {}).get(metric)
                between = f"[{_percent(interval.low)}, {_percent(interval.high)}]" if interval else ""
                lines.append([result.protocol, metric.upper(), _percent(getattr(result, metric)), between])
            lines.append([result.protocol, "AUPR of a constant score", _percent(result.prevalence), ""])
            lines.append([result.protocol, "images (skipped)", f"{result.images} ({result.skipped})", ""])
        table = tabulate(
            lines,
            ("protocol", "", "%", "95 % interval"),
            colalign=("left", "left", "right", "left"),
            disable_numparse=True,
        )
        return f"{self.name} on {self.dataset}\n\n{table}"


def score_directory(
    directory: str | Path, dataset: Dataset, protocols: Sequence[str | Protocol] = DEFAULT_PROTOCOLS
) -> ScoreReport:
    """Evaluate a folder of score maps.

    The map of the image with id "t5/12" is ``DIR/t5/12`` with one of the suffixes npy, npz (one array), png or tif
    (one channel of 16 or 32 bits) or hdf5 (named "value"), of the size of the labels; higher is more anomalous.

    Args:
        directory: the folder.
        dataset: split to evaluate on, with its labels.
        protocols: pixel and component protocols; those that need predicted classes cannot be evaluated.
    Raises:
        BenchmarkError: files missing, unknown, ambiguous, unreadable or of another size; an unsuitable protocol.
    """
    chosen = [protocol(p) for p in protocols]
    pixel = [p for p in chosen if isinstance(p, PixelProtocol) and not p.split]
    component = [p for p in chosen if isinstance(p, ComponentProtocol)]
    if unsuitable := [p for p in chosen if p not in pixel and p not in component]:
        raise BenchmarkError(f"Protocol '{unsuitable[0].name}' needs predicted classes, which score maps do not hold.")
    directory = Path(directory)
    name = directory.resolve().name
    wanted = pixel if not component else [*pixel, *(p for p in [protocol("pooled")] if p not in pixel)]
    evaluator = PixelEvaluator(wanted, classes=dataset.classes, method=name)
    found = _find(directory)
    ids: set[str] = set()
    for index in tqdm(range(len(dataset)), desc=name, unit="image", disable=None, leave=False):
        sample = dataset[index]
        evaluator.update(sample.id, read_scores(_file_of(sample.id, found, directory)), sample.labels.numpy())
        ids.add(sample.id)
    if unknown := sorted(found.keys() - ids):
        raise BenchmarkError(
            f"{directory}: {len(unknown)} files belong to no image of {dataset.name} ({dataset.split}), "
            f"the first is {found[unknown[0]][0].name}; remove them or name another dataset."
        )
    components = [ComponentEvaluator(evaluator.best_f1_threshold(), p, method=name) for p in component]
    if components:
        for index in range(len(dataset)):
            sample = dataset[index]
            scores = read_scores(_file_of(sample.id, found, directory))
            for each in components:
                each.update(sample.id, scores, sample.labels.numpy())
    return _report(name, dataset, chosen, evaluator, components)


def _find(directory: Path) -> dict[str, list[Path]]:
    """Score maps by image id."""
    if not directory.is_dir():
        raise BenchmarkError(f"{directory} is no folder; name the one that holds the score maps.")
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.rglob("*")):
        if path.suffix in SUFFIXES:
            found.setdefault(path.relative_to(directory).with_suffix("").as_posix(), []).append(path)
    return found


def _file_of(image_id: str, found: dict[str, list[Path]], directory: Path) -> Path:
    files = found.get(image_id, [])
    if len(files) == 1:
        return files[0]
    if files:
        raise BenchmarkError(f"{files[0]} and {files[1].name} are both maps of image '{image_id}'; keep one.")
    raise BenchmarkError(
        f"There is no score map of image '{image_id}'; it must be {directory / image_id} with one of the suffixes "
        f"{', '.join(SUFFIXES)} (the folder holds {len(found)} maps)."
    )


def _report(
    name: str,
    dataset: Dataset,
    chosen: Sequence[Protocol],
    evaluator: PixelEvaluator,
    components: Sequence[ComponentEvaluator],
) -> ScoreReport:
    results: dict[str, PixelResult | ComponentResult] = {}
    intervals: dict[str, dict[str, Interval]] = {}
    rows = evaluator.rows()
    for p in chosen:
        if isinstance(p, PixelProtocol):
            results[p.name] = evaluator.result(p)
            if p.aggregation == "per-image":
                intervals[p.name] = {m: bootstrap_interval(rows, m, p) for m in ("auroc", "aupr", "fpr95")}
    results |= {c.protocol.name: c.result() for c in components}
    pooled = [p for p in evaluator.protocols if p.aggregation == "pooled"]
    curves = evaluator.curves(pooled[0]) if pooled and evaluator.ranking(pooled[0]).defined else None
    return ScoreReport(name, f"{dataset.name} ({dataset.split})", results, intervals, rows, curves)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"
