"""The weights store: every trained thing is one safetensors file with a JSON sidecar that says what made it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from benchmark.errors import BenchmarkError
from benchmark.io.atomic import replacing
from benchmark.io.jsonfile import dumps, read_json, write_atomic
from benchmark.io.words import some

if TYPE_CHECKING:  # `runs` lists weights and needs no torch, which takes longer to import than it has to do
    from torch import Tensor, nn


@dataclass(frozen=True)
class WeightsEntry:
    """A file of the store, for listing."""

    key: str
    path: Path
    size: int  # bytes
    sidecar: Mapping[str, Any]  # empty where the sidecar is missing or unreadable

    @property
    def made(self) -> str:
        """How its tensors came to be here, and what the last training reached on the validation images."""
        if not self.sidecar:
            return "without a sidecar, so that nothing uses it"
        if "imported" in self.sidecar:
            return "imported"
        reports = self.sidecar.get("reports") or []
        seconds = sum(report.get("seconds", 0) for report in reports) or self.sidecar.get("seconds", 0)
        validation = next(iter(reports[-1].get("validation", {}).items()), None) if reports else None
        return f"trained in {seconds:.0f} s" + (f", {validation[0]} {validation[1]:.3f}" if validation else "")


class WeightsStore:
    """Weights by key below one folder.

    A key is a relative path without suffix ("streethazards/pspnet-resnet50-m0-1a2b3c4d5e"), given by whoever trained
    the thing; the sidecar holds what the writer put there, and always "key", "sha256" and "tensors" (one from before
    the key was kept lacks it). Nothing is loaded that is not what was saved under its key.

    Args:
        root: the folder; made when something is saved.
        mend: the command that makes the weights again, for messages.
    """

    def __init__(self, root: Path, mend: str = "") -> None:
        self.root = Path(root)
        self.mend = mend
        self._used: dict[str, str] = {}  # key -> SHA-256 of what this process saved or loaded last

    def path(self, key: str) -> Path:
        """Where the tensors of a key are or would be."""
        return self.root / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        """Whether the key was saved. The sidecar is written last, so both files are whole."""
        return self.path(key).is_file() and self._sidecar_path(key).is_file()

    def digest(self, key: str) -> str | None:
        """SHA-256 of what was loaded under a key, else the one that the sidecar states; None where there is none.

        Another process may replace a file that this one has loaded.
        """
        if key in self._used:
            return self._used[key]
        return self.sidecar(key)["sha256"] if self.has(key) else None

    def saving(self, key: str) -> str | None:
        """Digest that tells one saving of a key from the next, even of equal weights; None where it was not saved."""
        return digest_file(self._sidecar_path(key)) if self.has(key) else None

    def save(self, key: str, state: Mapping[str, Tensor], sidecar: Mapping[str, Any]) -> str:
        """Write tensors and sidecar; a crash or a full disk leaves what was there before, or nothing.

        Args:
            key: where.
            state: as of ``module.state_dict()``; tensors of any device.
            sidecar: what made them, plain values.
        Returns:
            SHA-256 of the safetensors file.
        Raises:
            BenchmarkError: the folder cannot be written or is full.
        """
        import torch
        from safetensors.torch import save_file

        path = self.path(key)
        # Clones, because safetensors refuses tensors that share memory.
        tensors = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()
        }
        with replacing(path) as temporary:
            try:
                save_file(tensors, temporary)
            except SafetensorError as error:
                raise OSError(errno.ENOSPC if "No space left" in str(error) else errno.EIO, str(error)) from error
            sha256 = digest_file(temporary)
            self._sidecar_path(key).unlink(missing_ok=True)  # it would describe the tensors that are replaced now
        stated = {**sidecar, "key": key, "sha256": sha256, "tensors": len(tensors)}
        write_atomic(self._sidecar_path(key), dumps(stated))
        self._used[key] = sha256
        return sha256

    def sidecar(self, key: str) -> dict[str, Any]:
        """What the writer said about a key.

        Raises:
            BenchmarkError: the sidecar is missing, is none, or is that of another key.
        """
        path = self._sidecar_path(key)
        try:
            content = read_json(path)
        except FileNotFoundError:
            raise BenchmarkError(f"{path} is missing; {self._mend(key)}.") from None
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"{path} cannot be read ({error}); {self._mend(key)}.") from error
        if not _is_sidecar(content):
            raise BenchmarkError(f"{path} is not a sidecar of this suite; {self._mend(key)}.")
        if content.get("key", key) != key:
            raise BenchmarkError(
                f"{path} and its weights are those of {content['key']}; put both back under that name or "
                f"{self._mend(key)}."
            )
        return content

    def load(self, key: str, recipe: Any = None) -> dict[str, Tensor]:
        """The tensors of a key, on the CPU.

        Args:
            key: which.
            recipe: how they were trained, as the sidecar states it: what tells the key of one that does not state it.
        Raises:
            BenchmarkError: as :meth:`verify`, or the file is of another recipe.
        """
        from safetensors.torch import load_file

        path, sidecar = self.path(key), self.verify(key)
        if recipe is not None and "key" not in sidecar and sidecar.get("recipe") not in (None, recipe):
            raise BenchmarkError(f"{path} was trained by another recipe than its name says; {self._mend(key)}.")
        try:
            tensors = load_file(path)
            self._used[key] = sidecar["sha256"]
            return tensors
        except (SafetensorError, OSError, ValueError) as error:
            raise BenchmarkError(f"{path} is truncated or damaged ({error}); {self._mend(key)}.") from error

    def load_into(self, key: str, module: nn.Module, recipe: Any = None) -> None:
        """Load a key into a module; every tensor must have its place and every place its tensor.

        Raises:
            BenchmarkError: as :meth:`load`, or the file belongs to another architecture; then the module is unchanged.
        """
        state = self.load(key, recipe)
        differences = describe_mismatch(state, module.state_dict())
        if differences:
            raise BenchmarkError(
                f"{self.path(key)} does not fit a {type(module).__name__}: {differences}; {self._mend(key)}."
            )
        module.load_state_dict(state)

    def verify(self, key: str) -> dict[str, Any]:
        """Compare a file with the hash in its sidecar; returns the sidecar.

        Raises:
            BenchmarkError: a file is missing, or the tensors are not the ones that were saved.
        """
        path = self.path(key)
        if not path.is_file():
            raise BenchmarkError(f"{path} is missing; {self._mend(key)}.")
        sidecar = self.sidecar(key)
        try:
            found = digest_file(path)
        except OSError as error:
            raise BenchmarkError(f"{path} cannot be read ({error.strerror}); {self._mend(key)}.") from error
        if found != sidecar["sha256"]:
            raise BenchmarkError(
                f"{path} has changed since it was saved (its SHA-256 is not the one in its sidecar), perhaps it is "
                f"truncated or damaged; {self._mend(key)}."
            )
        return sidecar

    def entries(self) -> Iterator[WeightsEntry]:
        """Every stored file in the order of the keys."""
        for path in sorted(self.root.rglob("*.safetensors")):
            key = path.relative_to(self.root).with_suffix("").as_posix()
            try:
                sidecar = self.sidecar(key)
            except BenchmarkError:
                sidecar = {}
            yield WeightsEntry(key, path, path.stat().st_size, sidecar)

    def sweep(self) -> None:
        """Delete the resume states of trainings whose weights were stored since, which a kill has left behind."""
        for entry in self.entries():
            stored = entry.path.stat().st_mtime
            for path in entry.path.parent.glob("*.state"):
                if path.name.startswith(f"{entry.path.stem}.") and path.stat().st_mtime < stored:
                    path.unlink(missing_ok=True)

    def _sidecar_path(self, key: str) -> Path:
        return self.root / f"{key}.json"

    def _mend(self, key: str) -> str:
        if key.startswith("released/"):
            return "import it again with `python -m benchmark weights import`"
        again = f"python -m benchmark train --retrain --dataset {shlex.quote(key.partition('/')[0])}"
        return f"make it again with `{self.mend or again}`"


def describe_mismatch(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """In which tensors a state differs from the one wanted, three names of each kind; empty if in none."""
    sizes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    types = [
        f"{name} {_type(state[name])} instead of {_type(wanted[name])}"
        for name in wanted
        if name in state and state[name].dtype != wanted[name].dtype
    ]
    kinds = {
        "lacks": [name for name in wanted if name not in state],
        "has unexpected": [name for name in state if name not in wanted],
        "has of another size": sizes,
        "has of another type": types,
    }
    return ", ".join(f"it {kind} {some(names)}" for kind, names in kinds.items() if names)


_DIGESTS: dict[tuple[str | int, ...], str] = {}
_SETTLED = 2.0
"""Seconds after which a further change of a file changes its time, too, however coarse the clock of the disk."""


def digest_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; read once in a process, as long as size and times of the file say the same."""
    status = os.stat(path)
    which = (os.path.abspath(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if which in _DIGESTS:
        return _DIGESTS[which]
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED:
        _DIGESTS[which] = found
    return found


def digest_weights(path: Path) -> str:
    """SHA-256 of weights from elsewhere: of a file, or of a folder's ``*.json`` and ``*.safetensors``.

    That of a folder is the SHA-256 of what ``LC_ALL=C sha256sum *.json *.safetensors | sort -k 2`` prints there.
    """
    if not path.is_dir():
        return digest_file(path)
    files = sorted((f for f in path.iterdir() if f.suffix in (".json", ".safetensors")), key=lambda f: f.name.encode())
    return hashlib.sha256("".join(f"{digest_file(f)}  {f.name}\n" for f in files).encode()).hexdigest()


_SIDECAR: Mapping[str, Any] = {
    "sha256": str,
    "key": str,
    "tensors": int,
    "networks": dict,
    "reports": list,
    "provenance": dict,
    "imported": dict,
    "seconds": (int, float),
}
"""The fields of a sidecar that the suite reads and their types; all but the first may be missing."""


def _is_sidecar(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and all(isinstance(content[name], kind) for name, kind in _SIDECAR.items() if name in content)
        and re.fullmatch("[0-9a-f]{64}", content.get("sha256", "")) is not None
        and all(_is_report(report) for report in content.get("reports", ()))
    )


def _is_report(report: Any) -> bool:
    return (
        isinstance(report, dict)
        and isinstance(report.get("seconds", 0), (int, float))
        and isinstance(values := report.get("validation", {}), dict)
        and all(isinstance(value, (int, float)) for value in values.values())
    )


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
