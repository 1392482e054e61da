"""Released checkpoints to our weights, as networks and methods declare them (:mod:`benchmark.released`).

The files hold the same tensors as our modules under other names.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.encoders import brief
from benchmark.errors import BenchmarkError
from benchmark.io.names import file_name
from benchmark.networks import build_network
from benchmark.registry import DATASETS, METHODS, NETWORKS
from benchmark.released import Release, ReleasedFile
from benchmark.weights.checkpoint import read_checkpoint
from benchmark.weights.store import WeightsStore, describe_mismatch, digest_file


@dataclass(frozen=True)
class Importable:
    """A release with all that its import needs.

    Attributes:
        name: as on the command line.
        network: name and release of the shared network.
        method: name and release of the method; None where the release is the network's own.
    """

    name: str
    network: tuple[str, Release]
    method: tuple[str, Release] | None = None

    @property
    def files(self) -> tuple[ReleasedFile, ...]:
        """Everything in the order of the command line."""
        return self.network[1].files + (self.method[1].files if self.method else ())

    @property
    def count(self) -> int:
        """How many paths the command names: the files, or one folder."""
        return 1 if self.network[1].hub else len(self.files)

    @property
    def usage(self) -> str:
        """The command with placeholders."""
        names = ["FOLDER"] if self.network[1].hub else [file.name.upper() for file in self.files]
        return f"weights import {self.name} {' '.join(names)}"


def importables() -> dict[str, Importable]:
    """Everything that registered networks and methods declare, by name; what cannot be imported declares nothing.

    Raises:
        BenchmarkError: two releases of one name, or a method's that rests on one which nobody declares.
    """
    found: dict[str, Importable] = {}
    owners: dict[str, str] = {}

    def add(name: str, owner: str, made: Importable) -> None:
        if name in found:
            raise BenchmarkError(f"{owners[name]} and {owner} both have a release '{name}'; rename one.")
        found[name], owners[name] = made, owner

    for family in NETWORKS.available():
        for name, release in getattr(inspect.getmodule(NETWORKS.get(family)), "RELEASED", {}).items():
            add(name, family, Importable(name, (name, release)))
    networks = dict(found)
    for method in METHODS.available():
        for name, release in METHODS.get(method).released.items():
            if release.teacher not in networks:
                raise BenchmarkError(
                    f"The release '{name}' of {method} rests on '{release.teacher}'; nobody declares it."
                )
            add(name, method, Importable(name, networks[release.teacher].network, (method, release)))
    return found


def released_key(arch: str) -> str:
    """Where the store keeps the published weights of a network that stand in for its training."""
    return f"released/{file_name(arch)}"


def import_release(name: str, release: Release, files: Sequence[Path], store: WeightsStore) -> Path:
    """Store published weights that stand in for a network's training, under its name.

    Args:
        name: of the release.
        release: as the network declares it, with the dataset on which it was trained.
        files: in its order, which must be those that were published.
        store: where to.
    Returns:
        the stored file.
    Raises:
        BenchmarkError: a file is another one than the published, or as :func:`read_network`.
    """
    for path, part in zip(files, release.files, strict=True):
        if path.is_file() and part.sha256 and digest_file(path) != part.sha256:
            raise BenchmarkError(
                f"{path} is not {part.title}: its SHA-256 is {digest_file(path)} and should be {part.sha256}; take "
                f"weights of your own by `run --network {release.network} --weights {path}`."
            )
    classes = len(DATASETS.get(release.trained_on).card.classes) + release.extra
    with torch.device("meta"):
        wanted = build_network(release.network, classes, initial=False).body.state_dict()
    state: dict[str, Tensor] = {}
    for path, part in zip(files, release.files, strict=True):
        state |= _fit(path, _read(path, release), part, wanted)
    origin = _origin(name, files) | {
        "trained_on": release.trained_on,
        "extra": release.extra,
        "source": release.source,
        "licence": release.license,
    }
    key = released_key(release.network)
    store.save(key, state, {"network": release.network, "classes": classes, "imported": origin})
    return store.path(key)


def download_folder(release: Release, folder: Path) -> list[Path]:
    """Download configuration and tensors of a release on the hub; what is there already is not fetched again.

    Returns:
        the files in the folder.
    Raises:
        BenchmarkError: they cannot be had, or hold no tensors in a format that runs no code.
    """
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(release.hub, local_dir=folder, allow_patterns=["*.json", "*.safetensors"])
    except Exception as error:  # the hub raises whatever the transport raises
        raise BenchmarkError(f"{release.hub} cannot be had ({brief(error)}).") from error
    files = sorted(f for f in folder.iterdir() if f.suffix in (".json", ".safetensors"))
    if not any(f.suffix == ".safetensors" for f in files):
        raise BenchmarkError(f"{release.hub} holds no *.safetensors, and nothing else is read; look for another copy.")
    return files


def read_network(release: Release, files: Sequence[Path]) -> tuple[dict[str, Tensor], int]:
    """State of a network from its released files, and its number of classes, as read from them.

    Args:
        release: as the network declares it.
        files: in its order, with any number of classes.
    Raises:
        BenchmarkError: a file is unreadable, or is not what it should be; nothing but what the release says is left out
            and nothing but counters of BN may be missing.
    """
    states = [_read(file, release) for file in files]
    classes = _classes(release, states)
    with torch.device("meta"):
        wanted = build_network(release.network, classes, initial=False).state_dict()
    state: dict[str, Tensor] = {}
    for path, part, found in zip(files, release.files, states, strict=True):
        state |= _fit(path, found, part, wanted)
    return state, classes


def read_method(release: Release, files: Sequence[Path], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of a method from its released files.

    Args:
        release: as the method declares it.
        files: its own, in its order; written by one GPU or by several.
        wanted: the state of the method when built, which is only compared with.
    Raises:
        BenchmarkError: as :func:`read_network`.
    """
    state: dict[str, Tensor] = {}
    for path, part in zip(files, release.files, strict=True):
        state |= _fit(path, _read(path, release), part, wanted)
    return state


