"""A GPU that is not there: tensors that say they are on ``cuda:0`` and are computed on the CPU.

It is as strict as a GPU where that can be told without one: what mixes tensors of the two devices fails, numpy gets no
tensor of it, and everything for which the processor would have to wait until the device is done is noted with its
place. So code for GPUs runs on a machine without one, and its waits are counted. It says nothing of speed, nor of the
bits that a GPU's own kernels would give.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from benchmark.run.waits import INDEXING, read_by

GPU = torch.device("cuda:0")
ROOT = Path(__file__).parents[1]
ROOMS = ("benchmark", "methods", "datasets")


@dataclass
class Waits:
    """For what the device was waited.

    Attributes:
        found: (file, function, what) -> how often.
        fetched: bytes that were copied from it to the CPU, waited for or not.
    """

    found: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    fetched: int = 0

    def note(self, what: str) -> None:
        """Something waits here."""
        if threading.current_thread() is not threading.main_thread():
            return  # metrics beside the pass, which are there to wait
        frame: Any = sys._getframe(1)
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS:
                self.found[path.relative_to(ROOT).as_posix(), frame.f_code.co_name, what] += 1
                return
            frame = frame.f_back
        self.found["", "", what] += 1


_waits = Waits()
_contents: dict[int, Tensor] = {}  # by the address of the empty storage before them, which ``.data =`` hands on


class OnGPU(Tensor):
    """A tensor on the pretended GPU; `content` is where its values are."""

    content: Tensor

    @staticmethod
    def __new__(cls, content: Tensor) -> OnGPU:
        own = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            content.shape,
            strides=content.stride(),
            storage_offset=content.storage_offset(),
            dtype=content.dtype,
            layout=content.layout,
            device=GPU,
        )
        own.content = content
        _contents[own.untyped_storage()._cdata] = content
        return own

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["content"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *rest: object) -> OnGPU:
        return OnGPU(inner["content"])

    def __repr__(self, **options: Any) -> str:
        return f"OnGPU({self.content!r})"

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in ("numpy", "__array__"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")
        with torch._C.DisableTorchFunctionSubclass():
            return args[0].cpu().tolist() if name == "tolist" else function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sees what has no tensor of the GPU among its arguments, and may make one."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(function, args, kwargs or {})


def _computed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operation gives, on the CPU, and whether the device would have to be waited for."""
    name = function.overloadpacket.__name__
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    here = [each for each in tensors if each.is_cuda]
    asked = kwargs.get("device")
    there = bool(here) if asked is None else torch.device(asked).type == "cuda"
    _check_devices(name, args, here, tensors)
    if name in ("_to_copy", "copy_"):
        source, target = (args[0], there) if name == "_to_copy" else (args[1], args[0].is_cuda)
        _waits.fetched += source.nbytes if source.is_cuda and not target else 0
    for what in _waiting(name, function, args, kwargs, here, there):
        _waits.note(what)
    if name == "set_" and here and len(args) == 2 and not isinstance(args[1], Tensor):
        return OnGPU(_content(args[0]).set_(_contents[args[1]._cdata].untyped_storage()))
    given = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    if asked is not None:
        given["device"] = torch.device("cpu")
    made = function(*tree_map(_content, args), **tree_map(_content, given))
    known = {id(_content(each)): each for each in here}  # what was written into is given back as itself
    return tree_map(lambda each: _wrapped(each, known) if there else each, made)


def _content(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_cuda:
        return value.content if isinstance(value, OnGPU) else _contents[value.untyped_storage()._cdata]
    return value


def _wrapped(value: Any, known: dict[int, Tensor]) -> Any:
    if not isinstance(value, Tensor):
        return value
    return known[id(value)] if id(value) in known else OnGPU(value)


def _check_devices(name: str, args: tuple[Any, ...], here: list[Tensor], tensors: list[Tensor]) -> None:
    """Refuse what a GPU does: tensors of both devices, unless one copies, is a single number, or an index."""
    if not here or name in ("copy_", "_to_copy", *INDEXING, "set_"):
        return
    if any(not each.is_cuda and each.dim() for each in tensors):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({name})"
        )


def _waiting(
    name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], here: list[Tensor], there: bool
) -> Iterator[str]:
    yield from read_by(name, args, kwargs) if here else ()
    if name in INDEXING and here and any(each is not None and not each.is_cuda for each in args[1]):
        yield f"{name} by positions from the CPU"
    if name == "_to_copy" and bool(here) != there and not kwargs.get("non_blocking"):
        yield "copy to the GPU" if there else "copy to the CPU"
    queued = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
    if name == "copy_" and args[0].is_cuda != args[1].is_cuda and not queued:
        yield "copy to the GPU" if args[0].is_cuda else "copy to the CPU"


class _Event:
    """Work on the pretended GPU is done as soon as it is queued."""

    def __init__(self, **options: Any) -> None: ...

    def record(self, stream: object = None) -> None: ...

    def synchronize(self) -> None:
        _waits.note("event")

    def elapsed_time(self, other: object) -> float:
        return 1.0


def _synchronize(device: object = None) -> None:
    _waits.note("synchronize")


_CUDA: dict[str, Callable[..., Any]] = {
    "_lazy_init": lambda: None,
    "is_available": lambda: True,
    "is_initialized": lambda: False,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "synchronize": _synchronize,
    "Event": _Event,
    "current_stream": lambda device=None: None,
    "empty_cache": lambda: None,
    "memory_allocated": lambda device=None: 1 << 20,
    "memory_reserved": lambda device=None: 1 << 20,
    "max_memory_allocated": lambda device=None: 1 << 21,
    "reset_peak_memory_stats": lambda device=None: None,
    "mem_get_info": lambda device=None: (1 << 30, 1 << 31),
    "get_device_name": lambda device=None: "a pretended GPU",
    "get_device_capability": lambda device=None: (9, 0),
    "is_bf16_supported": lambda including_emulation=True: True,
}


@contextmanager
def pretended_gpu() -> Iterator[Waits]:
    """Inside, there is a GPU; gives what the main thread waited for."""
    global _waits
    _waits = Waits()
    torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]  # one that does nothing, as for fake tensors
    with pytest.MonkeyPatch.context() as patch, torch.backends.cudnn.flags(enabled=False), _Mode():
        for name, stand_in in _CUDA.items():
            patch.setattr(torch.cuda, name, stand_in)
        patch.setattr(Tensor, "pin_memory", lambda self, device=None: self)
        before = torch._C._only_lift_cpu_tensors()  # type: ignore[attr-defined]
        torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]  # torch.tensor() copies where we see it
        try:
            yield _waits
        finally:
            torch._C._set_only_lift_cpu_tensors(before)  # type: ignore[attr-defined]
            _contents.clear()
