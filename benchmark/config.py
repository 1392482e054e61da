"""What a command was asked for, resolved into datasets and the shared network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.recipe import Recipe
from benchmark.registry import DATASETS, parse_call, parse_value

if TYPE_CHECKING:
    from benchmark.data import Dataset
    from benchmark.network import NetworkSpec
    from benchmark.training import Settings

SEED_STRIDE = 1000
"""Distance between the seeds of repetitions; members of an ensemble are one apart."""


@dataclass(frozen=True)
class Options:
    """The command line of `run` and `train`, still as text where a plugin decides what it means."""

    methods: tuple[str, ...] = ()
    dataset: str = "auto"
    data: Path | None = None
    network: str = ""
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
        """The data root: ``--data``, else ``ANOMALY_DATA``, else ``./data``."""
        return Path(self.data or os.environ.get("ANOMALY_DATA") or "data")


@dataclass(frozen=True)
class Setup:
    """Options resolved: the datasets, the network that all methods share, the device."""

    options: Options
    dataset: str  # label of the evaluated dataset
    test: Dataset
    train: Dataset
    val: Dataset
    base: NetworkSpec
    settings: Settings

    @property
    def protocols(self) -> tuple[str, ...]:
        """Names of the evaluation protocols: the dataset's own, then those of the command line."""
        return tuple(dict.fromkeys((*self.test.protocols, *self.options.protocols)))

    def recipe(self, default: Recipe) -> Recipe:
        """A recipe with the overrides of the training dataset and of the command line, and the repetition's seed."""
        return resolve_recipe(default, self.train, self.options)


def choose_dataset(call: str, root: Path) -> tuple[str, str]:
    """Resolve "auto" to the best-ranked dataset found under the data root; also say why, in a sentence."""
    if call != "auto":
        return call, f"Dataset {call}."
    ranked = []
    for name in DATASETS.names():
        try:
            dataset = DATASETS.get(name)
        except BenchmarkError:
            continue  # `list` reports plugins that cannot be imported
        if dataset.auto is not None:
            ranked.append((dataset.auto, name, dataset))
    for index, (_, name, dataset) in enumerate(sorted(ranked, key=lambda r: r[:2])):
        if dataset.available(root):
            better = [r[1] for r in sorted(ranked, key=lambda r: r[:2])[:index]]
            why = f", since {' and '.join(better)} was not found under {root}" if better else f", found under {root}"
            return name, f"Dataset {name}{why}."
    raise BenchmarkError(f"No dataset was found under {root}; `python -m benchmark list` shows what exists.")


def make_setup(options: Options) -> Setup:
    """Open the datasets and derive the shared network."""
    from benchmark.data import Subset

    call, _ = choose_dataset(options.dataset, options.root)
    test = DATASETS.create(call, split="test", root=options.root)
    if options.limit:
        label = test.label
        test = Subset(test, options.limit)
        test.label = label
    source = test.trained_on or call
    train = DATASETS.create(source, split="train", root=options.root)
    val = DATASETS.create(source, split="val", root=options.root)
    return assemble(options, test, train, val)


def assemble(options: Options, test: Dataset, train: Dataset, val: Dataset) -> Setup:
    """Derive the shared network for opened splits."""
    from benchmark.network import NetworkSpec
    from benchmark.training import Settings

    scales, max_size = test.scales if options.scales is None else options.scales, options.max_size
    if options.preset == "paper":
        if options.scales is not None or options.max_size:
            raise BenchmarkError("--preset paper sets the test scales; leave out --scales and --max-size.")
        scales, max_size = test.paper_scales, test.paper_max_size
    network, keywords = parse_call(options.network or test.network)
    base = NetworkSpec(
        arch=network,
        dataset=train.label,
        classes=len(train.classes),
        recipe=resolve_recipe(Recipe(), train, options),
        data=train.fingerprint(),
        options=tuple(sorted(keywords.items())),
        scales=scales,
        max_size=max_size,
    )
    settings = Settings.choose(options.device, options.train_precision, options.workers, options.progress)
    return Setup(options, test.label, test, train, val, base, settings)


def resolve_recipe(default: Recipe, train: Dataset, options: Options) -> Recipe:
    """The authors' recipe, then the training dataset's overrides of its task, then the command line's."""
    recipe = default.changed(train.recipes.get(default.task, {})).changed(options.recipe.get(default.task, {}))
    return dataclasses.replace(recipe, seed=recipe.seed + SEED_STRIDE * options.repetition)


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
