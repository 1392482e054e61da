"""What a command was asked for, resolved into datasets and the shared network."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.recipe import Recipe
from benchmark.registry import DATASETS, parse_value

if TYPE_CHECKING:
    from benchmark.data import Dataset
    from benchmark.network import NetworkSpec
    from benchmark.own_network import LabelSet, OwnNetwork
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
    own: OwnNetwork | None = None  # where the network's code or its weights come from the user

    @property
    def protocols(self) -> tuple[str, ...]:
        """Names of the evaluation protocols: the dataset's own, then those of the command line."""
        return tuple(dict.fromkeys((*self.test.protocols, *self.options.protocols)))

    def given(self, spec: NetworkSpec) -> bool:
        """Whether a file of the user's stands in for the training of a network."""
        return bool(self.own and self.own.weights) and spec.checkpoint == self.base.checkpoint

    def identify(self, spec: NetworkSpec) -> str:
        """The key of a network; of a given one without the digests of its files, which a record states beside it."""
        return dataclasses.replace(spec, weights="").key if self.given(spec) else spec.key

    def recipe(self, default: Recipe) -> Recipe:
        """A recipe with the overrides of the training dataset and of the command line, and the repetition's seed."""
        return resolve_recipe(default, self.train, self.options)


def data_root(given: Path | None) -> Path:
    """Where data sets lie: what ``--data`` gives, else ``ANOMALY_DATA``, else ``./data``."""
    return Path(given or os.environ.get("ANOMALY_DATA") or "data")


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
    from benchmark.derived import Subset
    from benchmark.own_network import label_set, resolve, training_split

    call, _ = choose_dataset(options.dataset, options.root)
    test = DATASETS.create(call, split="test", root=options.root)
    if options.limit:
        label = test.label
        test = Subset(test, options.limit)
        test.label = label
    resolved = resolve(options.network or test.network, options.weights)
    own, source = resolved[2], test.trained_on or call
    _check_own(options, own)
    if own and own.weights:
        labels = label_set(options.classes, test)
        train, val = (training_split(split, source, labels, test, options.root) for split in ("train", "val"))
    else:
        labels = None
        train, val = (DATASETS.create(source, split=split, root=options.root) for split in ("train", "val"))
    return assemble(options, test, train, val, resolved, labels)


def assemble(
    options: Options,
    test: Dataset,
    train: Dataset,
    val: Dataset,
    resolved: tuple[str, dict[str, Any], OwnNetwork | None] | None = None,
    labels: LabelSet | None = None,
) -> Setup:
    """Derive the shared network for opened splits.

    Args:
        options: the command line.
        test: images to evaluate.
        train: images to train on.
        val: images to validate trainings on.
        resolved: what :func:`benchmark.own_network.resolve` made of the network's name, where it was asked.
        labels: what the outputs of a network with weights of its own are.
    """
    from benchmark.arithmetic import check_precision
    from benchmark.network import NetworkSpec
    from benchmark.own_network import resolve
    from benchmark.training import Settings

    arch, keywords, own = resolved or resolve(options.network or test.network)
    default = test.scales if own is None else ()  # the dataset's scales are those of its recipes
    scales, max_size = default if options.scales is None else options.scales, options.max_size
    if options.preset == "paper":
        if options.scales is not None or options.max_size:
            raise BenchmarkError("--preset paper sets the test scales; leave out --scales and --max-size.")
        scales, max_size = test.paper_scales, test.paper_max_size
    if labels:
        trained_on, classes, recipe = labels.name, labels.count + labels.extra, _seeded(Recipe(), options)
        data = ""  # whether the training images are here must not decide which network it is
    else:
        trained_on, classes, recipe = train.label, len(train.classes), resolve_recipe(Recipe(), train, options)
        data = train.fingerprint()
    base = NetworkSpec(
        arch=arch,
        dataset=trained_on,
        classes=classes,
        recipe=recipe,
        data=data,
        options=tuple(sorted(keywords.items())),
        scales=scales,
        max_size=max_size,
        weights=own.digest if own else "",
    )
    settings = Settings.choose(options.device, options.train_precision, options.workers, options.progress)
    check_precision(settings.device, options.precision)
    return Setup(options, test.label, test, train, val, base, settings, own)


def resolve_recipe(default: Recipe, train: Dataset, options: Options) -> Recipe:
    """The authors' recipe, then the training dataset's overrides of its task, then the command line's."""
    recipe = default.changed(train.recipes.get(default.task, {})).changed(options.recipe.get(default.task, {}))
    return _seeded(recipe, options)


def _seeded(recipe: Recipe, options: Options) -> Recipe:
    return dataclasses.replace(recipe, seed=recipe.seed + SEED_STRIDE * options.repetition)


def _check_own(options: Options, own: OwnNetwork | None) -> None:
    """Refuse what only makes sense with a network of the user's own."""
    if options.classes and not (own and own.weights):
        raise BenchmarkError("--classes says what the outputs of a network with --weights are; give both.")
    if options.label_size == "network" and own is None:
        raise BenchmarkError(
            "--label-size network is for a network of your own that resizes every image to one size; give --network."
        )


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
