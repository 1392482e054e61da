"""A method with everything loaded: images in, scores out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmark.data import Batch, Sample, collate
from benchmark.errors import BenchmarkError, in_words
from benchmark.machine import arithmetic, products
from benchmark.maps.photos import as_image
from benchmark.method import Method
from benchmark.pool import Networks, networks_for
from benchmark.run.scoring import checked_scores

AnyImage = str | Path | Image.Image | np.ndarray | Tensor
"""A file, a PIL image, an array uint8 (H, W, 3) or grey (H, W), or a tensor uint8 (3, H, W)."""


@dataclass(frozen=True, eq=False)
class Detector:
    """A method, fitted where it has to be, with its networks.

    Attributes:
        method: as the suite runs it; ``detector.method.spec`` says which one it is.
        networks: by role; ``detector.networks["base"].module`` is the segmentation network.
    """

    method: Method
    networks: Networks

    def __repr__(self) -> str:
        return f"Detector({self.label}, networks: {', '.join(self.networks)})"

    @property
    def label(self) -> str:
        """The method's name with the options that differ from its defaults."""
        return self.method.label

    @property
    def title(self) -> str:
        """The method's name as tables print it before its options."""
        return self.method.title or self.method.label

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes that :meth:`segment` tells apart; None where nobody says."""
        return next(iter(self.networks.values())).class_names

    def score(self, image: AnyImage) -> np.ndarray:
        """The anomaly score of every pixel, as a run measures it.

        Args:
            image: at the size at which it is to be scored; a large photo takes much memory. A file is turned upright
                as its EXIF says.
        Returns:
            float32 (H, W), higher = more anomalous; the scales of different methods do not compare.
        Raises:
            BenchmarkError: the image is none, or the method fails.
        """
        batch = self._batch(image)
        with torch.no_grad(), arithmetic(self._device, self._precision):
            try:
                scores = self.method.score(batch, self.networks)
            except BenchmarkError:
                raise
            except Exception as error:  # whatever a plugin raises
                raise BenchmarkError(f"{self.label}: {in_words(error)}") from error
        found = checked_scores(scores, tuple(batch.labels.shape))[0].float().cpu().numpy()
        if holes := int(np.isnan(found).sum()):
            raise BenchmarkError(f"{self.label}: {holes} scores are NaN.")
        return found

    def segment(self, image: AnyImage) -> np.ndarray:
        """The class of every pixel, by the segmentation network that all methods share.

        Args:
            image: as of :meth:`score`.
        Returns:
            uint8 (H, W), positions in :attr:`class_names`.
        Raises:
            BenchmarkError: the image is none, or the method does not use that network.
        """
        with torch.no_grad():
            return self.networks["base"](self._batch(image)).prediction()[0].to(torch.uint8).cpu().numpy()

    def _batch(self, image: AnyImage) -> Batch:
        return Batch.unlabelled(as_image(image)[None]).to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.networks.values())).device

    @property
    def _precision(self) -> str:
        return next(iter(self.networks.values())).precision


def by_hand(
    method: Method,
    base: nn.Module,
    classes: int = 0,
    training: Iterable[Sample | AnyImage] = (),
    **others: nn.Module,
) -> Detector:
    """A detector of a method's class and a module at hand: no dataset, no weights store, no run.

    Args:
        method: an instance, for instance ``MSP(double_softmax=True)``.
        base: the segmentation network, a module that maps normalised images (B, 3, H, W) to logits (B, C, h, w), or a
            :class:`~benchmark.networks.External`, which says more of it. It is put into eval mode and frozen.
        classes: number of its classes C; a :class:`~benchmark.network.Network` knows it.
        training: images to which the method is fitted, where it is fitted: every image a
            :class:`~benchmark.data.Sample` with labels (a dataset is a sequence of them), or one without, of which all
            pixels are normal.
        others: networks of the method's own, by role.
    Raises:
        BenchmarkError: the number of classes is missing, a network that the method needs, training images for what is
            fitted or labels for what reads classes; or the method trains a module, for which there is
            ``load(..., train=True)``.
    """
    if not isinstance(method, Method):
        raise BenchmarkError(f"by_hand takes an instance of a method's class, not {method!r}.")
    if method.recipes and method.fitted:
        raise BenchmarkError(f"{method.label} trains a module of its own; api.load('{method.label}', train=True) does.")
    networks = networks_for(method, base, classes, **others)
    handle = next(iter(networks.values()))
    with products(handle.device, handle.precision):
        method.build(networks)
        method.to(handle.device)
        if method.fitted:
            _fit(method, networks, training)
    return Detector(method.eval().requires_grad_(False), networks)


def _fit(method: Method, networks: Networks, training: Iterable[Any]) -> None:
    handle, images = next(iter(networks.values())), 0
    with torch.no_grad():
        for index, each in enumerate(training):
            sample = each
            if not isinstance(each, Sample):
                if method.needs_classes:
                    raise BenchmarkError(
                        f"{method.label} is fitted to the classes of pixels; give training images as samples with "
                        f"labels, Sample(id, image, labels)."
                    )
                image = as_image(each)
                sample = Sample(str(index), image, torch.zeros(image.shape[1:], dtype=torch.uint8))
            (batch,) = collate([sample])
            if method.observes:
                method.observe(batch.to(handle.device), networks)
            images += 1
        if not images:
            raise BenchmarkError(f"{method.label} is fitted to images: by_hand(..., training=images).")
        method.fit(None, networks)  # type: ignore[arg-type]  # what trains nothing needs no data here
