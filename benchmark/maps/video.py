"""Videos: frames read one after the other, and pictures written as one. A frame or two are in memory at a time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType

import cv2
import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.io.walk import require_file

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ts")
"""Suffixes of videos."""


class Video:
    """A video file, decoded by OpenCV (FFmpeg), upright as the file says.

    Opening it counts the frames by passing over all of them, since what files say of their number is often wrong.

    Args:
        path: the file.
        every: only the frames 0, `every`, 2 `every`, ... are wanted.
    Raises:
        BenchmarkError: it cannot be decoded or holds no frame.
    """

    def __init__(self, path: Path, every: int = 1) -> None:
        self.path, self.every = path, every
        self._lock = Lock()
        self._capture = self._open()
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or 25.0
        """Frames a second."""
        count = 0
        while self._capture.grab():
            count += 1
        self._capture.release()
        if not count:
            raise BenchmarkError(f"{path} holds no frame that OpenCV can decode; convert it, for instance to .mp4.")
        self.numbers = range(0, count, every)
        """Of the frames that are wanted."""
        self._next = count  # the frame that the capture would read now; past the end, so that it begins anew

    def frame(self, number: int) -> np.ndarray:
        """A frame as uint8 RGB (H, W, 3). Quick in ascending order; going back begins the file anew.

        Raises:
            BenchmarkError: it cannot be decoded.
        """
        with self._lock:
            if number < self._next:
                self._capture.release()
                self._capture, self._next = self._open(), 0
            while self._next < number and self._capture.grab():
                self._next += 1
            good, pixels = self._capture.read() if self._next == number else (False, None)
            if not good:
                raise BenchmarkError(f"{self.path}: frame {number} cannot be decoded; the file was changed or damaged.")
            self._next += 1
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def _open(self) -> cv2.VideoCapture:
        try:
            require_file(self.path)
        except OSError as error:
            raise BenchmarkError(f"{self.path} cannot be read ({error.strerror}); put it back.") from error
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise BenchmarkError(f"{self.path} is no video that OpenCV can decode; convert it, for instance to .mp4.")
        return capture


class VideoFile:
    """An .mp4 that is written picture by picture; it comes into being whole or not at all.

    Args:
        path: ending in .mp4.
        fps: pictures a second.
    Raises:
        BenchmarkError: it cannot be written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self._fps = path, fps
        self._part = path.with_name(f".{path.stem}.part.mp4")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if kind is None:
            os.replace(self._part, self.path)
        else:
            with suppress(OSError):
                self._part.unlink()

    def add(self, picture: np.ndarray) -> None:
        """Append uint8 RGB (H, W, 3), all of one size."""
        height, width = picture.shape[:2]
        if self._writer is None:
            self._size = width + width % 2, height + height % 2  # which the encoder halves for the colours
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BenchmarkError(f"Cannot write {self.path}: {error.strerror}.") from error
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._part), cv2.CAP_FFMPEG, code, self._fps, self._size)
            if not self._writer.isOpened():
                raise BenchmarkError(f"Cannot write {self.path}: OpenCV has no encoder here, or the disk is full.")
        even = np.pad(picture, ((0, self._size[1] - height), (0, self._size[0] - width), (0, 0)), mode="edge")
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
