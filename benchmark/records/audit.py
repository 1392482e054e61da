"""Whether records say what can be computed again from what is stored beside them.

Per-image means and intervals, numbers of images and pixels and the pooled share of anomalous pixels follow from the row
of every image, the mean IoUs from those of the classes. Pooled metrics rank all pixels of all images at once; the
points of their curves give FPR95, and enclose AUROC and AUPR within a thousandth.

What else a record says cannot be computed again: values of components and of open-set segmentation, those of a second
pooled protocol that ranks other pixels, the IoU of each class, times and memory. :func:`unproved` names what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.metrics import METRICS, PROTOCOLS, PixelProtocol, bootstrap_interval, per_image_result, read_rows
from benchmark.metrics.curves import Curves, read_curves
from benchmark.metrics.pixel_protocols import PIXEL_PROTOCOLS, POOLED, TARGET_TPR
from benchmark.metrics.pooled import BUDGET
from benchmark.metrics.rows import select_rows
from benchmark.records.rates import ROUNDING, WIDEST, rate_contradictions
from benchmark.records.record import Measurement, Record, read_all

if TYPE_CHECKING:
    from pandas import DataFrame

RESAMPLING = 0.05
"""Part of an interval's width by which its ends may differ. The resamples are the same ones, apart from versions of
NumPy that draw other random numbers; 10,000 other ones move an end by 0.007 of the width (one standard deviation)."""


def audit(results: Path) -> list[str]:
    """A sentence for every record below the results folder that contradicts what is stored, or what cannot be read."""
    results = Path(results)
    problems = []
    for record in read_all(results)[0]:
        path = record.path(results)
        wrong = contradictions(record, path.parent)
        if wrong:
            problems.append(
                f"{path.relative_to(results.parent)} and {record.rows or 'its rows'} contradict each other: "
                f"{'; '.join(wrong)}; "
                f"restore both files from where they were measured, or measure again with 'run --force'."
            )
    return problems


def unproved(results: Path) -> dict[str, int]:
    """What of the records below the results folder nothing that is stored gives again -> in how many it is."""
    found = Counter(words for record in read_all(Path(results))[0] for words in _unproved(record))
    return dict(sorted(found.items()))


def _unproved(record: Record) -> Iterator[str]:
    ranked = {p.name: p for p in PIXEL_PROTOCOLS}
    pooled = [name for name in record.metrics if name in ranked and ranked[name].aggregation == "pooled"]
    for name in record.metrics:
        if name not in ranked:
            yield name
        elif name in pooled[1:] and (left := set(METRICS) - _shared(record, pooled[0], name)):
            yield f"{name} ({', '.join(m for m in METRICS if m in left)})"
    if record.segmentation is not None and record.segmentation.per_class_iou:
        yield "the IoU of each class"
    if record.cost.network_ms is not None or record.cost.method_ms is not None:
        yield "times and memory"


def _shared(record: Record, first: str, second: str) -> set[str]:
    """The metrics that two pooled protocols must agree in, since they rank the same pixels."""
    one, other = record.metrics[first], record.metrics[second]
    rules = [next(p for p in PIXEL_PROTOCOLS if p.name == name) for name in (first, second)]
    same = all(getattr(one, key) == getattr(other, key) for key in ("images", "skipped", "constant_aupr"))
    if not same or rules[0].negatives != rules[1].negatives:
        return set()
    return {"auroc", "aupr", *(["fpr95"] if rules[0].fpr_rule == rules[1].fpr_rule else [])}


def contradictions(record: Record, folder: Path, intervals: bool = True) -> list[str]:
    """In a few words each, what of a record is not what the files beside it say; empty where all is.

    Args:
        record: one that was read.
        folder: that holds its rows and curves.
        intervals: whether to resample the images for the intervals, too, which takes half a second for 1500 of them.
    """
    try:
        return list(_differences(record, folder, intervals))
    except BenchmarkError as error:
        return [str(error).removesuffix(".")]


def _differences(record: Record, folder: Path, intervals: bool) -> Iterator[str]:
    ranked = {p.name: p for p in PIXEL_PROTOCOLS}
    for name, found in record.metrics.items():
        if name not in PROTOCOLS:
            yield f"there is no protocol {name}"
        elif found.version != PROTOCOLS[name].version:
            yield f"{name} v{found.version} is not the version that is known here, v{PROTOCOLS[name].version}"
        elif name in ranked and found.aggregation != ranked[name].aggregation:
            yield f"{name} is {ranked[name].aggregation}, not {found.aggregation}"
    measured = {n: m for n, m in record.metrics.items() if n in ranked and m.version == ranked[n].version}
    stem = record.path(folder).stem
    for name, kind in ((record.rows, "rows"), (record.curves, "curves")):
        if name and name != f"{stem}.{kind}.csv.gz":
            raise BenchmarkError(f"it names {name} as its {kind}, which belongs to another record.")
    if not record.rows:
        raise BenchmarkError("it names no rows per image, which prove its means.")
    rows = read_rows(folder / record.rows)
    yield from _segmentation(record)
    yield from _images(record, rows)
    curves = None
    for name, measurement in measured.items():
        chosen = ranked[name]
        if chosen.aggregation == "per-image":
            wrong = _per_image(measurement, chosen, rows, intervals)
        else:
            wrong = _pooled_share(measurement, chosen, rows)
        yield from (f"{words} under {name}" for words in wrong)
        if chosen.aggregation == "pooled" and curves is None:
            curves = name
            yield from (f"{words} under {name}" for words in _pooled(record, measurement, folder))
        elif chosen.aggregation == "pooled":
            for metric in sorted(_shared(record, curves, name)):
                if not _equal(getattr(measurement, metric), getattr(measured[curves], metric)):
                    yield f"{metric} under {name} is not that under {curves}, though both rank the same pixels"
    if curves == POOLED.name and record.curves:
        yield from rate_contradictions(record, read_curves(folder / record.curves))


def _segmentation(record: Record) -> Iterator[str]:
    found = record.segmentation
    if found is None or found.miou is None:
        return
    if not 0 < found.miou_denominator <= len(found.per_class_iou):
        yield f"the mIoU is over {found.miou_denominator} of {len(found.per_class_iou)} classes"
        return
    total = sum(iou for iou in found.per_class_iou.values() if iou is not None)
    values = {
        "miou": (found.miou, total / found.miou_denominator),
        "miou_all": (found.miou_all, total / len(found.per_class_iou) if found.per_class_iou else None),
    }
    for name, (mine, theirs) in values.items():
        if not _equal(mine, theirs):
            yield f"{name} is {mine} in the record, {theirs} by the IoUs of its classes"


def _images(record: Record, rows: DataFrame) -> Iterator[str]:
    """Numbers of images and pixels."""
    part = record.dataset
    if part.images != rows["image"].nunique():
        yield f"{part.images} images of the dataset in the record, {rows['image'].nunique()} in the rows"
    first = rows.drop_duplicates("image")
    anomalous, whole = int(first["anomalous"].sum()), int(first[["anomalous", "normal", "ignored"]].sum().sum())
    if part.pixels and part.pixels.get("anomalous") != anomalous:
        yield f"{part.pixels.get('anomalous')} anomalous pixels in the record, {anomalous} in the rows"
    if part.pixels and sum(part.pixels.values()) != whole:
        yield f"{sum(part.pixels.values())} pixels in the record, {whole} in the rows"
    valid = part.pixels.get("anomalous", 0) + part.pixels.get("normal", 0)
    if valid and not _equal(part.anomaly_fraction, part.pixels["anomalous"] / valid):
        yield f"anomaly_fraction is {part.anomaly_fraction} in the record, not that of its pixels"


def _pooled_share(measured: Measurement, chosen: PixelProtocol, rows: DataFrame) -> Iterator[str]:
    """The share of anomalous pixels, which a constant score gets as its AUPR, and the number of images."""
    mine = select_rows(rows, chosen)
    counted = mine[mine["anomalous"] > 0] if chosen.pure_images == "excluded" else mine
    anomalous, normal = int(counted["anomalous"].sum()), int(counted["normal"].sum())
    share = anomalous / (anomalous + normal) if anomalous and normal else None
    if not _equal(measured.constant_aupr, share):
        yield f"constant_aupr is {measured.constant_aupr} in the record, {share} by the rows"
    if (measured.images, measured.skipped) != (len(counted), len(mine) - len(counted)):
        yield f"{measured.images} images and {measured.skipped} skipped in the record, {len(counted)} in the rows"


def _pooled(record: Record, measured: Measurement, folder: Path) -> Iterator[str]:
    """Pooled metrics against the ends between which the points of the curves hold them."""
    if not record.curves:
        if measured.aupr is not None:
            yield "aupr has a value, but the record names no curves"
        return
    curves = read_curves(folder / record.curves)
    bounds = curve_bounds(curves)
    if bounds is None:
        yield f"the points of {record.curves} are no curves of a ranking"
        return
    anomalous, normal = int(curves.tp[-1]), int(curves.fp[-1])
    sampled = [name for name in measured.extra if name.startswith("sampling_")]
    if sampled and anomalous <= BUDGET[0] and normal <= BUDGET[1]:
        yield f"{sampled[0]} is stated, but so few pixels are ranked whole"
    if not _equal(measured.constant_aupr, anomalous / (anomalous + normal)):
        yield f"{record.curves} are curves of {anomalous} anomalous and {normal} normal pixels"
    for metric, (low, high) in bounds.items():
        value = getattr(measured, metric)
        # The curves of a sample are read at its points, whose pixels stand for others nearby.
        slack = ROUNDING + min(measured.extra.get(f"sampling_{metric}") or 0.0, WIDEST)
        if value is None or not low - slack <= value <= high + slack:
            yield f"{metric} is {value} in the record, {low:.6f} to {high:.6f} by {record.curves}"


def curve_bounds(curves: Curves) -> dict[str, tuple[float, float]] | None:
    """Lower and upper bound of the metrics of which thinned curves are left; None where they are not of one ranking.

    Between two points, true and false positives only grow as the threshold falls. Where one score is all that the
    anomalous pixels between them have, nothing is left open.

    Args:
        curves: as stored.
    """
    if not len(curves.tp) or not curves.tp[-1] or not curves.fp[-1]:
        return None
    tp, fp = (np.concatenate([[0], values]) for values in (curves.tp, curves.fp))
    gained, passed = np.diff(tp), np.diff(fp)
    rises = (gained >= 0).all() and (passed >= 0).all() and (np.diff(curves.threshold) <= 0).all()
    counted = (curves.scores >= 0) & (curves.scores <= gained) & ((curves.scores > 0) == (gained > 0))
    if not (rises and counted.all() and curves.threshold[-1] == -np.inf):
        return None
    recall, fpr = tp / tp[-1], fp / fp[-1]
    single = curves.scores == 1
    best = tp[1:] / np.maximum(tp[1:] + np.where(single, fp[1:], fp[:-1]), 1)
    worst = np.where(single, best, tp[:-1] / np.maximum(tp[:-1] + fp[1:], 1))
    tied = single & np.concatenate([[False], curves.scores[:-1] == 0])
    half = (recall[:-1] + recall[1:]) / 2
    low, high = (np.where(tied, half, recall[side]) for side in (slice(None, -1), slice(1, None)))
    at = int(np.argmax(recall[1:] >= TARGET_TPR))
    return {
        "auroc": (float((np.diff(fpr) * low).sum()), float((np.diff(fpr) * high).sum())),
        "aupr": (float((np.diff(recall) * worst).sum()), float((np.diff(recall) * best).sum())),
        "fpr95": (float(fpr[at + 1] if single[at] else fpr[at]), float(fpr[at + 1])),
    }


def _per_image(measured: Measurement, chosen: PixelProtocol, rows: DataFrame, intervals: bool) -> Iterator[str]:
    found = per_image_result(chosen, rows)
    for what in ("images", "skipped"):
        mine, theirs = getattr(measured, what), getattr(found, what)
        if mine != theirs:
            yield f"{mine} {what} in the record, {theirs} in the rows"
    values = {metric: (getattr(measured, metric), getattr(found, metric)) for metric in METRICS}
    values["constant_aupr"] = measured.constant_aupr, found.prevalence
    values |= {metric: (value, getattr(found, metric, None)) for metric, value in measured.extra.items()}
    for metric, (mine, theirs) in values.items():
        if not _equal(mine, theirs):
            yield f"{metric} is {mine} in the record, {theirs} by the rows"
    for metric, ends in measured.intervals.items() if intervals else ():
        if metric not in METRICS:
            yield f"there is an interval of {metric} in the record"
            continue
        interval = bootstrap_interval(rows, metric, chosen)
        allowed = ROUNDING + RESAMPLING * (interval.high - interval.low)
        if max(abs(ends[0] - interval.low), abs(ends[1] - interval.high)) > allowed:
            yield f"the interval of {metric} is {ends} in the record, [{interval.low}, {interval.high}] by the rows"


def _equal(mine: float | None, theirs: float | None) -> bool:
    """A value that does not exist is None in a record and NaN in what is computed."""
    if theirs is None or theirs != theirs:
        return mine is None
    return mine is not None and abs(mine - theirs) <= ROUNDING
