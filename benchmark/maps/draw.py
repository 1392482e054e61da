"""Maps drawn over their images, and masks of what reaches a threshold."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmark.data import Dataset
from benchmark.io.names import file_name
from benchmark.maps.infer import Maps, mapped
from benchmark.maps.photos import Photos
from benchmark.maps.threshold import Threshold
from benchmark.maps.video import Video, VideoFile
from benchmark.pictures import colour_limits, panel, save_image
from benchmark.run.entry import Entry

SAMPLED = 1 << 24
"""Scores of a method, of all images together, that decide the colours of its pictures."""


def draw(
    entries: Sequence[Entry], images: Dataset, maps: Maps, thresholds: Mapping[str, Threshold] | None = None
) -> Path:
    """Draw the maps beside their images, the colours of a method meaning the same in all of them.

    The pictures of a video's frames are an .mp4, which lasts as long as the video does.

    Args:
        entries: the methods.
        images: that were scored.
        maps: of :func:`benchmark.maps.infer.infer`.
        thresholds: by method label, whose masks are outlined.
    Returns:
        The folder of the pictures.
    """
    home = maps.folder / "pictures"
    values: dict[str, list[np.ndarray]] = {}
    for entry, sample, scores in mapped(entries, images, maps, fit=True):
        step = math.ceil(math.sqrt(len(images) * sample.labels.numel() / SAMPLED))
        values.setdefault(entry.label, []).append(scores[::step, ::step].copy())
    limits = {label: colour_limits(sampled) for label, sampled in values.items()}
    writers: dict[tuple[str, Path], VideoFile] = {}
    with ExitStack() as stack:
        for entry, sample, scores in mapped(entries, images, maps, fit=True):
            threshold = (thresholds or {}).get(entry.label)
            picture = panel(
                sample.image.permute(1, 2, 0).numpy(),
                scores,
                limits[entry.label],
                entry.label,
                threshold.value if threshold else None,
            )
            video = _video(images, sample.id)
            if video is None:
                save_image(home / file_name(entry.label) / f"{sample.id}.jpg", picture)
                continue
            key = (entry.label, video.path)
            if key not in writers:
                path = home / file_name(entry.label) / f"{video.path.stem}.mp4"
                writers[key] = stack.enter_context(VideoFile(path, video.fps / video.every))
            writers[key].add(picture)
    return home


def write_masks(entries: Sequence[Entry], images: Dataset, maps: Maps, thresholds: Mapping[str, Threshold]) -> Path:
    """Write for every map which pixels reach the threshold, as .png with one channel: 255 anomalous, 0 normal.

    Masks of an earlier threshold are deleted; METHOD.json says how this one was found.

    Args:
        entries: the methods.
        images: that were scored.
        maps: of :func:`benchmark.maps.infer.infer`.
        thresholds: by method label.
    Returns:
        The folder of the masks.
    """
    home = maps.folder / "masks"
    chosen = [entry for entry in entries if entry.label in thresholds]
    for entry in chosen:
        if "threshold" in maps.about(entry):
            shutil.rmtree(home / file_name(entry.label), ignore_errors=True)
        maps.note_threshold(entry, thresholds[entry.label].as_dict())
    for entry, sample, scores in mapped(chosen, images, maps):
        mask = scores >= np.float32(thresholds[entry.label].value)
        save_image(home / file_name(entry.label) / f"{sample.id}.png", np.where(mask, 255, 0).astype(np.uint8))
    return home


def _video(images: Dataset, image_id: str) -> Video | None:
    return images.video_of(image_id) if isinstance(images, Photos) else None
