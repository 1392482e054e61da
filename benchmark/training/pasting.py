"""Objects that no class covers, pasted into training images before they are augmented."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from benchmark.data import ANOMALY, Sample
from benchmark.errors import BenchmarkError
from benchmark.images import decode, find_images, natural
from benchmark.training.objects import Cutout, object_to_train_on

VERSION = 1
"""Of what is pasted into training images: raise it when other pixels come out."""
SMALLEST, LARGEST = 0.35, 1.1
"""Bounds of an object's size, of what :func:`paste` usually gives it."""
SOLID = 0.5
"""Opacity above which a pixel shows the object."""
_PASTED = 3  # which kind of draw a seed belongs to, beside those of augmentation

Objects = Callable[[np.random.Generator, int, np.ndarray], Cutout]
"""Gives an object, drawn by a generator, about so many pixels high, for a place with these colours (n, 3) in [0, 1]."""


@dataclass(frozen=True)
class Pasting:
    """Pastes one or two objects into some training images; a task that holds one as `pasting` is trained on the result.

    Object, place and size depend on version, seed, step and slot only, as the augmentation does, so that a training
    may be killed and goes on with the same pixels. Pasted pixels have the label ANOMALY (254).

    Attributes:
        share: of the images that get any.
        objects: gives them: invented ones, or :class:`Cutouts`.
    """

    share: float = 1.0
    objects: Objects = object_to_train_on

    def __call__(self, sample: Sample, seed: int, step: int, slot: int) -> Sample:
        """The sample with its objects; arguments as of :func:`benchmark.training.augment.augment`."""
        rng = np.random.default_rng((VERSION, _PASTED, seed, step, slot))
        if rng.random() >= self.share:
            return sample
        image = sample.image.permute(1, 2, 0).numpy().astype(np.float32) / 255
        labels = sample.labels.numpy().copy()
        for _ in range(1 + (rng.random() < 0.3)):
            scale = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
            image = paste(rng, image, labels, self.objects, scale)
        pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
        return Sample(sample.id, torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(labels))


class Cutouts:
    """Objects cut out of photographs: image files with transparency beneath a folder, one object in each.

    Args:
        folder: holds PNG, WebP or TIFF files; what is opaque is the object. What resembles a known class does not
            belong there.
    Raises:
        BenchmarkError: no such folder, no image in it, or (when it is drawn) a file without transparency.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BenchmarkError(f"{folder} is missing; put the cut-outs (PNG files with transparency) there.")
        found = find_images(folder)
        self.files = [found[name] for name in sorted(found, key=natural)]
        if not self.files:
            raise BenchmarkError(f"{folder} holds no image; put the cut-outs (PNG files with transparency) there.")
        self._folder = folder

    def fingerprint(self) -> str:
        """Hexadecimal digest of the files' names and bytes."""
        digest = hashlib.sha256()
        for file in self.files:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(self._folder).as_posix()} {len(content)} ".encode())
            digest.update(content)
        return digest.hexdigest()

    def __call__(self, rng: np.random.Generator, height: int, surroundings: np.ndarray) -> Cutout:
        """One of them, mirrored or not, scaled to the height; the colours of the place do not matter."""
        rgba = _cutout(self.files[rng.integers(len(self.files))])
        if rng.random() < 0.5:
            rgba = rgba[:, ::-1]
        width = max(4, round(rgba.shape[1] * height / rgba.shape[0]))
        shrinks = height < rgba.shape[0]
        scaled = cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        alpha = np.pad(scaled[..., 3], 2)
        rgb = np.pad(scaled[..., :3], ((2, 2), (2, 2), (0, 0)))
        return Cutout(rgb / np.maximum(alpha, 1e-3)[..., None], alpha)  # its colours were weighted by the opacity


