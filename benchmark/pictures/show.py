"""What ``show`` draws: a few test images with the score maps of trained methods, and the curves of their records."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.data import Dataset, Sample, collate
from benchmark.errors import BenchmarkError, in_words
from benchmark.leaderboard.wording import percent, primary, scales_in_words
from benchmark.metrics import (
    PixelProtocol,
    evaluate_scores,
    pixel_protocol,
    protocol,
    read_curves,
    read_rows,
    select_rows,
)
from benchmark.pictures import SheetRow
from benchmark.progress import counted
from benchmark.records.record import Record, read, record_path
from benchmark.run.plan import Step, expected_identity, network_name
from benchmark.run.scoring import score
from benchmark.run.workshop import Workshop

SCALE = (
    "Heat maps: one colour scale per method over all images shown, from the 1st to the 99.8th percentile of its "
    "scores; the scales of different methods do not compare."
)


@dataclass(frozen=True)
class Measured:
    """The record of what a method computes now, and the folder that it lies in."""

    record: Record
    folder: Path


def find_measured(workshop: Workshop, step: Step, results: Path) -> Measured | str:
    """The current record of a method, from this machine's runs or else from `results`; or in words why there is none.

    A record of other weights, data or options does not count: it would describe something else than the picture.
    """
    if step.current:
        return Measured(step.record, step.path.parent)
    setup = workshop.setup
    path = record_path(results, setup.dataset, network_name(setup), step.entry.label, setup.options.repetition)
    if path.exists():
        record = read(path)
        if not record.stale(expected_identity(workshop, step.entry)):
            return Measured(record, path.parent)
    return f"its record is not current ({'; '.join(step.reasons)})" if step.record else "it is not measured yet"


def count_or_ids(text: str) -> int | list[str]:
    """``"6"`` or ``"ID,ID"``."""
    ids = [part.strip() for part in text.split(",") if part.strip()]
    if len(ids) == 1 and re.fullmatch("[1-9][0-9]{0,5}", ids[0]):
        return int(ids[0])
    if not ids or (len(ids) == 1 and re.fullmatch(r"0|[+-][0-9.]+", ids[0])):
        raise BenchmarkError(f"--images {text}: write how many, or ids separated by commas.")
    return ids


def choose(test: Dataset, wanted: int | list[str], pick: str, first: Measured | str, label: str) -> list[Sample]:
    """The images to draw.

    Args:
        test: the dataset.
        wanted: how many, or the ids of which ones.
        pick: "spread", or "best" or "worst" by the AUPR of the first method.
        first: what is measured of the first method.
        label: of the first method.
    Raises:
        BenchmarkError: no such image, or nothing measured to pick by.
    """
    if isinstance(wanted, list):
        return _by_id(test, wanted)
    count = min(wanted, len(test))
    if pick == "spread":
        return [test[int((i + 0.5) * len(test) / count)] for i in range(count)]
    if isinstance(first, str):
        raise BenchmarkError(f"--pick {pick} goes by the AUPR of {label}, but {first}; measure it with `run`.")
    rows = select_rows(read_rows(first.folder / first.record.rows), _per_image(test))
    scored = [(aupr, image) for aupr, image in zip(rows["aupr"], rows["image"]) if not math.isnan(aupr)]
    return _by_id(test, [str(image) for _, image in sorted(scored, reverse=pick == "best")[:count]])


def make_row(workshop: Workshop, steps: Sequence[Step], titles: Sequence[str], sample: Sample) -> SheetRow:
    """Score an image with every method.

    Raises:
        BenchmarkError: a method fails.
    """
    batch = collate([sample])[0].to(workshop.setup.machine.device)
    labels, test = sample.labels.numpy(), workshop.setup.test
    scores, remarks = {}, {}
    for step, title in zip(steps, titles):
        try:
            values = score(workshop, step.entry, batch)[0][0].float().cpu().numpy()
        except BaseException as error:  # whatever a plugin raises
            raise BenchmarkError(f"{step.entry.label}, image {sample.id}: {in_words(error)}") from error
        scores[title] = values
        aupr = evaluate_scores([values], [labels], _per_image(test), ids=[sample.id], classes=test.classes).aupr
        remarks[title] = "" if math.isnan(aupr) else f"AUPR {percent(aupr)}"
    prediction = workshop.pool.outputs(workshop.setup.base, batch.blind).prediction()[0].cpu().numpy()
    return SheetRow(sample.id, sample.image.permute(1, 2, 0).numpy(), labels, prediction, scores, remarks)


def titles_of(steps: Sequence[Step]) -> list[str]:
    """The methods' titles, or their labels where two have one title."""
    titles = [step.entry.method.title or step.entry.label for step in steps]
    return [t if titles.count(t) == 1 else step.entry.label for t, step in zip(titles, steps)]


