"""What the user typed, still as text where a plugin decides what it means."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from benchmark.errors import BenchmarkError
from benchmark.metrics import protocol
from benchmark.recipe import changed_field
from benchmark.registry import DATASETS, METHODS
from benchmark.values import Count, Pixels, Range, listed, stated_types, typed

Repetition = Annotated[int, Range(0, 9999)]
REPETITIONS = 100
"""At most so many in one command."""
Scales = tuple[Pixels, ...]


@dataclass(frozen=True)
class Options:
    """The command line of `run` and `train`, still as text where a plugin decides what it means."""

    methods: tuple[str, ...] = ()
    unasked: frozenset[str] = frozenset()  # those of them that only "all" named
    dataset: str = "auto"
    data: Path | None = None
    network: str = ""
    weights: Path | None = None
    classes: str = ""
    normal: str = ""
    label_size: Literal["image", "network"] = "image"
    preset: Literal["common", "paper"] = "common"
    scales: Scales | None = None
    max_size: Literal[0] | Pixels = 0
    recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocols: tuple[str, ...] = ()
    repetition: Repetition = 0
    out: Path = Path("runs")
    device: str = "auto"
    precision: str = "fp32"
    train_precision: str = "auto"
    compile: bool = False
    workers: Annotated[int, Range(0, 256)] | None = None
    batch_size: Literal[0] | Count = 0
    limit: Literal[0] | Count = 0
    exact_pooled: bool = False
    force: bool = False
    retrain: bool = False
    progress: bool = True
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            try:
                typed(getattr(self, name), kind)
            except ValueError as error:
                found = getattr(self, name)
                raise BenchmarkError(f"--{name.replace('_', '-')} is {error}, not '{found}'.") from None

    @property
    def root(self) -> Path:
        """The data root."""
        return data_root(self.data)


@cache
def _kinds() -> dict[str, Any]:
    """Name -> type of the options that have a range."""
    bounded = ("label_size", "preset", "max_size", "repetition", "workers", "batch_size", "limit", "scales")
    return {name: kind for name, kind in stated_types(Options).items() if name in bounded}


def options_of(arguments: argparse.Namespace) -> Options:
    """The command line as :class:`Options`, with one of the repetitions where a verb takes several.

    Most options are attributes of the same name; what a verb does not take keeps its default.
    """
    repetition, *more = parse_repetitions(arguments.repetition)
    if more:
        raise BenchmarkError(f"--repetition {arguments.repetition}: several are for run and train; name one here.")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise BenchmarkError(f"--out {arguments.out} is a file; name a folder, which need not exist yet.")
    known = {each.name for each in fields(Options)}
    given = {name: value for name, value in vars(arguments).items() if name in known}
    read = {
        **asked_methods(arguments.methods, arguments.preset),
        "scales": None if arguments.scales is None else parse_scales(arguments.scales),
        "recipe": parse_recipe(arguments.recipe),
        "protocols": tuple(protocol(name).name for name in listed(given.get("protocols", ""))),
        "repetition": repetition,
        "progress": not arguments.quiet,
    }
    return Options(**given | read)


def parse_scales(text: str) -> tuple[int, ...]:
    """``"300,450"`` to test scales, ``"native"`` to none."""
    try:
        found = () if text == "native" else typed(text, Scales)
    except ValueError as error:
        raise BenchmarkError(
            f"--scales {text}: write short sides as in 300,450,600, or 'native'; they are {error}."
        ) from None
    if not found and text != "native":
        raise BenchmarkError(f"--scales {text}: write short sides as in 300,450,600, or 'native'.")
    if len(set(found)) < len(found):
        raise BenchmarkError(f"--scales {text}: a scale stands there twice; name each once.")
    return found


def data_root(given: Path | None) -> Path:
    """Where datasets lie: what ``--data`` gives, else ``ANOMALY_DATA``, else ``./data``."""
    return Path(given or os.environ.get("ANOMALY_DATA") or "data")


NO_DATASET = "none"
"""What stands for ``--dataset`` where a network of the user's own says with its classes all that is needed."""


def choose_dataset(call: str, root: Path) -> tuple[str, str]:
    """Resolve "auto" to the best-ranked dataset found under the data root; also say why, in a sentence."""
    if call == NO_DATASET:
        return call, "No dataset: network and classes are those of --weights and --classes."
    if call != "auto":
        return call, f"Dataset {call}."
    ranked = ranked_datasets()
    for index, name in enumerate(ranked):
        if DATASETS.get(name).available(root):
            better = ranked[:index]
            why = f", since {' and '.join(better)} was not found under {root}" if better else f", found under {root}"
            return name, f"Dataset {name}{why}."
    raise BenchmarkError(f"No dataset was found under {root}; `python -m benchmark list` shows what exists.")


def ranked_datasets() -> list[str]:
    """The datasets that "auto" looks for, the first choice first."""
    ranked = []
    for name in DATASETS.names():
        try:
            rank = DATASETS.get(name).policy.auto
        except BenchmarkError:
            continue  # `list` reports plugins that cannot be imported
        if rank is not None:
            ranked.append((rank, name))
    return [name for _, name in sorted(ranked)]


def split_calls(text: str, preset: str = "common") -> list[str]:
    """``"a,b:k=1"`` to its method calls; "all" is every registered method that can be imported.

    The preset "paper" adds to "all" the variants (:attr:`Method.paper_variants`) that the papers evaluate.
    """
    calls: list[str] = []
    for part in listed(text):
        if part != "all":
            calls.append(part)
            continue
        names = METHODS.available()
        calls += names
        if preset == "paper":
            calls += [variant for name in names for variant in METHODS.get(name).paper_variants]
    if not calls:
        raise BenchmarkError("--methods names no method; `python -m benchmark list methods` shows them.")
    return list(dict.fromkeys(calls))


def asked_methods(text: str, preset: str) -> dict[str, Any]:
    """``--methods`` as the fields `methods` and `unasked` of :class:`Options`."""
    calls = split_calls(text, preset)
    return {"methods": tuple(calls), "unasked": frozenset(calls) - set(listed(text))}


def parse_repetitions(text: str | int) -> tuple[int, ...]:
    """``"0,2"`` or ``"0-2"`` or both kinds to the repetitions that they name, each once."""
    found: list[int] = []
    for part in str(text).split(","):
        span = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part.strip())
        try:
            low, high = (typed(each, Repetition) for each in (span[1], span[2] or span[1])) if span else (1, 0)
        except ValueError as error:
            raise BenchmarkError(f"--repetition {text}: a repetition is {error}.") from None
        if low > high:
            raise BenchmarkError(f"--repetition {text}: write numbers from 0, as in 1 or 0,1,2 or 0-2.")
        found += range(low, high + 1)
    repetitions = tuple(dict.fromkeys(found))
    if len(repetitions) > REPETITIONS:
        raise BenchmarkError(f"--repetition {text} are {len(repetitions)}; one command takes {REPETITIONS} at most.")
    return repetitions


def parse_recipe(items: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["segmentation.epochs=2", ...]`` to overrides by task, of the types that a recipe states."""
    overrides: dict[str, dict[str, Any]] = {}
    for item in items:
        path, equals, value = item.partition("=")
        task, dot, key = path.partition(".")
        if not (equals and dot and task and key):
            raise BenchmarkError(f"--recipe {item}: write task.field=value, for instance segmentation.epochs=2.")
        fields = overrides.setdefault(task, {})
        if key in fields:
            raise BenchmarkError(f"--recipe {item}: {task}.{key} is given twice.")
        fields[key] = changed_field(task, key, value)
    return overrides
