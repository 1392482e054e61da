"""What a command was asked for, resolved into datasets and the shared network."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.encoders import Pretrained
from benchmark.errors import BenchmarkError
from benchmark.recipe import LIGHT_SEGMENTATION, LightRecipe, Recipe
from benchmark.registry import DATASETS
from benchmark.run.options import NO_DATASET, Options, choose_dataset
from benchmark.values import format_value

if TYPE_CHECKING:
    from benchmark.data import Dataset, Policy
    from benchmark.machine import Machine
    from benchmark.network import NetworkSpec
    from benchmark.run.given_network import LabelSet, OwnNetwork

SEED_STRIDE = 1000
"""Distance between the seeds of repetitions; members of an ensemble are one apart."""


@dataclass(frozen=True)
class Setup:
    """Options resolved: the datasets, the network that all methods share, the device."""

    options: Options
    dataset: str  # label of the evaluated dataset
    test: Dataset
    train: Dataset
    val: Dataset
    base: NetworkSpec
    machine: Machine
    own: OwnNetwork | None = None  # where the network's code or its weights come from the user
    class_names: tuple[str, ...] | None = None  # what its outputs are, those beyond them left out; None: nobody says
    normal: Dataset | None = None  # images of --normal, to which methods are fitted instead of the training images
    normal_val: Dataset | None = None  # its validation split, where it has one

    @property
    def protocols(self) -> tuple[str, ...]:
        """Names of the evaluation protocols: the dataset's own, then those of the command line."""
        return tuple(dict.fromkeys((*self.test.policy.protocols, *self.options.protocols)))

    def given(self, spec: NetworkSpec) -> bool:
        """Whether a file stands in for the training of a network, or for one of it with void outputs that it has."""
        if not (self.own and self.own.weights):
            return False
        further = spec.classes - self.base.classes
        same = dataclasses.replace(spec.checkpoint, classes=self.base.classes) == self.base.checkpoint
        return same and 0 <= further <= self.own.extra

    def folder(self, spec: NetworkSpec) -> Path | None:
        """The folder from which a network is read; None where it is built here."""
        return self.own.folder if self.own and self.given(spec) else None

    @property
    def fit_splits(self) -> tuple[Dataset, Dataset | None]:
        """What methods are fitted to, and what they are validated on."""
        return (self.normal, self.normal_val) if self.normal else (self.train, self.val)

    @property
    def validation(self) -> Dataset | None:
        """Normal images that protocols take thresholds from: what methods are validated on, ``--limit`` of them.

        Raises:
            BenchmarkError: with ``--limit``, where they are missing.
        """
        from benchmark.derived import Subset

        split = self.fit_splits[1]
        return Subset(split, self.options.limit) if split is not None and self.options.limit else split

    def identify(self, spec: NetworkSpec) -> str:
        """The key of a network; for a given one without the digests of its files, which a record states beside it."""
        return dataclasses.replace(spec, weights="").key if self.given(spec) else spec.key

    def recipe(self, authors: Recipe, light: LightRecipe, fit: bool = False) -> Recipe:
        """A recipe as :func:`resolve_recipe` makes it for this run; `fit` says that a method is fitted by it."""
        dataset = self.normal if fit and self.normal else self.train
        return resolve_recipe(authors, light, self.policy(dataset), self.options)

    def policy(self, dataset: Dataset) -> Policy:
        """How a dataset is used with the shared network."""
        return dataset.policy.of(bool(self.base.pretrained))

    def changes(self, authors: Recipe, light: LightRecipe, fit: bool = False) -> dict[str, str]:
        """What the command line changes of a recipe, "task.field" -> value as labels have it; empty where nothing."""
        plain = dataclasses.replace(self.options, recipe={})
        usual = dataclasses.replace(self, options=plain).recipe(authors, light, fit)
        made = self.recipe(authors, light, fit)
        return {
            f"{made.task}.{f.name}": _in_label(getattr(made, f.name))
            for f in dataclasses.fields(made)
            if getattr(made, f.name) != getattr(usual, f.name)
        }


def make_setup(options: Options) -> Setup:
    """Open the datasets and derive the shared network."""
    from benchmark.derived import AbsentSplit, Subset
    from benchmark.run.given_network import imported, label_set, resolve, training_split
    from benchmark.weights.store import WeightsStore

    call, _ = choose_dataset(options.dataset, options.root)
    test = _no_images(options) if call == NO_DATASET else DATASETS.create(call, split="test", root=options.root)
    if options.limit:
        test = Subset(test, options.limit)
    resolved = resolve(options.network or test.policy.shared, options.weights)
    if resolved[2] is None or resolved[2].weights is None:
        store = WeightsStore(options.out / "weights")
        resolved = (*resolved[:2], imported(resolved[0], options.classes, test, store) or resolved[2])
    own, source = resolved[2], test.card.trained_on or call
    if call == NO_DATASET and not (own and own.weights):
        raise BenchmarkError(
            "--dataset none is for a network that is trained already; give its --weights, or name the dataset to train "
            "it on."
        )
    _check_own(options, own)
    train: Dataset
    val: Dataset
    if own and own.weights:
        labels = label_set(options.classes, test)
        train, val = (training_split(split, source, labels, test, options.root) for split in ("train", "val"))
        if call == NO_DATASET and isinstance(train, AbsentSplit):
            why = "no dataset has these classes; fit the method to normal images of yours by --normal DIR."
            train, val = (AbsentSplit(split, labels.name, why) for split in ("train", "val"))
    else:
        labels = None
        try:
            train, val = (DATASETS.create(source, split=split, root=options.root) for split in ("train", "val"))
        except BenchmarkError as error:
            if not options.normal and source != call:
                raise BenchmarkError(
                    f"{test.card.title} is evaluated with networks of {source}: {str(error).rstrip('.')}, or take one "
                    "that is trained, with --network and --weights."
                ) from None
            if not options.normal:
                raise
            card = DATASETS.get(source.partition(":")[0]).card  # methods may need no network that is trained on it
            train, val = (AbsentSplit(split, source, str(error), card) for split in ("train", "val"))
    return assemble(options, test, train, val, resolved, labels)


