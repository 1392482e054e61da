"""The command line that asks for the same again, for messages that name what mends a fault."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from benchmark.registry import DATASETS, METHODS, NETWORKS, Registry
from benchmark.run.options import Options
from benchmark.values import format_value

TRAINING = (
    "dataset",
    "methods",
    "data",
    "out",
    "network",
    "weights",
    "classes",
    "normal",
    "preset",
    "scales",
    "max_size",
    "recipe",
    "repetition",
    "device",
    "train_precision",
    "compile",
)
"""What decides what ``train`` makes and where, in the order in which it is printed."""


def training_again(options: Options) -> str:
    """The command that trains and fits anew what `options` need."""
    words = ["python -m benchmark train --retrain"]
    usual = Options()
    for name in TRAINING:
        value = getattr(options, name)
        if name == "dataset" or value != getattr(usual, name):
            option = f"--{name.replace('_', '-')}"
            words += [option] if value is True else [f"{option} {shlex.quote(text)}" for text in _texts(name, value)]
    return " ".join(words + [f"--plugin {shlex.quote(file)}" for file in _plugins(options)])


def _texts(name: str, value: Any) -> list[str]:
    """A value as typed; several where the option is given several times."""
    if name == "recipe":
        return [f"{task}.{key}={_typed(v)}" for task, changes in value.items() for key, v in changes.items()]
    if name == "scales":
        return [_typed(value) or "native"]
    return [_typed(value)]


def _typed(value: Any) -> str:
    return ",".join(map(format_value, value)) if isinstance(value, tuple) else format_value(value)


def _plugins(options: Options) -> list[str]:
    """The files of the plugins that are named in the options."""
    asked: list[tuple[Registry[Any], str]] = [(DATASETS, options.dataset), (NETWORKS, options.network)]
    asked += [(METHODS, call) for call in options.methods]
    files = []
    for registry, call in asked:
        name = registry.canonical(call.partition(":")[0])
        if name in registry.names() and (source := registry.source(name)).startswith("file "):
            files.append(str(Path(source.removeprefix("file "))))
    return list(dict.fromkeys(files))