def caption(measured: Measured | str) -> str:
    """What stands under a method's title: its means over the whole test set."""
    found = None if isinstance(measured, str) else primary(measured.record, "per-image")
    if found is None or found.aupr is None or found.fpr95 is None:
        return ""
    return f"AUPR {percent(found.aupr)}, FPR95 {percent(found.fpr95)}"


def note(workshop: Workshop, measured: Sequence[Measured | str]) -> str:
    """What a reader of the sheet must know."""
    setup = workshop.setup
    records = [m.record for m in measured if isinstance(m, Measured)]
    words = f"{setup.test.card.title}, {setup.test.split} split, {network_name(setup)}, "
    words += scales_in_words(setup.base.scales, setup.base.max_size)
    mious = {percent(r.segmentation.miou) for r in records if r.segmentation and r.segmentation.miou is not None}
    words += f", mIoU {mious.pop()}" if len(mious) == 1 else ""
    if records:
        images = records[0].dataset.images
        words += f". Under a method its means over all {images} images, in a heat map that image's AUPR, in percent"
    else:
        words += ". In a heat map that image's AUPR in percent"
    return f"{words}. {SCALE}"


def pooled_curves(
    titles: Sequence[str], measured: Sequence[Measured | str]
) -> tuple[dict[str, dict[str, np.ndarray]], float | None]:
    """Stored curves by title with the pooled AUPR, best first, and the precision of a constant score."""
    found = []
    prevalence = None
    for title, each in zip(titles, measured):
        if isinstance(each, str) or not each.record.curves:
            continue
        points = read_curves(each.folder / each.record.curves).arrays()
        pooled = primary(each.record, "pooled")
        aupr = pooled.aupr if pooled else None
        name = title if aupr is None else f"{title}, AUPR {percent(aupr)}"
        found.append((-(aupr or 0), name, points | {"tpr": points["recall"]}))
        prevalence = pooled.constant_aupr if pooled else prevalence
    return {name: points for _, name, points in sorted(found, key=lambda f: f[0])}, prevalence


def _per_image(test: Dataset) -> PixelProtocol:
    """The per-image protocol that the tables of a dataset show."""
    return next(
        (pixel_protocol(name) for name in test.policy.protocols if protocol(name).family == "per-image"),
        pixel_protocol("per-image"),
    )


def _by_id(test: Dataset, ids: Sequence[str]) -> list[Sample]:
    found: dict[str, Sample] = {}
    seen = []
    for sample in counted(test, len(test), "looking for images"):
        seen.append(sample.id)
        if sample.id in ids:
            found[sample.id] = sample
        if len(found) == len(set(ids)):
            return [found[image_id] for image_id in dict.fromkeys(ids)]
    unknown = next(image_id for image_id in ids if image_id not in found)
    near = difflib.get_close_matches(unknown, seen, n=3, cutoff=0.3) or seen[:3]
    raise BenchmarkError(
        f"{test.card.title} ({test.split}) has no image '{unknown}'; it has for instance {', '.join(near)}."
    )