def import_network(
    name: str, release: Release, files: Sequence[Path], store: WeightsStore, key: str, classes: int = 0
) -> int:
    """Store a released network under a key.

    Args:
        name: of the release.
        release: as the network declares it.
        files: in its order.
        store: where to.
        key: under which name.
        classes: number of classes of the dataset. A file with more (the authors of SynthCP train StreetHazards with the
            150 outputs of ADE20K) keeps the first; 0 keeps all.
    Returns:
        the number of classes in the files.
    """
    state, found = read_network(release, files)
    if classes and found < classes:
        raise BenchmarkError(f"{files[-1]} has {found} classes, the dataset has {classes}; import another file.")
    kept = classes or found
    for layer in release.outputs:
        for part in ("weight", "bias"):
            state[f"{layer}.{part}"] = state[f"{layer}.{part}"][:kept].clone()
    imported = _origin(name, files) | {"classes_in_file": found}
    store.save(key, state, {"network": release.network, "classes": kept, "imported": imported})
    return found


def import_method(
    name: str,
    method: str,
    release: Release,
    files: Sequence[Path],
    store: WeightsStore,
    key: str,
    wanted: Mapping[str, Tensor],
) -> None:
    """Store what a method was released with under the key of its fit; arguments as for the functions above."""
    store.save(key, read_method(release, files, wanted), {"method": method, "imported": _origin(name, files)})


def _read(path: Path, release: Release) -> dict[str, Tensor]:
    return {name: value for name, value in read_checkpoint(path).items() if not name.endswith(release.dropped)}


def _classes(release: Release, states: Sequence[Mapping[str, Tensor]]) -> int:
    """Outputs of the first layer with one per class; 2 where no file has it, which the comparison then reports."""
    for part, state in zip(release.files, states, strict=True):
        for name, value in state.items():
            if part.ours(name) == f"{release.outputs[0]}.weight" and value.ndim:
                return len(value)
    return 2


def _fit(path: Path, state: dict[str, Tensor], part: ReleasedFile, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    expected = part.theirs(wanted)
    for name in expected:
        if name.endswith(".num_batches_tracked"):  # files from before PyTorch 0.4.1 lack them
            state.setdefault(name, torch.zeros((), dtype=torch.int64))
    differences = describe_mismatch(state, expected)
    if differences:
        raise BenchmarkError(f"{path} is not {part.title}: {differences}; check that the files are given in order.")
    return {part.ours(name): state[name] for name in expected}


def _origin(name: str, files: Sequence[Path]) -> dict[str, Any]:
    return {
        "layout": name,
        "files": [{"name": Path(f).name, "sha256": digest_file(f)} for f in files],
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
