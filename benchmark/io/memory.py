"""Memory of the machine: how much is free, and that what tensors have freed is kept for the next ones.

The latter is what PyTorch does on a GPU, and what the C library can be told to do.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

KEPT = {"MALLOC_MMAP_THRESHOLD_": (-3, 1 << 30), "MALLOC_TRIM_THRESHOLD_": (-1, -1)}
"""Variable of glibc's malloc -> number of the parameter for ``mallopt``, and bytes; -1 is no bound."""
_USUAL = {-3: 32 << 20, -1: 64 << 20}
"""To what glibc raises them by itself as large blocks are freed."""


GROUPS = {
    "": ("memory.max", "memory.current"),
    "memory": ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
}
"""Controller of a line of ``/proc/self/cgroup``, none in version 2 -> files of a group's limit and of what it uses."""


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take, by the machine and by the groups that a container or a batch job is in.

    What a group has read of files counts as free, since the kernel drops it first.

    Args:
        root: of the file system.
    Returns:
        None where nothing says it, on other systems than Linux.
    """
    found = [1024 * int(size) for size in re.findall(r"^MemAvailable: +(\d+) kB$", _text(root / "proc/meminfo"), re.M)]
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in GROUPS.keys() & {*controllers.split(",")}:
            limit, used = (root / "sys/fs/cgroup" / name for name in GROUPS[controller])
            place = Path(path.strip("/"))
            # In a container, the path may be one of the host, and its own group lies at the top.
            for group in (place, *place.parents):
                most, now = _text(limit.parent / group / limit.name), _text(used.parent / group / used.name)
                if most.strip().isdecimal() and now.strip().isdecimal():
                    stat = _text(limit.parent / group / "memory.stat")
                    files = re.search(r"^(?:total_)?inactive_file (\d+)$", stat, re.M)
                    found.append(int(most) - int(now) + (int(files[1]) if files else 0))
    return max(0, min(found)) if found else None


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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
