"""How a thing is trained: a frozen value whose digest names the checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

from benchmark.errors import BenchmarkError
from benchmark.values import Amount, Count, Fraction, Length, Pixels, Range, stated_types, typed

Positive = Annotated[float, Range(0, above=True)]
ZeroOr = Annotated[int, Range(0, 10**6)]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a training run, apart from the data and the task's code.

    Defaults are the segmentation recipe of the StreetHazards baselines (CSAIL PSPNet: SGD 0.02, poly 0.9, batch 8,
    20 epochs of 5000 iterations, five input scales, horizontal flips).

    Attributes:
        task: what is learned ("segmentation", "distillation", ...); also the key of overrides.
        epochs: number of epochs.
        steps_per_epoch: optimiser steps in an epoch; 0 is one pass over the training images.
        batch_size: images in an optimiser step, over all devices.
        optimiser: "sgd", "adam" or "adamw".
        lr: initial learning rate.
        encoder_lr: what it is multiplied by for an encoder whose weights are pretrained.
        momentum: of SGD.
        nesterov: whether SGD's momentum is Nesterov's.
        betas: of Adam and AdamW.
        weight_decay: on convolution and linear weights.
        decay_everything: whether normalisation weights and biases decay, too.
        schedule: "poly" ``lr * (1 - step / steps) ** 0.9``, "cosine" to zero, "constant", or "linear_second_half",
            constant for half of the steps and then linear to zero.
        warmup_steps: steps in which the learning rate rises linearly from 0.
        scales: short sides in pixels, one drawn per step; empty is the native size.
        max_size: bound of the long side after scaling, in pixels.
        scale_range: factors between which an image is scaled before `crop`, drawn per image; empty is none.
        crop: (height, width) cut at a random place after scaling, padded with ignore; empty is none.
        flip: whether images are mirrored with probability 1/2.
        colour: strength of brightness, contrast and saturation jitter; 0 is none.
        aux_weight: weight of the deep-supervision loss.
        label_size: "feature" compares at the resolution of the logits (labels by nearest neighbour), "full" upsamples
            the logits to the labels, "half" meets at half the labels' resolution.
        member: index of the ensemble member; member 0 is the network that everything shares.
        seed: of member 0; member m uses seed + m.
    """

    task: str = "segmentation"
    epochs: Count = 20
    steps_per_epoch: ZeroOr = 5000
    batch_size: Count = 8
    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Positive = 0.02
    encoder_lr: Fraction = 1.0
    momentum: Fraction = 0.9
    nesterov: bool = False
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: Amount = 1e-4
    decay_everything: bool = False
    schedule: Literal["poly", "cosine", "constant", "linear_second_half"] = "poly"
    warmup_steps: ZeroOr = 0
    scales: tuple[Pixels, ...] = ()
    max_size: ZeroOr = 0
    scale_range: Annotated[tuple[Positive, ...], Length(0, 2)] = ()
    crop: Annotated[tuple[Count, ...], Length(0, 2)] = ()
    flip: bool = True
    colour: Fraction = 0.0
    aux_weight: Amount = 0.4
    label_size: Literal["feature", "half", "full"] = "feature"
    member: ZeroOr = 0
    seed: Annotated[int, Range(0, 2**31 - 1)] = 304

    def changed(self, overrides: Mapping[str, Any]) -> Recipe:
        """The recipe with some fields replaced; a list becomes a tuple, as does a single value where several may stand.

        Raises:
            BenchmarkError: there is no such field, or a value is not of its type or out of its range.
        """
        return dataclasses.replace(self, **{key: changed_field(self.task, key, v) for key, v in overrides.items()})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a sidecar or a record."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


@cache
def _fields() -> dict[str, Any]:
    """Name -> type of what may be changed: a run decides itself which task and which member it trains."""
    return {name: kind for name, kind in stated_types(Recipe).items() if name not in ("task", "member")}


def changed_field(task: str, key: str, value: Any) -> Any:
    """A value for a field of a recipe, from text or as it is.

    Raises:
        BenchmarkError: no such field, or not of its type or out of its range.
    """
    if key not in _fields():
        raise BenchmarkError(f"A {task} recipe has no field '{key}' to change; it has {', '.join(_fields())}.")
    try:
        return typed(value, _fields()[key])
    except ValueError as error:
        raise BenchmarkError(f"{task}.{key} of a recipe is {error}, not '{value}'.") from None


FAST: Mapping[str, Any] = {
    "optimiser": "adamw",
    "betas": (0.9, 0.98),
    "schedule": "cosine",
    "warmup_steps": 60,
    "decay_everything": False,
}
"""An optimiser that trains small networks from scratch within minutes; its owner adds `lr` and `weight_decay`."""


@dataclass(frozen=True, kw_only=True)
class LightRecipe:
    """How a recipe changes where a dataset asks for light trainings; whoever owns the recipe declares it beside it.

    The authors' recipes assume an ImageNet encoder, 100,000 iterations and a GPU. What is not declared here stays
    theirs, so that the default shortens a training and leaves its optimiser alone.

    Attributes:
        epochs: for every epoch of the shared network, of which the dataset states the number.
        at_least: fewest epochs.
        segmentation: whether a segmentation network is trained, or something beside one, so that what the dataset says
            of those applies, too.
        changes: the fields that differ from the authors'.
    """

    epochs: float = 1.0
    at_least: int = 1
    segmentation: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)


LIGHT_SEGMENTATION = LightRecipe(
    segmentation=True,
    changes={**FAST, "lr": 0.012, "weight_decay": 0.01, "label_size": "half", "aux_weight": 0.0},
)
"""The light counterpart of segmentation recipes, chosen by the validation mIoU of MiniHazards without any anomaly."""


@dataclass(frozen=True, kw_only=True)
class LightTraining:
    """How everything is trained on a dataset of a few hundred small images: from scratch and on a CPU.

    It knows no method and no task; :class:`LightRecipe` is the other half.

    Attributes:
        epochs: of the shared network; an epoch is one pass over the training images.
        scales: as in :class:`Recipe`.
        colour: as in :class:`Recipe`.
        segmentation: further fields of the recipes of segmentation networks. Whose own rate is below that of networks
            that begin anew trains on at the smaller of that and this `lr`.
    """

    epochs: int
    scales: tuple[int, ...] = ()
    colour: float = 0.0
    segmentation: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self, authors: Recipe, light: LightRecipe) -> Recipe:
        """The light version of a recipe."""
        images = {"scales": self.scales, "max_size": 0, "scale_range": (), "crop": (), "colour": self.colour}
        length = {"epochs": max(light.at_least, round(light.epochs * self.epochs)), "steps_per_epoch": 0}
        own = dict(self.segmentation) if light.segmentation else {}
        rate = light.changes.get("lr", authors.lr)
        if "lr" in own and rate < LIGHT_SEGMENTATION.changes["lr"]:
            own["lr"] = min(own["lr"], rate)
        return authors.changed({**images, **length, "batch_size": 4, **light.changes, **own})


def digest(value: Any, length: int = 10) -> str:
    """Hexadecimal digest of anything that JSON can hold; equal values have equal digests on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
