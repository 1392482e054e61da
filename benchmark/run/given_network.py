"""A network of the user's own: its code in a file, its weights in another, and the classes that it tells apart."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data import Dataset
from benchmark.derived import AbsentSplit
from benchmark.errors import BenchmarkError
from benchmark.network import Network
from benchmark.networks import REFERENCE, split_arch, takes_folder
from benchmark.recipe import digest
from benchmark.registry import DATASETS, NETWORKS, import_file
from benchmark.values import checked, parse_call
from benchmark.weights.checkpoint import load_checkpoint
from benchmark.weights.released import released_key
from benchmark.weights.store import WeightsStore, digest_weights


@dataclass(frozen=True)
class OwnNetwork:
    """What stands in for our code and our training.

    Attributes:
        code: digest of the user's file that builds the network, and of what it imports from its folder; else empty.
        weights: the file of its weights, or the folder; None where our training makes them.
        sha256: of that file, or of what is read in that folder.
        place: digest of where the files lie, which tells a file that was changed from another one of its name.
        imported: key in the weights store of a release that was imported, whose file `weights` and `sha256` still name;
            empty for a file of the user's.
        extra: number of outputs that the weights are known to have beyond the classes, for void.
    """

    code: str = ""
    weights: Path | None = None
    sha256: str = ""
    place: str = ""
    imported: str = ""
    extra: int = 0

    @property
    def digest(self) -> str:
        """The digests as :attr:`NetworkSpec.weights` states them."""
        return self.sha256 + (f"+{self.code}" if self.code else "")

    @property
    def folder(self) -> Path | None:
        """Where the network itself is read from, with its weights."""
        return self.weights if self.weights and self.weights.is_dir() else None

    @property
    def name(self) -> str:
        """What labels call the weights."""
        return "" if self.weights is None else self.weights.resolve().name if self.folder else self.weights.stem

    def load(
        self,
        network: Network,
        store: WeightsStore,
        say: Callable[[str], None],
        names: tuple[str, ...] | None = None,
    ) -> None:
        """Load the weights into a network, which has those of a folder already.

        Args:
            network: where to.
            store: holds what was imported.
            say: prints what was left out of a file.
            names: of the classes in the order of the outputs, where they are known.
        Raises:
            BenchmarkError: as :func:`~benchmark.weights.checkpoint.load_checkpoint`, the file is not the one any more
                whose digest the records will state, or it says that the classes are in another order.
        """
        assert self.weights is not None
        if self.imported:
            store.load_into(self.imported, network.body)
            return
        if not self.weights.exists() or digest_weights(self.weights) != self.sha256:
            raise BenchmarkError(
                f"--weights {self.weights} was changed while this command ran; give the command again."
            )
        if not self.folder:
            load_checkpoint(self.weights, network.body, say)
        self._check_names(network.class_names, names or ())

    def _check_names(self, stated: Sequence[str], wanted: Sequence[str]) -> None:
        """Refuse the same classes in another order: every output would be taken for another class."""
        theirs, ours = ([re.sub("[-_ ]+", " ", name.lower()) for name in names] for names in (stated, wanted))
        theirs = theirs[: len(ours)]
        if theirs != ours and set(theirs) == set(ours):
            place = next(index for index, name in enumerate(ours) if theirs[index] != name)
            raise BenchmarkError(
                f"--weights {self.weights} has the classes in another order: output {place} is {theirs[place]} and not "
                f"{ours[place]}; say what its outputs are by --classes FILE, one class a line."
            )


def imported(arch: str, classes: str, test: Dataset, store: WeightsStore) -> OwnNetwork | None:
    """Published weights of a network, where they were imported and fit what is evaluated.

    They stand in for its training as a file given by ``--weights`` does.

    Args:
        arch: name of the network in the registry.
        classes: ``--classes``, which may say that the dataset is to be evaluated with other classes than its own.
        test: the evaluated dataset.
        store: the weights store.
    Returns:
        None where nothing was imported, or it was trained on another dataset than the networks of this one.
    """
    key = released_key(arch)
    if not store.has(key):
        return None
    origin = store.sidecar(key).get("imported", {})
    trained_on, file = origin.get("trained_on", ""), origin["files"][0]
    wanted = classes.partition("+")[0] or test.card.trained_on or test.label
    if not trained_on or wanted != trained_on:
        return None
    family, _ = split_arch(arch)
    code = NETWORKS.code(family) if family in NETWORKS.names() else ""
    return OwnNetwork(code, Path(file["name"]), file["sha256"], imported=key, extra=origin.get("extra", 0))


OUTPUTS = 4096
"""More than any network of the field tells apart; a slip of the hand must not fill the memory."""


@dataclass(frozen=True)
class LabelSet:
    """The classes of a network.

    Attributes:
        name: of a dataset or a file, or "19-classes".
        names: of the classes, in the order of the outputs; None where only their number is known.
        count: number of classes.
        extra: number of outputs beyond them (void), which no dataset labels.
    """

    name: str
    names: tuple[str, ...] | None
    count: int
    extra: int = 0


def resolve(call: str, weights: Path | None = None) -> tuple[str, dict[str, Any], OwnNetwork | None]:
    """A network as named on the command line.

    Args:
        call: "name[:key=value...]", empty for the network of the papers, or "file.py[:function][:key=value...]", whose
            function, ``build`` unless said otherwise, is registered under the file's name.
        weights: the file of its weights, or the folder.
    Returns:
        the name in the registry, the options, and what is the user's own of it: None where the code is ours or
        installed and our training makes the weights.
    Raises:
        BenchmarkError: a file is missing or cannot be imported, or has no such function.
    """
    call = call or REFERENCE
    place, *rest = call.split(":")
    if place.endswith(".py"):
        function = rest.pop(0) if rest and "=" not in rest[0] else "build"
        call = ":".join([_register(Path(place), function), *rest])
    arch, stated = parse_call(call)
    options = _options(arch, stated)
    family, _ = split_arch(arch)
    code = NETWORKS.code(family) if family in NETWORKS.names() else ""
    if weights is None and not code:
        return arch, options, None
    if weights is not None:
        _check_weights(weights, arch)
    source = NETWORKS.source(family) if code else ""
    file = Path(source.removeprefix("file ")) if source.startswith("file ") else None
    place = digest([str(each.resolve()) for each in (file, weights) if each])
    return arch, options, OwnNetwork(code, weights, digest_weights(weights) if weights else "", place)


def _check_weights(weights: Path, arch: str) -> None:
    """Refuse a file where a folder is wanted, and the other way round."""
    folder = takes_folder(split_arch(arch)[0])
    if not weights.exists():
        raise BenchmarkError(f"--weights {weights}: there is no such {'folder of weights' if folder else 'file'}.")
    if folder and not weights.is_dir():
        raise BenchmarkError(f"--weights {weights}: '{arch}' is read from a folder; give {weights.parent}.")
    if not folder and not weights.is_file():
        raise BenchmarkError(f"--weights {weights}: that is a folder, and '{arch}' takes a file.")


def _options(arch: str, stated: dict[str, str]) -> dict[str, Any]:
    """The options of a network, of the types that its function states."""
    family, _ = split_arch(arch)
    # Nothing is imported for a network without options; what does not exist is refused here, as the user's mistake.
    build = NETWORKS.get(family) if stated or family not in NETWORKS.names() else None
    if build is None:
        return {}
    given = {"variant", "classes", "weights_folder"} & set(inspect.signature(build).parameters)
    return checked(build, stated, f"The network '{arch}'", given)


def label_set(text: str, test: Dataset) -> LabelSet:
    """Resolve ``--classes`` and compare it with the evaluated dataset.

    Args:
        text: name of a dataset, a number, or a text file with one class a line; "+N" at the end says that N outputs
            beyond them (void) are kept. Empty is the label set of `test`.
        test: the evaluated dataset. One that labels no classes can be evaluated with any.
    Raises:
        BenchmarkError: no such dataset or file, or `test` labels other classes.
    """
    name, plus, extra = text.partition("+")
    if plus and not extra.isdecimal():
        raise BenchmarkError(f"--classes {text}: after the + stands a number of outputs, for instance {name}+1.")
    more = int(extra or 0)
    trained_on = test.card.trained_on or test.label
    if name in ("", test.label, trained_on):
        found = LabelSet(name or trained_on, tuple(test.classes), len(test.classes), more)
    elif name.isdecimal():
        found = LabelSet(f"{int(name)}-classes", None, int(name), more)
    elif Path(name).is_file():
        lines = tuple(filter(None, map(str.strip, Path(name).read_text(encoding="utf-8").splitlines())))
        found = LabelSet(Path(name).stem, lines, len(lines), more)
    else:
        known = tuple(DATASETS.get(name).card.classes)
        found = LabelSet(DATASETS.canonical(name), known, len(known), more)
    if not found.count:
        raise BenchmarkError(f"--classes {text} names no class.")
    if found.count + more > OUTPUTS:
        raise BenchmarkError(
            f"--classes {text} are {found.count + more} outputs; no network here has more than {OUTPUTS}."
        )
    if test.card.class_labels and not _same(found, test.classes):
        raise BenchmarkError(
            f"--classes {text} has {found.count} classes and {test.label} labels {len(test.classes)} which are not the "
            f"same; evaluate this network on a dataset with its classes, or on one that labels none."
        )
    return found


def training_split(split: str, source: str, labels: LabelSet, test: Dataset, root: Path) -> Dataset:
    """Images on which methods may be fitted to a given network; an :class:`AbsentSplit` where they are missing.

    Args:
        split: "train" or "val".
        source: dataset on which the networks of `test` are trained.
        labels: what the network tells apart.
        test: the evaluated dataset.
        root: the data root.
    """
    home = source if labels.names == tuple(test.classes) or labels.names is None else labels.name
    try:
        dataset = DATASETS.create(home, split=split, root=root)
    except BenchmarkError as error:
        return AbsentSplit(split, home, str(error))
    if not _same(labels, dataset.classes):
        return AbsentSplit(
            split, labels.name, f"those of {dataset.label} have other classes; name a dataset by --classes."
        )
    return dataset


def _same(labels: LabelSet, classes: Sequence[str]) -> bool:
    return labels.count == len(classes) if labels.names is None else labels.names == tuple(classes)


def _register(file: Path, function: str) -> str:
    """Import a file once and register its function; return its name."""
    name = NETWORKS.canonical(file.stem if function == "build" else f"{file.stem}-{function}")
    where = f"file {file}"
    if name in NETWORKS.names() and NETWORKS.source(name) == where:
        return name
    module = import_file(file, "--network")
    found = getattr(module, function, None)
    if not callable(found):
        raise BenchmarkError(f"--network {file} defines no function {function}().")
    NETWORKS.add(name, where, found)
    return name
