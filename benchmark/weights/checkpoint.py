"""Checkpoints from elsewhere: tensors read from a file of which nothing is executed.

People save more than weights, and not always under one name. What can only be meant in one way is unwrapped, and what
was left out is said; what could be meant in two ways is refused.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.io.words import some
from benchmark.weights.store import describe_mismatch

NAMES = ("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "params")
"""Under which a file holds the weights among other things, the most telling first."""
WRAPPERS = frozenset({"module", "model", "net", "network", "_orig_mod"})
"""Parts of the names of tensors that come from whatever the network was wrapped into for its training."""
TRAINING_ONLY = frozenset({"n_averaged", "total_ops", "total_params"})
"""Last parts of the names of what averaging and counting leave beside the weights."""
_OTHERS = ("optim", "sched", "scaler", "lr_")
"""How the names begin under which a file holds what is no weights, though there may be tensors in it."""
_DEPTH = 4
_ANEW = "save it anew with torch.save(model.state_dict(), path)"


@dataclass(frozen=True)
class Found:
    """Tensors by name somewhere in a file.

    Attributes:
        place: "model.state_dict"; empty where they are the file itself.
        tensors: by name, as they stand there.
    """

    place: str
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class _Fit:
    """How tensors of a file fill a module: those under a prefix, the others left out."""

    found: Found
    prefix: str
    state: dict[str, Tensor]
    needless: list[str]  # left out without harm
    unexpected: list[str]  # of which the network should know

    @property
    def whole(self) -> dict[str, Tensor]:
        """With what the network should know of."""
        return self.state | {name: self.found.tensors.get(name, torch.empty(0)) for name in self.unexpected}

    @property
    def where(self) -> str:
        """As a reader of the file would name it."""
        return ".".join(filter(None, (self.found.place, self.prefix.rstrip(".")))) or "the file itself"


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a ``.pth`` or ``.safetensors`` file from elsewhere; nothing in it is executed.

    The state dictionary may lie among other things, under one of NAMES or as the only one; prefixes of data-parallel
    training and of compilation are dropped.

    Raises:
        BenchmarkError: no such file, truncated, no dictionary of tensors, or several.
    """
    found = _read(Path(path))
    chosen = found[0]
    if len(found) > 1:
        named = [each for name in NAMES for each in found if each.place.rpartition(".")[2] == name]
        if not named:
            raise _ambiguous(path, [each.place for each in found])
        chosen = named[0]
    state = chosen.tensors
    for prefix in ("module.", "_orig_mod.", "module."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def load_checkpoint(path: Path, module: nn.Module, say: Callable[[str], None] = print) -> None:
    """Load a file from elsewhere into a module; only the counters of BN, which early files lack, may be missing.

    Args:
        path: ``.pth`` or ``.safetensors``.
        module: takes the weights.
        say: prints what was unwrapped, converted and left out, where it was anything.
    Raises:
        BenchmarkError: as :func:`read_checkpoint`, or the file belongs to another architecture, or holds two sets of
            weights for it; then the module is unchanged.
    """
    path, wanted = Path(path), module.state_dict()
    found = _read(path)
    fits = [fit for each in found for fit in _fits(each, wanted)]
    if any(not _equal(fits[0].state, other.state) for other in fits[1:]):
        raise _ambiguous(path, [each.where for each in fits])
    fit = min(fits, key=lambda each: len(each.unexpected), default=None)
    if fit is None or fit.unexpected:
        state = max((_nearest(each, wanted) for each in found), key=lambda each: len(each.keys() & wanted.keys()))
        differences = describe_mismatch(_completed(state, wanted) if fit is None else fit.whole, wanted)
        raise BenchmarkError(
            f"{path} does not fit a {type(module).__name__}: {differences}; give the weights of this network with "
            f"--weights."
        )
    if holes := [name for name, value in fit.state.items() if value.is_floating_point() and bool(value.isnan().any())]:
        raise BenchmarkError(f"{path} holds NaN in {holes[0]}; give the weights of a training that did not diverge.")
    if remarks := _remarks(fit, wanted):
        say(f"Weights of {path.name}: {'; '.join(remarks)}.")
    module.load_state_dict(fit.state)


def _read(path: Path) -> list[Found]:
    """Every dictionary of tensors in a file; at least one."""
    if not path.is_file():
        raise BenchmarkError(f"{path}: there is no such file.")
    if _is_script(path):
        raise BenchmarkError(f"{path} is a TorchScript archive, which is code; where it was trained, {_ANEW}.")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(_inert()):
                content = torch.load(path, map_location="cpu", weights_only=True)
        found = list(_search(content))
    except Exception as error:  # the unpickler raises whatever the bytes make it raise
        raise BenchmarkError(f"{path} {_unreadable(path)}") from error
    if not found:
        raise BenchmarkError(
            f"{path} is not a state dictionary, that is tensors by name; give the file with the weights."
        )
    return found


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with suppress(zipfile.BadZipFile, OSError, ValueError), zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())
    return False


def _inert() -> list[Any]:
    """Classes that people's files hold beside tensors, and whose making has no effect."""
    core = getattr(np, "_core", None) or np.core
    makers = [
        (getattr(core.multiarray, maker), f"{package}.multiarray.{maker}")  # by their names in NumPy 1 and 2
        for package in ("numpy._core", "numpy.core")
        for maker in ("_reconstruct", "scalar")
    ]
    arrays = [np.ndarray, np.dtype, *(kind for kind in vars(np.dtypes).values() if isinstance(kind, type))]
    plain = [argparse.Namespace, types.SimpleNamespace, collections.defaultdict, collections.deque, list, dict, set]
    paths = [pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath]
    layers = [kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, nn.Module)]
    return [*arrays, *makers, *plain, *paths, *layers]