def _no_images(options: Options) -> Dataset:
    """What stands in for the test images where there is no dataset: classes are those of ``--classes`` alone."""
    from benchmark.data import DatasetCard
    from benchmark.derived import AbsentSplit

    if not options.classes.partition("+")[0]:
        raise BenchmarkError(
            "--dataset none says nothing of classes; say by --classes what the outputs of the network are: a dataset's "
            "name, a number, or a file with one class a line."
        )
    why = "--dataset none is for infer and train; name the dataset to evaluate."
    return AbsentSplit("test", NO_DATASET, why, DatasetCard(title="No dataset", class_labels=False))


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
        resolved: what :func:`benchmark.run.given_network.resolve` made of the network's name, where it was called.
        labels: what the outputs of a network with given weights stand for.
    """
    from benchmark.network import NetworkSpec
    from benchmark.run.given_network import resolve

    arch, keywords, own = resolved or resolve(options.network or test.policy.shared)
    begun = None if own else _begun(options, test.policy, arch, keywords)
    policy = test.policy.of(begun is not None)
    # The dataset's scales are those of its recipes.
    scales, max_size = _test_scales(options, policy, policy.scales if own is None else ())
    if labels:
        trained_on, classes, recipe = labels.name, labels.count + labels.extra, _seeded(Recipe(), options)
        data = ""  # whether the training images are here must not decide which network it is
    else:
        trained_on, classes = train.label, len(train.classes)
        recipe = resolve_recipe(Recipe(), LIGHT_SEGMENTATION, train.policy.of(begun is not None), options)
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
        pretrained=begun.sha256 if begun else "",
    )
    machine = _machine(options)
    class_names = labels.names if labels else tuple(train.classes)
    made = Setup(options, test.label, test, train, val, base, machine, own, class_names)
    if options.normal:
        from benchmark.run.normal import normal_split

        splits = (normal_split(options.normal, split, options.root, class_names) for split in ("train", "val"))
        made = dataclasses.replace(made, **dict(zip(("normal", "normal_val"), splits, strict=True)))
    return made


def _test_scales(options: Options, policy: Policy, default: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Test scales, and the bound of the long side at them."""
    scales, max_size = default if options.scales is None else options.scales, options.max_size
    if options.preset == "paper":
        if options.scales is not None or options.max_size:
            raise BenchmarkError("--preset paper sets the test scales; leave out --scales and --max-size.")
        scales, max_size = policy.paper_scales, policy.paper_max_size
    if max_size and not scales:
        raise BenchmarkError("--max-size bounds the long side at test scales, and none are set; give --scales, too.")
    return scales, max_size


def _machine(options: Options) -> Machine:
    from benchmark.machine import Machine, check_precision
    from benchmark.training.compiled import check_compiler
    from benchmark.training.events import available

    machine = Machine.choose(options.device, options.train_precision, options.workers, options.progress)
    if options.tensorboard:
        available()
        machine = dataclasses.replace(machine, events=options.out / "tensorboard")
    if options.compile:
        check_compiler(machine.device)
        machine = dataclasses.replace(machine, compiled=True)
    check_precision(machine.device, options.precision)
    return machine


def _begun(options: Options, policy: Policy, arch: str, keywords: dict[str, Any]) -> Pretrained | None:
    """The pretrained weights with which the shared network begins."""
    from benchmark.networks import pretrained_of

    try:
        return pretrained_of(arch, keywords)
    except BenchmarkError as error:
        if options.network or policy.network == policy.shared:
            raise
        raise BenchmarkError(
            f"{str(error).removesuffix('.')}; `--network {policy.network}` trains a smaller network from scratch "
            f"instead."
        ) from None


def resolve_recipe(authors: Recipe, light: LightRecipe, policy: Policy, options: Options) -> Recipe:
    """The authors' recipe, changed by the training dataset's policy and then by the command line.

    The repetition shifts its seed.

    Args:
        authors: the recipe as its owner states it.
        light: what is different about it where trainings are light.
        policy: of the dataset to train on.
        options: the command line.
    """
    recipe = policy.recipe(authors, light).changed(options.recipe.get(authors.task, {}))
    return _seeded(recipe, options)


def _in_label(value: Any) -> str:
    return "-".join(map(format_value, value)) if isinstance(value, tuple) else format_value(value)


def _seeded(recipe: Recipe, options: Options) -> Recipe:
    return dataclasses.replace(recipe, seed=recipe.seed + SEED_STRIDE * options.repetition)


def _check_own(options: Options, own: OwnNetwork | None) -> None:
    """Refuse what only makes sense with a network of the user's own."""
    if options.classes and not (own and own.weights):
        raise BenchmarkError(
            "--classes says what the outputs of a network with --weights are, or with published ones that `weights "
            "import` has stored; give both."
        )
    if options.label_size == "network" and own is None:
        raise BenchmarkError(
            "--label-size network is for a network of your own that resizes every image to one size; give --network."
        )