@lru_cache(maxsize=256)
def _cutout(file: Path) -> np.ndarray:
    """The opaque part of a file, float32 (h, w, 4) in [0, 1], colours multiplied by the opacity."""
    rgba = decode(file, lambda image: _rgba(file, image)).astype(np.float32) / 255
    rows, columns = (np.flatnonzero((rgba[..., 3] > SOLID).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise BenchmarkError(f"{file} shows nothing: no pixel of it is opaque; remove it.")
    part = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return part * np.concatenate([np.repeat(part[..., 3:], 3, axis=2), np.ones_like(part[..., 3:])], axis=2)


def _rgba(file: Path, image: Image.Image) -> np.ndarray:
    if not image.has_transparency_data:
        raise BenchmarkError(f"{file} has no transparency, so nothing says which pixels are the object; cut it out.")
    return np.asarray(image.convert("RGBA"))


def paste(
    rng: np.random.Generator, image: np.ndarray, labels: np.ndarray, objects: Objects, scale: float = 1.0
) -> np.ndarray:
    """Lay an object over an image: on the ground with a contact shadow or now and then in the air, larger further down.

    Args:
        rng: decides everything.
        image: float32 (H, W, 3) in [0, 1]; stays as it is.
        labels: uint8 (H, W), in which the object becomes ANOMALY.
        objects: gives the object.
        scale: of its usual size.
    Returns:
        the new image.
    """
    height, width = labels.shape
    flies = rng.random() < 0.2
    foot = rng.uniform(0.15, 0.5) if flies else rng.uniform(0.55, 0.98)  # of the height; the horizon is near 0.45
    size = rng.uniform(0.08, 0.25) if flies else (0.08 + 0.55 * (foot - 0.5)) * rng.uniform(0.7, 1.4)
    spots = rng.integers((height, width), size=(64, 2))
    thing = objects(rng, max(8, round(scale * size * height)), image[spots[:, 0], spots[:, 1]])
    rgb, alpha = _harmonised(rng, thing.rgb, thing.alpha, image)
    h, w = alpha.shape
    top = int(np.clip(round(foot * height) - h, 0, max(height - h, 0)))
    left = int(rng.integers(-w // 4, max(width - w + w // 4, 1)))  # up to a quarter may be outside
    if not flies:
        bottom = int(np.flatnonzero((alpha > 0.5).any(1))[-1])
        columns = np.flatnonzero((alpha[bottom - h // 8 : bottom + 1] > 0.5).any(0))
        image = _shadowed(rng, image, left + columns.mean(), top + bottom, max(np.ptp(columns), 0.4 * w))
    y, x = slice(top, min(top + h, height)), slice(max(left, 0), min(left + w, width))
    part = slice(0, y.stop - y.start), slice(x.start - left, x.stop - left)
    cover = alpha[part][..., None]
    image = image.copy()
    image[y, x] = image[y, x] * (1 - cover) + rgb[part] * cover
    labels[y, x][alpha[part] > 0.5] = ANOMALY
    return image


def _harmonised(
    rng: np.random.Generator, rgb: np.ndarray, alpha: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The object under the image's exposure and as sharp and grainy as the image, so that neither gives it away."""
    grey = image.mean(2)
    exposure = np.clip(np.percentile(grey, 80) / 0.7, 0.3, 1.2)
    detail = cv2.Laplacian(grey, cv2.CV_32F)
    blur = np.clip(0.9 - 6 * float(np.abs(detail).mean()), 0.3, 0.9)
    grain = np.median(np.abs(detail)) / 4.5
    rgb = cv2.GaussianBlur(rgb * exposure, (0, 0), blur) + rng.normal(0, grain, (*alpha.shape, 1)).astype(np.float32)
    soft = cv2.GaussianBlur(alpha, (0, 0), blur)
    return rgb, soft / soft.max()


def _shadowed(rng: np.random.Generator, image: np.ndarray, x: float, y: float, width: float) -> np.ndarray:
    """The image with a soft dark ellipse around the place where an object touches the ground."""
    reach = int(1.2 * width) + 2
    rows = slice(max(int(y) - reach, 0), int(y) + reach)
    columns = slice(max(int(x) - reach, 0), int(x) + reach)
    image = image.copy()
    part = image[rows, columns]
    down, right = np.ogrid[: part.shape[0], : part.shape[1]]
    across = (right + columns.start - x) / (0.6 * width)
    along = (down + rows.start - y) / max(0.1 * width, 1.5)
    part *= 1 - rng.uniform(0.35, 0.7) * np.exp(-((across**2 + along**2) ** 1.5))[..., None].astype(np.float32)
    return image
