"""Datasets; networks and fits of the weights store, loaded, or made first where that is asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.api.detector import Detector
from benchmark.data import Dataset
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from benchmark.run.loaded import loaded
from benchmark.run.options import Options, choose_dataset, data_root, parse_recipe
from benchmark.values import format_value

LOGGER = logging.getLogger("benchmark")
"""Where what the command line would print goes, at the level INFO: what was left out of a file of weights and more."""


def open_dataset(dataset: str = "auto", split: str = "test", *, data: str | Path | None = None) -> Dataset:
    """A split of a dataset: a sequence of samples with `id`, `image` and `labels`.

    Args:
        dataset: name, with options as "name:key=value"; "auto" is the best-ranked one that is there.
        split: "train", "val" or "test"; only the last holds anomalies.
        data: the data root; None is ``ANOMALY_DATA``, else ``./data``.
    Returns:
        The dataset, whose `card` says what it is; ``dataset[0].image`` is uint8 RGB (3, H, W), ``dataset[0].labels``
        uint8 (H, W): known classes by position in ``dataset.classes``, 254 anomaly, 255 ignore.
    Raises:
        BenchmarkError: there is no such dataset or split, or its files are not there.
    """
    root = data_root(None if data is None else Path(data))
    return DATASETS.create(choose_dataset(dataset, root)[0], split=split, root=root)


def load(
    method: str,
    *,
    dataset: str = "auto",
    data: str | Path | None = None,
    network: str = "",
    weights: str | Path | None = None,
    classes: str = "",
    normal: str = "",
    scales: Sequence[int] | None = None,
    max_size: int = 0,
    recipe: Mapping[str, Any] | None = None,
    repetition: int = 0,
    preset: str = "common",
    out: str | Path = "runs",
    device: str = "auto",
    precision: str = "fp32",
    train: bool = False,
    progress: bool = False,
) -> Detector:
    """A method with its trained network, fitted where it has to be: what the command line calls a run's, and the same.

    All but the last two arguments are the options of ``python -m benchmark train`` and mean the same.

    Args:
        method: with options as "name:key=value".
        dataset: on whose training images the network was trained, with options as "name:key=value"; "none" for a
            network of your own with `weights` and `classes`.
        data: the data root; None is ``ANOMALY_DATA``, else ``./data``.
        network: by name or as "file.py[:function]"; empty is the dataset's.
        weights: a file (or folder) that stands in for its training.
        classes: what the outputs of a network with `weights` are: a dataset, a number or a file with a class a line.
        normal: a dataset, or a folder of images, to which the method is fitted instead of the training images.
        scales: test scales as short sides in pixels, ``()`` for the native size; None is the dataset's.
        max_size: bound of the long side at the test scales; 0 is none.
        recipe: changes of trainings, as in ``{"segmentation.epochs": 2}``.
        repetition: whose seeds the trainings have.
        preset: "common" for one setting for all methods, "paper" for the authors'.
        out: where weights and records are kept.
        device: "auto", "cpu", "cuda" or "cuda:1".
        precision: "fp32", "bf16", or on CUDA "tf32".
        train: whether what is missing is trained and fitted now. A kill loses little: the same call goes on.
        progress: whether to print on stderr how far a training is.
    Returns:
        The detector.
    Raises:
        BenchmarkError: an argument is wrong, something is not trained and `train` is not asked for, or it fails.
    """
    for name, value in {"method": method, "dataset": dataset, "network": network}.items():
        if not isinstance(value, str):
            raise BenchmarkError(f"{name} is a name, not a {type(value).__name__}; by_hand takes objects at hand.")
    if recipe is not None and not isinstance(recipe, Mapping):
        raise BenchmarkError(f"recipe is fields with values, as in {{'segmentation.epochs': 2}}, not {recipe!r}.")
    options = Options(
        methods=(method,),
        dataset=dataset,
        data=None if data is None else Path(data),
        network=network,
        weights=None if weights is None else Path(weights),
        classes=str(classes),
        normal=str(normal),
        preset=preset,  # type: ignore[arg-type]  # Options looks at it
        scales=None if scales is None else tuple(scales),
        max_size=max_size,
        recipe=parse_recipe([f"{field}={format_value(value)}" for field, value in (recipe or {}).items()]),
        repetition=repetition,
        out=Path(out),
        device=device,
        precision=precision,
        progress=progress,
    )
    _, (step,) = loaded(options, LOGGER.info, "" if train else "the same call with train=True makes it")
    return Detector(step.entry.method, step.entry.networks)
