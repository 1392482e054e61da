"""Time and memory of a piece of work."""

from __future__ import annotations

import contextlib
import gc
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch

from benchmark.io.memory import give_back


class CostMeter:
    """Seconds and largest memory of what happens inside ``with CostMeter(device) as meter:``.

    On CUDA the memory is that of the tensors, on the CPU that of the whole process. Where the kernel does not forget
    its high-water mark (it does on Linux), a later peak is no lower than an earlier one.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self.memory_gib = 0.0

    def __enter__(self) -> CostMeter:
        clear(self.device)
        forget_peak(self.device)
        self._began = now(self.device)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.seconds = now(self.device) - self._began
        self.memory_gib = peak_memory_mib(self.device) / 1024


class MemoryMeter:
    """Largest device memory of what happens inside ``with MemoryMeter(device) as meter:``, beyond what was there.

    What methods share (:meth:`Clock.shared`) is left out, so that it does not matter whose turn comes first. Of work on
    the CPU nothing is measured: the kernel keeps the peak of the process, which says nothing of one method.

    Attributes:
        mib: in MiB; None on the CPU.
    """

    _at_work: ClassVar[list[MemoryMeter]] = []

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.mib: float | None = None
        self._before = 0

    def __enter__(self) -> MemoryMeter:
        if self.device.type == "cuda":
            self._at_work.append(self)
            self._begin(0)
        return self

    def __exit__(self, *error: object) -> None:
        if self.device.type == "cuda":
            self._end()
            self._at_work.remove(self)

    @classmethod
    @contextmanager
    def paused(cls) -> Iterator[None]:
        """What happens inside, and what it leaves behind, is not part of the work that is being measured."""
        meter = cls._at_work[-1] if cls._at_work else None
        held = meter._end() if meter else 0
        try:
            yield
        finally:
            if meter:
                meter._begin(held)

    def _begin(self, held: int) -> None:
        """Bytes that the work holds already."""
        self._before = torch.cuda.memory_allocated(self.device) - held
        torch.cuda.reset_peak_memory_stats(self.device)

    def _end(self) -> int:
        peak = torch.cuda.max_memory_allocated(self.device) - self._before
        self.mib = max(self.mib or 0.0, peak / 2**20)
        return torch.cuda.memory_allocated(self.device) - self._before


class Clock:
    """Seconds spent in networks and in what all methods share, told apart from the methods' own."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._depth = 0
        self.seconds = 0.0
        self.waits = True
        """Whether what is queued on the device counts; where nobody reads the time, not waiting for it saves time."""

    def now(self) -> float:
        """Time in seconds, after everything queued on the device has finished."""
        return now(self._device) if self.waits else time.perf_counter()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Count what happens inside as shared work."""
        if self._depth:
            yield
            return
        self._depth += 1
        start = self.now()
        try:
            with MemoryMeter.paused():
                yield
        finally:
            self._depth -= 1
            self.seconds += self.now() - start


def now(device: torch.device) -> float:
    """Time in seconds, after everything queued on the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or its cause, says that memory, of the device or of the machine, does not suffice."""
    if error.__cause__ is not None and out_of_memory(error.__cause__):
        return True
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The CPU's allocator, that of pinned memory and CUDA's libraries have no exception of their own for it.
    words = ("can't allocate memory", "CUDA out of memory", "CUDA error: out of memory", "_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(each in str(error) for each in words)


def clear(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        give_back()


def peak_memory_mib(device: torch.device) -> float:
    """Largest memory in use so far: of the device on CUDA, of the process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    found = re.search(r"^VmHWM:\s*(\d+) kB$", _read("/proc/self/status"), re.MULTILINE)
    if found:
        return int(found[1]) / 2**10
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


def forget_peak(device: torch.device) -> None:
    """Let :func:`peak_memory_mib` begin anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # another system, or one that does not allow it
        Path("/proc/self/clear_refs").write_text("5")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
