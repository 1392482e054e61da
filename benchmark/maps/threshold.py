"""The threshold of masks: a number, or one that lets a share of normal pixels pass."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmark.data import ANOMALY, Batch, Dataset
from benchmark.errors import BenchmarkError
from benchmark.maps.files import as_stored
from benchmark.maps.infer import Maps, full_size, resized, take_turns
from benchmark.maps.photos import Photos
from benchmark.registry import DATASETS
from benchmark.run.entry import Entry
from benchmark.run.scoring import nothing, score
from benchmark.run.setup import Setup
from benchmark.run.workshop import Workshop

SAMPLED = 1 << 24
"""Scores of a method, of all normal images together, that decide its threshold."""


@dataclass(frozen=True)
class Rule:
    """How a threshold is found.

    Attributes:
        text: as typed.
        kind: "number", "fpr" or "conformal".
        value: the number, or the share of normal pixels, 0 to 1.
    """

    text: str
    kind: Literal["number", "fpr", "conformal"]
    value: float


@dataclass(frozen=True)
class Threshold:
    """A threshold, and how it was found. A pixel is anomalous whose score reaches it.

    Attributes:
        value: the score.
        rule: as typed.
        normal: the normal images; empty where it was a number that was typed.
        fingerprint: of these images.
        images: their number.
        pixels: number of their pixels that were looked at, the same share of every image.
        share: of the normal pixels that reach it: of all pixels by "fpr", the mean over images by "conformal".
    """

    value: float
    rule: str
    normal: str = ""
    fingerprint: str = ""
    images: int = 0
    pixels: int = 0
    share: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As METHOD.json states it."""
        return {key: value for key, value in asdict(self).items() if self.normal or key in ("value", "rule")}


def parse_threshold(text: str) -> Rule:
    """``"0.5"``, ``"fpr=5"`` or ``"conformal=5"``, the latter in percent.

    Raises:
        BenchmarkError: it is something else.
    """
    kind, equals, number = text.partition("=")
    try:
        value = float(number if equals else text)
    except ValueError:
        value = math.nan
    if not equals and math.isfinite(value):
        return Rule(text, "number", value)
    if equals and kind in ("fpr", "conformal") and 0 < value < 100:
        return Rule(text, "fpr" if kind == "fpr" else "conformal", value / 100)
    raise BenchmarkError(
        f"--threshold {text}: write a score, or fpr=5 or conformal=5 for the percentage of normal pixels that may "
        f"reach it."
    )


def normal_images(setup: Setup, rule: Rule, call: str, entries: Sequence[Entry], longest: int) -> Dataset | None:
    """The images from which a threshold is found; None where it is a number.

    Args:
        setup: of the run.
        rule: of the threshold.
        call: ``--threshold-on``, a dataset or a folder of photos; empty takes the validation images of what methods are
            fitted to.
        entries: the methods.
        longest: as of :class:`~benchmark.maps.photos.Photos`.
    Raises:
        BenchmarkError: there are none, or only such as a method is fitted to; or a number is for several methods.
    """
    if rule.kind == "number":
        if call:
            raise BenchmarkError("--threshold-on is for --threshold fpr=5 or conformal=5; leave it out for a number.")
        if len(entries) > 1:
            raise BenchmarkError(
                f"--threshold {rule.text} is a score of one method, and the scales of {len(entries)} differ; name one "
                f"by --methods, or give fpr=5."
            )
        return None
    images = _named(call, setup.options.root, longest) if call else _validation(setup, rule, longest)
    fitted = [entry.label for entry in entries if entry.method.fitted]
    if fitted and _fits(setup, images):
        raise BenchmarkError(
            f"{fitted[0]} is fitted to these images, whose scores are too low for a threshold; name other normal "
            f"images by --threshold-on."
        )
    _check_count(rule, len(images))
    return images


def _fits(setup: Setup, images: Dataset) -> bool:
    """Whether methods are fitted to these images."""
    if isinstance(images, Photos):
        return bool(setup.options.normal) and Path(setup.options.normal).resolve() in map(Path.resolve, images.sources)
    return images.split == "train" and images.label == setup.fit_splits[0].label


def _validation(setup: Setup, rule: Rule, longest: int) -> Dataset:
    """The validation images of what methods are fitted to; all of --normal where it has none."""
    _, val = setup.fit_splits
    if val is None:
        return _named(setup.options.normal, setup.options.root, longest)
    try:
        len(val)
    except BenchmarkError as error:
        raise BenchmarkError(
            f"--threshold {rule.text} needs normal images: {str(error).removesuffix('.')}; name a dataset or a folder "
            f"of normal photos by --threshold-on."
        ) from None
    return val


def _named(call: str, root: Path, longest: int) -> Dataset:
    name = DATASETS.canonical(call.partition(":")[0])
    if name not in DATASETS.names():
        if os.path.exists(call):
            return Photos([Path(call)], longest)
        raise BenchmarkError(
            f"--threshold-on {call} is neither a folder nor a dataset; `python -m benchmark list datasets` shows these."
        )
    splits = DATASETS.get(name).card.splits
    split = next((each for each in ("val", "train") if each in splits), "")
    if not split:
        raise BenchmarkError(f"--threshold-on {call}: that dataset has test images only, which hold anomalies.")
    return DATASETS.create(call, split=split, root=root)


