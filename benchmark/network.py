"""NetworkSpec says which network, Network computes, Outputs holds what one forward gave."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.blocks import MASKS, QUERIES, Masks, over_windows
from benchmark.cost_meter import Clock
from benchmark.io.names import file_name
from benchmark.isolation.seals import TensorSeals, Verdict
from benchmark.recipe import Recipe, digest
from benchmark.values import format_call

PENULTIMATE = "penultimate"
"""The tap of the penultimate layer, whatever a network calls it; only a network that names that layer offers it."""

DROPOUT = "dropout"
"""The tap on which the last dropout before the logits works, whatever a network calls it."""
ALIASES = {PENULTIMATE: "the penultimate features", DROPOUT: "the features on which the last dropout works"}
"""Names of taps that are the same for all networks, in words."""


@dataclass(frozen=True)
class NetworkSpec:
    """A trained network as a value: equal specs are one network and one forward per batch, whoever asks.

    Attributes:
        arch: name in the network registry, "family-variant" ("pspnet-resnet50").
        dataset: dataset on whose training split it is or will be trained.
        classes: number of known classes C.
        recipe: how; includes the ensemble member.
        data: fingerprint of the training split.
        options: keywords of the network's ``build`` as sorted pairs (``(("head", "cosine"),)``).
        scales: test scales as short sides in pixels; empty is the native size. Logits and probabilities are averaged.
        max_size: bound of the long side after scaling, in pixels; 0 is none. StreetHazards' papers use 1000.
        weights: for a network of the user's own, the SHA-256 of the file that stands in for training and, after a "+",
            of the file that builds it, each where there is one; empty for ours.
        pretrained: SHA-256 of the file with the pretrained weights of its encoder, with which its training begins;
            empty where all begins at random.
    """

    arch: str
    dataset: str
    classes: int
    recipe: Recipe
    data: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    scales: tuple[int, ...] = ()
    max_size: int = 0
    weights: str = ""
    pretrained: str = ""

    @property
    def label(self) -> str:
        """The arch with its options, as they are typed: "arch:key=value"."""
        return format_call(self.arch, dict(self.options))

    @property
    def frozen(self) -> bool:
        """Whether it is a pretrained encoder as it is: without classes, so that there is nothing to train."""
        return self.classes == 0

    @property
    def checkpoint(self) -> NetworkSpec:
        """The spec without what only concerns testing: what names the weights."""
        return dataclasses.replace(self, scales=(), max_size=0)

    @property
    def key(self) -> str:
        """Stem of the weights file below the weights folder: "dataset/arch-m0-digest"."""
        stem = f"{file_name(self.arch)}-m{self.recipe.member}-{digest(dataclasses.asdict(self.checkpoint))}"
        return f"{file_name(self.dataset, colon=':')}/{stem}"

    def member(self, index: int) -> NetworkSpec:
        """The ensemble member of that index: same recipe, seed + index."""
        return dataclasses.replace(self, recipe=dataclasses.replace(self.recipe, member=index))

    def native(self) -> NetworkSpec:
        """The same network tested at the native image size."""
        return dataclasses.replace(self, scales=(), max_size=0)


class Network(nn.Module, ABC):
    """A segmentation network that takes raw uint8 RGB: normalisation, padding and un-padding are its own business.

    Subclasses set `channels` and implement :meth:`forward`.
    """

    stride: int = 8
    """Input sides of :meth:`forward` are multiples of this."""
    penultimate: str = ""
    """Name of the tap that `head` maps to the logits, which answers to PENULTIMATE as well; empty where none does."""
    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    """Layout of weights and activations."""
    size: tuple[int, int] | None = None
    """(H, W) to which every image is resized, whatever its own size; None where the network takes any size."""
    pretrained: str = ""
    """timm's name of the encoder whose pretrained weights `encoder` begins with; empty where it begins at random."""
    encoder: nn.Module
    """What the pretrained weights go to, where there are any."""
    class_names: tuple[str, ...] = ()
    """What its weights say that its outputs are; empty where they say nothing."""
    preparation: Mapping[str, Any] = {}
    """What a record says of the preprocessing, where it is not the suite's own."""
    mean: Tensor
    std: Tensor
    """(1, 3, 1, 1), of pixel values 0..255; buffers that no file of weights holds."""

    def __init__(
        self,
        classes: int,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        self.classes = classes
        self.channels: dict[str, int] = {}  # tap -> number of channels
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    @abstractmethod
    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        """One forward.

        Args:
            inputs: normalised float images (B, 3, h, w), sides multiples of `stride`.
            taps: names of intermediate features to return as well.
        Returns:
            "logits" (B, C, h/8, w/8), in training also "aux" where there is deep supervision, and every tap under its
            name, detached from later in-place operations.
        """

    @property
    def body(self) -> nn.Module:
        """The module whose state a file of weights from elsewhere holds."""
        return self

    @property
    def head(self) -> nn.Module | None:
        """The module from the `penultimate` tap to the logits, dropout included; None where none can be named."""
        return None

    @property
    def dropout(self) -> tuple[str, nn.Sequential] | None:
        """The tap on which the last dropout works, and the layers from that dropout to the logits; None without one."""
        head = self.head
        if isinstance(head, nn.Sequential) and isinstance(next(iter(head), None), (nn.Dropout, nn.Dropout2d)):
            return self.penultimate, head
        return None

    def tap(self, name: str) -> str:
        """The network's own name of a tap: an alias's layer, empty where it has none, else the name itself."""
        if name == DROPOUT:
            return self.dropout[0] if self.dropout else ""
        return self.penultimate if name == PENULTIMATE else name

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (or float in 0..255) RGB to the network's input values."""
        if images.is_contiguous() or not images.is_contiguous(memory_format=torch.channels_last):
            return (images.float() - self.mean) / self.std
        # The same a row of pixels at a time: loops over three channels take a CPU three times as long.
        rows = images.permute(0, 2, 3, 1).flatten(2)
        mean, std = (each.flatten().repeat(images.shape[-1]) for each in (self.mean, self.std))
        return torch.sub(rows.float(), mean).div_(std).unflatten(2, (-1, 3)).permute(0, 3, 1, 2)

    def prepare(self, images: Tensor, scale: int = 0, max_size: int = 0) -> Prepared:
        """Normalise and fit images to the stride: padded at the native size, else resized to a multiple of it.

        Args:
            images: uint8 RGB (B, 3, H, W), or float in 0..255.
            scale: short side in pixels, 0 for the native size.
            max_size: bound of the long side, 0 for none.
        """
        height, width = images.shape[-2:]
        size = (height, width)
        inputs = self.normalise(images)
        if scale:
            padded = covers = scaled_size(size, scale, max_size, self.stride)
            # Pillow's bilinear filter, which the reference evaluations use, is antialiased when it shrinks.
            inputs = F.interpolate(inputs, padded, mode="bilinear", align_corners=False, antialias=True)
        else:
            padded = (math.ceil(height / self.stride) * self.stride, math.ceil(width / self.stride) * self.stride)
            covers = size
            if padded != size:
                inputs = F.pad(inputs, (0, padded[1] - width, 0, padded[0] - height), mode="replicate")
        return Prepared(inputs.contiguous(memory_format=torch.channels_last), padded, covers)

    def segment(self, images: Tensor, scale: int = 0, max_size: int = 0, taps: Collection[str] = ()) -> ScaleOutputs:
        """Run at one scale; arguments as in :meth:`prepare`, `taps` are the features to keep."""
        prepared = self.prepare(images, scale, max_size)
        own = dict.fromkeys(self.tap(name) for name in taps)
        result = self(prepared.inputs, tuple(own))
        features = {name: result[name].float() for name in own}
        features |= {alias: features[self.tap(alias)] for alias in ALIASES if alias in taps}
        return ScaleOutputs(result["logits"].float(), MappingProxyType(features), prepared.padded, prepared.covers)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Network input: normalised images (B, 3, *padded), of which the top left `covers` pixels show the image."""

    inputs: Tensor
    padded: tuple[int, int]
    covers: tuple[int, int]


def scaled_size(size: tuple[int, int], scale: int, max_size: int = 0, stride: int = 8) -> tuple[int, int]:
    """(H, W) after scaling the short side to `scale` with the long side at most `max_size`, rounded up to the stride.

    For 720x1280 and 300, 375, 450, 525, 600 at most 1000: 304x536, 376x672, 456x800, 528x936, 568x1000.
    """
    factor = scale / min(size)
    if max_size:
        factor = min(factor, max_size / max(size))
    # A tiny surplus keeps 720 * (300 / 720) from truncating to 299.
    height, width = (math.ceil(int(side * factor + 1e-6) / stride) * stride for side in size)
    return height, width


@dataclass(frozen=True, eq=False)
class ScaleOutputs:
    """What a forward at one scale gave.

    Attributes:
        logits: (B, C, h, w) float32 at feature resolution.
        taps: name -> (B, D, h, w) float32; the penultimate one under the alias too, where somebody asked for that.
        padded: size in pixels that the network saw; the feature grid covers it.
        covers: the part of it (from the top left corner) that shows the image.
    """

    logits: Tensor
    taps: Mapping[str, Tensor]
    padded: tuple[int, int]
    covers: tuple[int, int]

    def upsample(self, features: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
        """Bilinear from the feature grid to `size` pixels of the image, (B, D, h, w) to (B, D, *size)."""
        if self.covers == self.padded:
            return F.interpolate(features, size, mode="bilinear", align_corners=align_corners)
        full = F.interpolate(features, self.padded, mode="bilinear", align_corners=align_corners)
        cropped = full[..., : self.covers[0], : self.covers[1]]
        return cropped if self.covers == size else F.interpolate(cropped, size, mode="bilinear", align_corners=False)


class Outputs:
    """What one network says of one batch, over all its test scales; full-size maps are computed once and kept.

    Multi-scale results follow the reference evaluation of StreetHazards: logits are upsampled to the image, then
    averaged over the scales; probabilities are the average of the scales' softmax.
    """

    def __init__(self, scales: Sequence[ScaleOutputs], size: tuple[int, int], clock: Clock | None = None) -> None:
        self.scales = tuple(scales)
        self.size = size
        self._clock = clock or Clock()
        self._cache: dict[str, Any] = {}
        self._seals: TensorSeals | None = None

    def seal(self, whole: bool, turn: int = 0) -> None:
        """From now on, notice who writes into what is here; for outputs that several methods read.

        Args:
            whole: read every byte for that; otherwise a write past torch's version counters must cover several rows,
                or meet the part that is read in this turn.
            turn: number of the batch.
        """
        self._seals = TensorSeals(whole, turn)
        for scale in self.scales:
            self._seals.add(scale.logits, *scale.taps.values())

    def verdicts(self) -> Iterator[Verdict]:
        """Of everything that was sealed, whether somebody has written into it since."""
        return iter(()) if self._seals is None else self._seals.verdicts()

    def logits(self) -> Tensor:
        """Mean logits (B, C, H, W), float32."""

        def compute() -> Tensor:
            total = self.scales[0].upsample(self.scales[0].logits, self.size)
            for scale in self.scales[1:]:
                total = total + scale.upsample(scale.logits, self.size)
            return total / len(self.scales) if len(self.scales) > 1 else total

        return self._cached("logits", compute)

    def log_probabilities(self) -> Tensor:
        """Logarithm of the mean softmax (B, C, H, W), computed in log space: no underflow, no saturation at 1."""

        def compute() -> Tensor:
            if len(self.scales) == 1:
                return F.log_softmax(self.logits(), dim=1)
            first, *others = self.scales
            total = F.log_softmax(first.upsample(first.logits, self.size), dim=1)
            for scale in others:
                total = torch.logaddexp(total, F.log_softmax(scale.upsample(scale.logits, self.size), dim=1))
            return total - math.log(len(self.scales))

        return self._cached("log_probabilities", compute)

    def max_logits(self) -> tuple[Tensor, Tensor]:
        """Largest mean logit and its class, both (B, H, W)."""
        values = self._cached("max_logits", lambda: self.logits().max(dim=1))
        return values.values, values.indices

    def over_masks(self, reduce: Callable[[Masks], Tensor]) -> Tensor:
        """A map (B, D, H, W) of what the queries of a mask-classification network say, averaged over the test scales.

        For a method whose needs name the taps MASKS and QUERIES of :mod:`benchmark.blocks`.

        Args:
            reduce: makes (B, D, h, w) of the :class:`~benchmark.blocks.Masks` of a window of (h, w) pixels, of which
                most networks have one, their whole input.
        """
        total: Any = 0
        for scale in self.scales:
            made = over_windows(scale.taps[MASKS], scale.taps[QUERIES], scale.padded, reduce)
            total = total + scale.upsample(made, self.size)
        return total / len(self.scales)

    def prediction(self, known: int | None = None) -> Tensor:
        """Segmentation (B, H, W), int64: the class of largest mean probability.

        Args:
            known: only among the first so many; an output beyond the classes of a dataset (void) is then no answer.
        """
        # max() and its indices, since argmax() over so few classes is four times slower on a CPU.
        if known is not None and known < self.scales[0].logits.shape[1]:
            maps = self.logits if len(self.scales) == 1 else self.log_probabilities
            return self._cached(f"prediction {known}", lambda: maps()[:, :known].max(dim=1).indices)
        if len(self.scales) == 1:  # softmax keeps the order
            return self.max_logits()[1]
        return self._cached("prediction", lambda: self.log_probabilities().max(dim=1).indices)

    def _cached(self, key: str, compute: Callable[[], Any]) -> Any:
        if key not in self._cache:
            with self._clock.shared():
                made = self._cache[key] = compute()
                if self._seals is not None:
                    self._seals.add(*(made if isinstance(made, tuple) else (made,)))
        return self._cache[key]


def are_probabilities(logits: Tensor) -> bool:
    """Whether what a network gives for logits (B, C, H, W) are probabilities: on every pixel of sum 1, none < 0."""
    return logits.shape[1] > 1 and bool(logits.min() >= 0) and bool(((logits.sum(1) - 1).abs() < 1e-3).all())
