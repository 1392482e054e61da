"""Time that all methods share, told apart from their own."""

from __future__ import annotations

import time
from contextlib import contextmanager

import torch


class Clock:
    """Seconds spent in networks and in what all methods share, told apart from the methods' own."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._depth = 0
        self.seconds = 0.0

    def now(self) -> float:
        """Time in seconds, after everything queued on the device has finished."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def shared(self):
        """Count what happens inside as shared work."""
        if self._depth:
            yield
            return
        self._depth += 1
        start = self.now()
        try:
            yield
        finally:
            self._depth -= 1
            self.seconds += self.now() - start
