"""The weights store: every trained thing is one safetensors file with a JSON sidecar that says what made it."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.io.atomic import replacing
from benchmark.io.jsonfile import dumps, loads, write_atomic


@dataclass(frozen=True)
class WeightsEntry:
    """A file of the store, for listing."""

    key: str
    path: Path
    size: int  # bytes
    sidecar: Mapping[str, Any]  # empty where the sidecar is missing or unreadable


class WeightsStore:
    """Weights by key below one folder.

    A key is a relative path without suffix ("streethazards/pspnet-resnet50-m0-1a2b3c4d5e"), given by whoever trained
    the thing; the sidecar holds what the writer put there, and always "sha256" and "tensors".

    Args:
        root: the folder; made when something is saved.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        """Where the tensors of a key are or would be."""
        return self.root / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        """Whether the key was saved. The sidecar is written last, so both files are whole."""
        return self.path(key).is_file() and self._sidecar_path(key).is_file()

    def digest(self, key: str) -> str | None:
        """SHA-256 that the sidecar states, None where the key was not saved."""
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
        write_atomic(self._sidecar_path(key), dumps({**sidecar, "sha256": sha256, "tensors": len(tensors)}))
        return sha256

    def sidecar(self, key: str) -> dict[str, Any]:
        """What the writer said about a key.

        Raises:
            BenchmarkError: the sidecar is missing or is not a JSON object.
        """
        path = self._sidecar_path(key)
        try:
            content = loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BenchmarkError(f"{path} is missing; {_mend(key)}.") from None
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"{path} cannot be read ({error}); {_mend(key)}.") from error
        if not isinstance(content, dict) or not isinstance(content.get("sha256"), str):
            raise BenchmarkError(f"{path} is not a sidecar of this suite; {_mend(key)}.")
        return content

    def load(self, key: str) -> dict[str, Tensor]:
        """The tensors of a key, on the CPU.

        Raises:
            BenchmarkError: no such file, or it is truncated or damaged.
        """
        path = self.path(key)
        if not path.is_file():
            raise BenchmarkError(f"{path} is missing; {_mend(key)}.")
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise BenchmarkError(f"{path} is truncated or damaged ({error}); {_mend(key)}.") from error

    def load_into(self, key: str, module: nn.Module) -> None:
        """Load a key into a module; every tensor must have its place and every place its tensor.

        Raises:
            BenchmarkError: as :meth:`load`, or the file belongs to another architecture; then the module is unchanged.
        """
        state = self.load(key)
        differences = describe_mismatch(state, module.state_dict())
        if differences:
            raise BenchmarkError(
                f"{self.path(key)} does not fit a {type(module).__name__}: {differences}; {_mend(key)}."
            )
        module.load_state_dict(state)

    def verify(self, key: str) -> None:
        """Read the whole file and compare it with the hash in its sidecar.

        Raises:
            BenchmarkError: a file is missing, or the tensors are not the ones that were saved.
        """
        expected = self.sidecar(key)["sha256"]
        path = self.path(key)
        if not path.is_file():
            raise BenchmarkError(f"{path} is missing; {_mend(key)}.")
        if digest_file(path) != expected:
            raise BenchmarkError(f"{path} has changed since it was saved (its SHA-256 differs); {_mend(key)}.")

    def entries(self) -> Iterator[WeightsEntry]:
        """Every stored file in the order of the keys."""
        for path in sorted(self.root.rglob("*.safetensors")):
            key = path.relative_to(self.root).with_suffix("").as_posix()
            try:
                sidecar = self.sidecar(key)
            except BenchmarkError:
                sidecar = {}
            yield WeightsEntry(key, path, path.stat().st_size, sidecar)

    def _sidecar_path(self, key: str) -> Path:
        return self.root / f"{key}.json"


def describe_mismatch(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], limit: int = 3) -> str:
    """In which tensors a state differs from the one wanted, up to `limit` names of each kind; empty if in none."""
    sizes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    kinds = {
        "lacks": [name for name in wanted if name not in state],
        "has unexpected": [name for name in state if name not in wanted],
        "has of another size": sizes,
    }
    parts = []
    for kind, names in kinds.items():
        if names:
            more = f" and {len(names) - limit} more" if len(names) > limit else ""
            parts.append(f"it {kind} {', '.join(names[:limit])}{more}")
    return ", ".join(parts)


def digest_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mend(key: str) -> str:
    return f"make it again with `python -m benchmark train --retrain --dataset {key.partition('/')[0]}`"
