"""Heat maps of a few images: the score maps that ``infer`` left beside the records, with the images where they are.

Scores of different methods have no common unit. A page therefore shows every pixel at the false-positive rate, over all
images of the set, of the lowest threshold of the stored curve that calls it anomalous: one slider then sets the same
operating point for all methods.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas import DataFrame

from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import read_json, to_plain
from benchmark.io.walk import below
from benchmark.leaderboard.wording import percent
from benchmark.metrics import PixelProtocol, evaluate_scores, read_curves
from benchmark.metrics.curves import Curves
from benchmark.records.record import Record

if TYPE_CHECKING:
    from benchmark.data import Dataset, Sample

IMAGES = 12
"""Images of a board that are drawn, half of them worst and half best."""
METHODS = 8
"""Methods of a board that are drawn."""
SIDE = 360
"""Pixels of the long side of a drawn image."""
LEVELS = 100 * (np.arange(255, -1, -1) / 255) ** 3
"""False-positive rate in percent of every code of a pixel and place of the slider, close where it is small."""
_OF_MEASURING = {"validation", "protocols"}
"""Parts of an identity that say nothing of the scores."""
_EXACT, _ROUNDED = 1e-4, 2e-2
"""How far the AUPR of a map may be from that of its row: float32, and the formats of 16 bits."""


@dataclass(frozen=True)
class Found:
    """The score maps of a method: their folder, format, and the record that was measured with the same."""

    folder: Path
    form: str
    record: Record


def find_maps(results: Path, records: Mapping[str, Sequence[Record]]) -> dict[str, Found]:
    """The maps below ``scores/`` that were made as a record was, by method label.

    A map says what it was made with; maps of other weights, options or images do not count.
    """
    found: dict[str, Found] = {}
    for path in below(results / "scores", ".json"):
        try:
            about = read_json(path)
        except (BenchmarkError, OSError, ValueError):
            continue
        for record in records.get(about.get("method", ""), ()) if isinstance(about, dict) else ():
            made = to_plain(record.identity)
            alike = all(about[key] == made[key] for key in (about.keys() & made.keys()) - _OF_MEASURING)
            if (
                alike
                and about.get("images") == record.dataset.name
                and record.curves
                and record.dataset.label_size == "image"
            ):
                found.setdefault(record.method.label, Found(path.with_suffix(""), about.get("format", ""), record))
    return {label: found[label] for label in records if label in found}


def heat_maps(
    results: Path,
    found: Mapping[str, Found],
    root: Path,
    protocol: PixelProtocol,
    rows: Mapping[str, Sequence[DataFrame]],
    count: int,
) -> tuple[dict[str, Any], list[str]]:
    """The images that the methods find hardest and easiest, with every method's map.

    A map is shown where the AUPR of its image is that of the method's row, which proves that it is the one measured.

    Args:
        results: folder of the records.
        found: by :func:`find_maps`, with at least one method.
        root: the data root.
        protocol: of the rows.
        rows: per method and repetition, by image.
        count: images to draw.
    Returns:
        What the page shows, empty where it cannot, and a sentence for everything that was left out.
    """
    labels = [label for label in found if label in rows]
    if not labels or not count:
        return {}, []
    try:
        test = _measured_images(found[labels[0]].record, root)
    except BenchmarkError as error:
        return {}, [f"No heat maps, as the images are not at hand ({error})"]
    remarks = [f"Heat maps of {', '.join(labels[METHODS:])} are left out for size."] if labels[METHODS:] else []
    curves: dict[str, Curves] = {}
    for label in labels[:METHODS]:
        record = found[label].record
        try:
            curves[label] = read_curves(record.path(results).parent / record.curves)
        except BenchmarkError as error:
            remarks.append(f"{label} has no heat maps: {error}")
    drawn = []
    for name in _hardest_and_easiest(rows, list(curves), count) if curves else ():
        try:
            sample = _sample(test, name, list(rows[labels[0]][0].index).index(name))
        except BenchmarkError as error:
            remarks.append(f"No heat maps of {name}: {error}")
            continue
        maps, auprs = {}, {}
        for label, curve in curves.items():
            try:
                scores, aupr = _proved(found[label], sample, protocol, test.classes, rows[label])
            except BenchmarkError as error:
                remarks.append(f"{label} has no heat map of {name}: {error}")
            else:
                maps[label], auprs[label] = _png(_reduced(codes(scores, curve))), percent(aupr)
        if maps:
            drawn.append(
                {
                    "id": name,
                    "photo": _photo(sample.image.permute(1, 2, 0).numpy()),
                    "labels": _png(_reduced(_kinds(sample.labels.numpy()))),
                    "maps": maps,
                    "aupr": auprs,
                }
            )
    if not drawn:
        return {}, remarks
    rates = {label: _rates(curve) for label, curve in curves.items()}
    shown = {"images": drawn, "methods": labels, "levels": LEVELS.tolist(), "rates": rates, "colours": _colours()}
    return shown, remarks


def _measured_images(record: Record, root: Path) -> Dataset:
    """The images of a record.

    Raises:
        BenchmarkError: they are not under the data root, or others are.
    """
    from benchmark.registry import DATASETS

    test = DATASETS.create(record.dataset.name, split=record.dataset.split, root=root)
    if test.fingerprint() != record.dataset.fingerprint:
        raise BenchmarkError("they are other images than those measured.")
    return test


def codes(scores: np.ndarray, curves: Curves) -> np.ndarray:
    """Scores as uint8: c where the pixel is called anomalous at LEVELS[c] and no lower false-positive rate.

    At a level, the threshold is the lowest stored one whose rate does not exceed it.
    """
    place = np.searchsorted(-curves.threshold, -scores.astype(np.float32).astype(np.float64), side="left")
    rate = 100 * curves.fpr[np.minimum(place, len(curves.fpr) - 1)]
    return (np.searchsorted(-LEVELS, -rate, side="right") - 1).clip(0).astype(np.uint8)


def _rates(curves: Curves) -> dict[str, list[str]]:
    """True- and false-positive rate at every level, as printed."""
    last = np.searchsorted(100 * curves.fpr, LEVELS, side="right") - 1
    tpr, fpr = (np.where(last >= 0, rate[last.clip(0)], 0.0) for rate in (curves.recall, curves.fpr))
    return {"tpr": [percent(rate) for rate in tpr], "fpr": [percent(rate, 2) for rate in fpr]}


def _hardest_and_easiest(rows: Mapping[str, Sequence[DataFrame]], labels: Sequence[str], count: int) -> list[str]:
    """Ids by the mean AUPR of the methods: the lowest, then the highest."""
    means = DataFrame({label: rows[label][0]["aupr"] for label in labels}).mean(axis=1, skipna=False).dropna()
    ordered = list(means.sort_values(kind="stable").index)
    if len(ordered) <= count:
        return ordered
    return [*ordered[: (count + 1) // 2], *ordered[len(ordered) - count // 2 :]]


def _sample(test: Dataset, name: str, place: int) -> Sample:
    """The image of that name, which rows and dataset mostly have at the same place."""
    if place < len(test) and (sample := test[place]).id == name:
        return sample
    for sample in test:
        if sample.id == name:
            return sample
    raise BenchmarkError(f"The dataset has no image '{name}'.")


def _proved(
    found: Found, sample: Any, protocol: PixelProtocol, classes: Sequence[str], rows: Sequence[DataFrame]
) -> tuple[np.ndarray, float]:
    """The score map of an image and its AUPR.

    Raises:
        BenchmarkError: there is none, or it is not what the record measured.
    """
    from benchmark.maps.files import FORMATS, read_written

    path = found.folder / f"{sample.id}{FORMATS.get(found.form, '')}"
    if not path.is_file():
        raise BenchmarkError("there is no score map of it.")
    scores = read_written(path, found.form)
    aupr = evaluate_scores([scores], [sample.labels.numpy()], protocol, ids=[sample.id], classes=classes).aupr
    near = _EXACT if found.form in ("npy", "tif") else _ROUNDED
    if not any(abs(table["aupr"].get(sample.id, np.nan) - aupr) <= near for table in rows):
        raise BenchmarkError("its score map has another AUPR than the record's row.")
    return scores, aupr


def _kinds(labels: np.ndarray) -> np.ndarray:
    """0 normal, 1 anomalous, 2 ignored."""
    from benchmark.data import ANOMALY, IGNORE

    return (labels == ANOMALY).astype(np.uint8) + 2 * (labels == IGNORE).astype(np.uint8)


def _small(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _reduced(values: np.ndarray) -> np.ndarray:
    """Every so many pixels: none is a mixture."""
    height, width = _small(*values.shape)
    lines = (2 * np.arange(height) + 1) * values.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * values.shape[1] // (2 * width)
    return values[lines[:, None], columns]


def _photo(image: np.ndarray) -> str:
    import cv2

    height, width = _small(*image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    packed = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(packed).decode()}"


def _png(values: np.ndarray) -> str:
    import cv2

    return f"data:image/png;base64,{base64.b64encode(cv2.imencode('.png', values)[1]).decode()}"


def _colours() -> list[list[int]]:
    from matplotlib import colormaps

    from benchmark.pictures.colours import HEAT

    return (255 * colormaps[HEAT](np.linspace(0, 1, 256))[:, :3]).round().astype(int).tolist()