def thresholds_of(
    workshop: Workshop, entries: Sequence[Entry], rule: Rule, normal: Dataset | None, maps: Maps, force: bool = False
) -> dict[str, Threshold]:
    """The threshold of every method that works, by label.

    One that METHOD.json states for the same rule and images is taken from there.

    Args:
        workshop: with everything loaded.
        entries: the methods; one that fails is dropped with a sentence.
        rule: how the threshold is found.
        normal: images; all pixels of photos are normal, of a dataset those that are neither ignored nor anomalous.
        maps: of :func:`benchmark.maps.infer.infer`, in whose format scores are compared.
        force: find it anew.
    Raises:
        BenchmarkError: an image cannot be read, or there are too few.
    """
    entries = [entry for entry in entries if not entry.error]
    if normal is None:
        return {entry.label: Threshold(rule.value, rule.text) for entry in entries}
    name = ", ".join(str(path.resolve()) for path in normal.sources) if isinstance(normal, Photos) else normal.label
    where, fingerprint = name if isinstance(normal, Photos) else f"{name} ({normal.split})", normal.fingerprint()
    found: dict[str, Threshold] = {}
    for entry in entries:
        known = maps.about(entry).get("threshold", {})
        if not force and (known.get("rule"), known.get("fingerprint")) == (rule.text, fingerprint):
            found[entry.label] = Threshold(**known)
    missing = [entry for entry in entries if entry.label not in found]
    for entry, scores in _normal_scores(workshop, missing, normal, maps.form).items():
        value, share = operating_point([s for s, _ in scores], [n for _, n in scores], rule)
        pixels = sum(len(s) for s, _ in scores)
        found[entry] = Threshold(value, rule.text, where, fingerprint, len(scores), pixels, share)
    return found


def operating_point(scores: Sequence[np.ndarray], pixels: Sequence[int], rule: Rule) -> tuple[float, float]:
    """The smallest threshold that a share of normal pixels reaches at most, and the share that reaches it.

    "fpr" is the empirical rate over all pixels. "conformal" bounds the expectation of the rate of a further image
    that is exchangeable with these n: with the mean rate R of theirs, (n R + 1) / (n + 1) <= share, since a rate is 1
    at most and falls with the threshold (conformal risk control, Angelopoulos et al., ICLR 2024). Images are the unit,
    as pixels of one image are not exchangeable with those of another.

    Args:
        scores: per image, float32, of the pixels that are looked at.
        pixels: per image, how many pixels these stand for.
        rule: not a number.
    Raises:
        BenchmarkError: too few images, no pixel, or so many infinite scores that no threshold lies above them.
    """
    count = len(scores)
    if not count:
        raise BenchmarkError(f"--threshold {rule.text}: the normal images hold no normal pixel.")
    level = rule.value
    counts = np.array([len(each) for each in scores], np.float64)
    weights = np.array(pixels, np.float64) / (np.sum(pixels) * counts)
    if rule.kind == "conformal":
        _check_count(rule, count)
        level = (rule.value * (count + 1) - 1) / count
        weights = 1 / (count * counts)
    values = np.concatenate(scores)
    weight = np.repeat(weights, [len(each) for each in scores])
    order = np.argsort(values)[::-1]
    reached = np.cumsum(weight[order])
    allowed = int(np.searchsorted(reached, level + 1e-9 * weight.min(), side="right"))
    highest = values[order[min(allowed, len(order) - 1)]]
    if np.isposinf(highest):
        raise BenchmarkError(f"--threshold {rule.text}: more normal pixels than that have an infinite score.")
    value = np.nextafter(np.float32(highest), np.float32(np.inf))
    return float(value), float(weight[values >= value].sum())


def _check_count(rule: Rule, count: int) -> None:
    """Refuse fewer images than a conformal threshold can rest on: n with share (n + 1) >= 1."""
    least = math.ceil(1 / rule.value - 1 - 1e-9)
    if rule.kind == "conformal" and count < least:
        raise BenchmarkError(
            f"--threshold {rule.text} takes at least {least} normal images, these are {count}; take a larger "
            f"percentage, or fpr."
        )


def _normal_scores(
    workshop: Workshop, entries: Sequence[Entry], normal: Dataset, form: str
) -> dict[str, list[tuple[np.ndarray, int]]]:
    """By method label, per image: scores of a random part of its normal pixels, and the number of all."""
    found: dict[str, list[tuple[np.ndarray, int]]] = {entry.label: [] for entry in entries}
    if not entries:
        return found
    problems: list[str] = []
    share = SAMPLED // len(normal)

    def turn(entry: Entry, batch: Batch, _: Mapping[str, str]) -> Callable[[], None]:
        if entry.error:
            return nothing
        scores = score(workshop, entry, batch)[0].float().cpu().numpy()
        if np.isnan(scores).any():
            raise BenchmarkError("some scores are NaN.")

        def keep() -> None:
            for image_id, labels, values in zip(batch.ids, batch.labels.cpu().numpy(), scores, strict=True):
                values = as_stored(resized(values, full_size(normal, image_id, values.shape)), form)
                values = values.ravel() if isinstance(normal, Photos) else values[labels < ANOMALY]
                if values.size:
                    found[entry.label].append((_part(values, share, image_id), values.size))

        return keep

    take_turns(workshop, entries, normal, problems, "scoring normal images", turn)
    if problems:
        raise BenchmarkError(f"A normal image cannot be read: {problems[0]}")
    return {entry.label: found[entry.label] for entry in entries if not entry.error}


def _part(values: np.ndarray, most: int, image_id: str) -> np.ndarray:
    """At most so many of the values, drawn at random, the same in every run."""
    if len(values) <= most:
        return values
    random = np.random.default_rng(zlib.crc32(image_id.encode()))
    return values[random.choice(len(values), most, replace=False)]
