"""Processes that render beside the one that wants the images: rendering is mostly Python's own work, of which the
threads of a process do one piece at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from . import scene

WORTH = 100
"""Images of which one process more saves more time than it takes to start, a second or two."""
MOST = 3
"""Helpers at most: each takes the memory of an imported PyTorch."""

Pixels = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Image (H, W, 3) and labels (H, W)."""


class Helpers:
    """Render what will be wanted in a given order, beginning with the last, while whoever wants it renders the first.

    They meet in the middle, wherever that is. A helper that cannot be started, or dies, leaves its images to the
    others. None outlives this process, whose end it sees as the end of its input.

    Args:
        split: "train", "val" or "test".
        size: (width, height) in pixels.
        indices: that will be asked for, each once.
        processes: number of helpers.
    """

    def __init__(self, split: str, size: tuple[int, int], indices: Sequence[int], processes: int) -> None:
        self._split, self._size = split, size
        self._left = deque(indices)
        self._taken: dict[int, Future[Pixels | None]] = {}  # by helpers; None where nothing came
        self._lock = threading.Lock()
        for _ in range(processes):
            threading.Thread(target=self._employ, name="renderer", daemon=True).start()

    def render(self, index: int) -> Pixels:
        """An image and its labels, from a helper that has begun with it, or else rendered here."""
        with self._lock:
            begun = self._taken.pop(index, None)
            if begun is None:
                with suppress(ValueError):
                    self._left.remove(index)
        made = begun.result() if begun else None
        return made or scene.render(self._split, index, self._size)

    def _next(self) -> tuple[int, Future[Pixels | None]] | None:
        with self._lock:
            if not self._left:
                return None
            index = self._left.pop()
            self._taken[index] = Future()
            return index, self._taken[index]

    def _employ(self) -> None:
        """Start a helper and have it render until nothing is left."""
        width, height = self._size
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        command = [sys.executable or "", "-c", code, self._split, str(width), str(height)]
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        try:  # in a session of its own, for Ctrl-C is for this process
            helper = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=none, start_new_session=True)
        except OSError:
            return
        assert helper.stdin is not None and helper.stdout is not None
        with helper, suppress(OSError):
            if helper.stdout.read(1):  # it is ready; until then the images are anybody's
                while todo := self._next():
                    index, made = todo
                    try:
                        helper.stdin.write(f"{index}\n".encode())
                        helper.stdin.flush()
                        data = np.frombuffer(helper.stdout.read(4 * width * height), np.uint8)
                        canvas = data.reshape(height, width, 4)
                        made.set_result((np.ascontiguousarray(canvas[..., :3]), canvas[..., 3].copy()))
                    except (OSError, ValueError):
                        made.set_result(None)
                        return


def serve() -> None:
    """What a helper does: read indices, write images."""
    split, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    answers.write(b"!")
    answers.flush()
    with suppress(BrokenPipeError):
        for line in sys.stdin:
            image, labels = scene.render(split, int(line), (width, height))
            answers.write(np.dstack([image, labels]).tobytes())
            answers.flush()