def _unreadable(path: Path) -> str:
    """Why a file cannot be read: of which classes it holds objects, or that it is none at all."""
    try:
        strange = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        known = {kind[1] if isinstance(kind, tuple) else f"{kind.__module__}.{kind.__qualname__}" for kind in _inert()}
        strange = sorted(set(strange) - known)
    except Exception:  # not even a list of names can be had of it
        strange = []
    if strange:
        names = some(strange)
        return f"holds objects beside tensors ({names}), whose code would have to run; where it was trained, {_ANEW}."
    return f"is not a PyTorch checkpoint or is truncated; download it again, or, where it holds objects, {_ANEW}."


def _search(content: Any, place: str = "", depth: int = 0) -> Iterator[Found]:
    """Dictionaries of tensors in a file, from the outside to the inside."""
    if isinstance(content, nn.Module):
        content = dict(_tensors(content))
    if not isinstance(content, Mapping) or depth > _DEPTH:
        return
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor) and isinstance(name, str)}
    if tensors:
        yield Found(place, tensors)
    for name, value in content.items():
        if isinstance(name, str) and not name.lower().startswith(_OTHERS):
            yield from _search(value, f"{place}.{name}".lstrip("."), depth + 1)


def _tensors(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """What ``state_dict()`` of a module would give, read from its fields: no code of it runs."""
    fields = vars(module)
    transient = fields.get("_non_persistent_buffers_set", ())
    for kind in ("_parameters", "_buffers"):
        for name, value in fields.get(kind, {}).items():
            if isinstance(value, Tensor) and not (kind == "_buffers" and name in transient):
                yield prefix + name, value
    for name, child in fields.get("_modules", {}).items():
        if isinstance(child, nn.Module):
            yield from _tensors(child, f"{prefix}{name}.")


def _fits(found: Found, wanted: Mapping[str, Tensor]) -> Iterator[_Fit]:
    """The ways in which tensors fill a module completely."""
    for renamed in (found.tensors, _unwrapped(found.tensors)):
        fits = [fit for prefix in _prefixes(renamed, wanted) if (fit := _fit(found, renamed, prefix, wanted))]
        if fits:
            yield from fits
            return


def _fit(found: Found, tensors: Mapping[str, Tensor], prefix: str, wanted: Mapping[str, Tensor]) -> _Fit | None:
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    state = _completed({name: value for name, value in inside.items() if name in wanted}, wanted)
    if describe_mismatch(state, wanted):
        return None
    extra = [prefix + name for name in inside if name not in wanted]
    outside = [name for name in tensors if not name.startswith(prefix)]
    needless = [name for name in extra + outside if _needless(name)]
    if all(part in WRAPPERS for part in prefix.split(".")[:-1]):  # what stands beside the wrapped network is not it
        needless += [name for name in outside if name not in needless]
    return _Fit(found, prefix, state, needless, [name for name in extra + outside if name not in needless])


def _needless(name: str) -> bool:
    """Whether a network is the same without a tensor: it is of an auxiliary head, or was left by the training."""
    parts = name.split(".")
    return any(part.startswith("aux") for part in parts) or parts[-1] in TRAINING_ONLY


def _prefixes(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What stands before the name of a wanted tensor, wherever it is found."""
    first = next((name for name in wanted if not name.endswith(".num_batches_tracked")), "")
    found = [name.removesuffix(first) for name in tensors if name == first or name.endswith(f".{first}")]
    return list(dict.fromkeys(found))


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the parts that data-parallel training and compilation put anywhere into them."""
    renamed = {
        ".".join(part for part in name.split(".") if part not in ("module", "_orig_mod")): value
        for name, value in tensors.items()
    }
    return renamed if len(renamed) == len(tensors) else dict(tensors)


def _completed(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Counters of BN added where they are missing, floating-point values in the type that is wanted."""
    made = {n: v for n, v in wanted.items() if n.endswith(".num_batches_tracked") and n not in state}
    for name, value in state.items():
        floats = name in wanted and value.is_floating_point() and wanted[name].is_floating_point()
        made[name] = value.to(wanted[name].dtype) if floats else value
    return made


def _nearest(found: Found, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the prefix that makes most of their names known."""
    prefixes = {"", *_prefixes(found.tensors, wanted)}
    states = [
        {name.removeprefix(prefix): value for name, value in found.tensors.items() if name.startswith(prefix)}
        for prefix in sorted(prefixes)
    ]
    return max(states, key=lambda state: len(state.keys() & wanted.keys()))


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def _remarks(fit: _Fit, wanted: Mapping[str, Tensor]) -> list[str]:
    """In words, what was made of a file that does not just hold the weights."""
    remarks = []
    if fit.found.place or fit.prefix:
        remarks.append(f"read from {fit.where}")
    kinds = {
        str(value.dtype).removeprefix("torch.")
        for name, value in fit.found.tensors.items()
        if value.is_floating_point()
        and (goal := wanted.get(name.removeprefix(fit.prefix))) is not None
        and goal.dtype != value.dtype
    }
    remarks += [f"its {kind} values become float32" for kind in sorted(kinds)]
    if fit.needless:
        remarks.append(f"left out, since the network has no place for it: {some(fit.needless)}")
    return remarks


def _ambiguous(path: Path, places: list[str]) -> BenchmarkError:
    listed = ", ".join(places[:4])
    return BenchmarkError(
        f"{path} holds several sets of weights ({listed}); save the one that is meant in a file of its own with "
        f"torch.save(torch.load(path)[name], other)."
    )
