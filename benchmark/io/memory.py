"""What the C library does with memory that tensors have freed: kept for the next ones, as PyTorch does on a GPU."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

KEPT = {"MALLOC_MMAP_THRESHOLD_": (-3, 1 << 30), "MALLOC_TRIM_THRESHOLD_": (-1, -1)}
"""Variable of glibc's malloc -> number of the parameter for ``mallopt``, and bytes; -1 is no bound."""
_USUAL = {-3: 32 << 20, -1: 64 << 20}
"""To what glibc raises them by itself as large blocks are freed."""


def keep_memory(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Keep what is freed.

    Left alone, glibc gives every block of more than 32 MiB back to the system, and what lies free at the end of its
    heap, too. The system clears each page again when it is touched next, which is a quarter of a training step of
    fpn-tf_efficientnet_lite0 on a CPU, and more of its forward (`bench switches`). What is computed stays the same bit
    for bit. The process keeps about what it has held at most.

    Args:
        environment: what the user has set stays; processes that this one starts read the rest there.
    Returns:
        Whether that is done; elsewhere than on Linux with glibc there is nothing to do.
    """
    if environment.keys() & KEPT.keys() or "glibc.malloc" in environment.get("GLIBC_TUNABLES", ""):
        return False
    if not _set(dict(KEPT.values())):
        return False
    environment.update({variable: str(size) for variable, (_, size) in KEPT.items()})
    return True


def give_back() -> None:
    """Let the system have what is free now, so that what a process holds says something of it."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@contextmanager
def given_back() -> Iterator[bool]:
    """As if :func:`keep_memory` had not been called, to measure what it is worth.

    Yields:
        Whether it was, in this process or in that which started it; else nothing changes.
    """
    kept = all(os.environ.get(variable) == str(size) for variable, (_, size) in KEPT.items()) and _set(_USUAL)
    if kept:
        give_back()
    try:
        yield kept
    finally:
        if kept:
            _set(dict(KEPT.values()))


def _set(parameters: dict[int, int]) -> bool:
    libc = _glibc()
    return libc is not None and all([libc.mallopt(number, size) for number, size in parameters.items()])


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is one that knows these parameters by these numbers."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018
    except (AttributeError, OSError, TypeError):
        return None
    return libc
