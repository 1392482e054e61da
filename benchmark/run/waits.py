"""What a method asks of the device in the midst of its work: a GPU has nothing to do until the processor goes on."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.errors import plugin_line

READ = frozenset(
    {"_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "_linalg_check_errors"}
    | {"_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"}
)
"""Operations of ATen whose result, or its shape, a GPU has to tell the processor before it goes on."""
INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
_COPIES = frozenset({"cpu", "tolist"})
"""Methods of a tensor that copy it to the CPU, where it is not there."""


def read_by(operation: str, tensors: Any, options: Any) -> Iterator[str]:
    """What of an operation the processor waits for, in words.

    Args:
        operation: its name in ATen.
        tensors: its arguments.
        options: its keywords.
    """
    if operation in READ or (operation == "repeat_interleave" and options.get("output_size") is None):
        yield operation
    if operation in INDEXING:
        for index in (each for each in tensors[1] if each is not None):
            if index.dtype in (torch.bool, torch.uint8):
                yield f"{operation} by a mask"


class Waits:
    """Where a plugin reads from the device inside ``with Waits() as waits:``, whichever device that is.

    On a CPU, what it keeps there on purpose is counted as well.

    Attributes:
        lines: line of a plugin -> how often.
    """

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()
        self._modes = _Operations(self), _Methods(self)

    def __enter__(self) -> Waits:
        self._within = sys._getframe(1)
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def note(self) -> None:
        """Something is read here."""
        if line := plugin_line(self._within):
            self.lines[line] += 1


class _Operations(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for _ in read_by(function.overloadpacket.__name__, args, kwargs or {}):
            self._waits.note()
        return function(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in _COPIES and args and isinstance(args[0], Tensor):
            self._waits.note()
        return function(*args, **(kwargs or {}))
