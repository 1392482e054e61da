"""What the user typed, still as text where a plugin decides what it means."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.metrics import protocol
from benchmark.registry import DATASETS, METHODS, parse_value


@dataclass(frozen=True)
class Options:
    """The command line of `run` and `train`, still as text where a plugin decides what it means."""

    methods: tuple[str, ...] = ()
    dataset: str = "auto"
    data: Path | None = None
    network: str = ""
    weights: Path | None = None
    classes: str = ""
    label_size: str = "image"
    preset: str = "common"
    scales: tuple[int, ...] | None = None
    max_size: int = 0
    recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocols: tuple[str, ...] = ()
    repetition: int = 0
    out: Path = Path("runs")
    device: str = "auto"
    precision: str = "fp32"
    train_precision: str = "auto"
    workers: int | None = None
    batch_size: int = 0
    limit: int = 0
    force: bool = False
    retrain: bool = False
    progress: bool = True

    @property
    def root(self) -> Path:
        """The data root."""
        return data_root(self.data)


def options_of(arguments: argparse.Namespace) -> Options:
    """The command line as :class:`Options`, with one of the repetitions where a verb takes several."""
    repetition, *more = parse_repetitions(arguments.repetition)
    if more:
        raise BenchmarkError(f"--repetition {arguments.repetition}: several are for run and train; name one here.")
    scales = getattr(arguments, "scales", None)
    if scales is not None:
        try:
            scales = () if scales == "native" else tuple(int(s) for s in scales.split(","))
        except ValueError:
            raise BenchmarkError(f"--scales {scales}: write short sides as in 300,450,600, or 'native'.") from None
    return Options(
        methods=tuple(split_calls(arguments.methods, arguments.preset)),
        dataset=arguments.dataset,
        data=arguments.data,
        network=arguments.network,
        preset=arguments.preset,
        scales=scales,
        max_size=arguments.max_size,
        weights=arguments.weights,
        classes=arguments.classes,
        label_size=getattr(arguments, "label_size", "image"),
        recipe=parse_recipe(arguments.recipe),
        repetition=repetition,
        out=arguments.out,
        device=arguments.device,
        precision=arguments.precision,
        train_precision=getattr(arguments, "train_precision", "auto"),
        workers=arguments.workers,
        protocols=tuple(protocol(p.strip()).name for p in getattr(arguments, "protocols", "").split(",") if p.strip()),
        batch_size=getattr(arguments, "batch_size", 0),
        limit=getattr(arguments, "limit", 0),
        force=getattr(arguments, "force", False),
        retrain=getattr(arguments, "retrain", False),
        progress=not arguments.quiet,
    )


def data_root(given: Path | None) -> Path:
    """Where datasets lie: what ``--data`` gives, else ``ANOMALY_DATA``, else ``./data``."""
    return Path(given or os.environ.get("ANOMALY_DATA") or "data")


def choose_dataset(call: str, root: Path) -> tuple[str, str]:
    """Resolve "auto" to the best-ranked dataset found under the data root; also say why, in a sentence."""
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
    for part in filter(None, (p.strip() for p in text.split(","))):
        if part != "all":
            calls.append(part)
            continue
        broken = METHODS.unavailable()
        names = [name for name in METHODS.names() if name not in broken]
        calls += names
        if preset == "paper":
            calls += [variant for name in names for variant in METHODS.get(name).paper_variants]
    if not calls:
        raise BenchmarkError("--methods names no method; `python -m benchmark list methods` shows them.")
    return list(dict.fromkeys(calls))


def parse_repetitions(text: str | int) -> tuple[int, ...]:
    """``"0,2"`` or ``"0-2"`` or both kinds to the repetitions that they name, each once."""
    found: list[int] = []
    for part in str(text).split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not span or int(span[1]) > int(span[2] or span[1]):
            raise BenchmarkError(f"--repetition {text}: write numbers from 0, as in 1 or 0,1,2 or 0-2.")
        found += range(int(span[1]), int(span[2] or span[1]) + 1)
    return tuple(dict.fromkeys(found))


def parse_recipe(items: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["segmentation.epochs=2", ...]`` to overrides by task; commas make tuples."""
    overrides: dict[str, dict[str, Any]] = {}
    for item in items:
        path, equals, value = item.partition("=")
        task, dot, key = path.partition(".")
        if not (equals and dot and task and key):
            raise BenchmarkError(f"--recipe {item}: write task.field=value, for instance segmentation.epochs=2.")
        parsed = tuple(parse_value(v) for v in value.split(",")) if "," in value else parse_value(value)
        overrides.setdefault(task, {})[key] = parsed
    return overrides
