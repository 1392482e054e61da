"""The one exception for what a user can mend, and any other exception in one sentence."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

LONGEST = 300
"""Characters of an exception's text that a sentence quotes."""
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of control characters, halves of characters (bytes that are no UTF-8), ends of lines and paragraphs."""
HOME = os.path.dirname(os.path.abspath(__file__))
"""Where the harness lies, whose frames are not the author's."""
LIBRARIES = tuple(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))


class BenchmarkError(Exception):
    """Something a user can mend: one sentence that names the file or plugin and what to do about it.

    The command line prints it without a traceback and exits with code 2.
    """


class PluginError(BenchmarkError):
    """A plugin does not work, through a fault of its own: it is left out, and the others go on without it."""


class ProcessChanged(PluginError):
    """A plugin has changed what holds for the whole process. It was put back; who ran beside it may have used it."""


class UnmetNeed(BenchmarkError):
    """What a method needs is not there: weights on this machine, a layer of the network, labels of the images.

    Where only ``--methods all`` named the method, it is left out with this sentence, and nothing has failed.
    """


def in_words(error: BaseException) -> str:
    """An exception in one sentence: that of a BenchmarkError as it is, of any other its kind, its text and its place.

    The place is where the author of a plugin has to look, file and line of every frame of theirs. A plugin may raise
    whatever it likes, ``SystemExit`` included.

    Raises:
        KeyboardInterrupt: the error is one; that is the user's, and nobody else's failure.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, BenchmarkError):
        return str(error)
    try:
        text = " ".join(str(error).split())
    except Exception:  # the author's __str__ has a fault of its own
        text = "its text cannot be printed"
    if len(text) > LONGEST:
        text = text[:LONGEST].rstrip() + "…"
    found = f"{type(error).__name__}{': ' if text else ''}{text}"
    return f"{found} ({frames})" if (frames := _frames(error)) else found


def _frames(error: BaseException) -> str:
    """The frames of the plugin that raised, the outermost first: ``margin.py, line 12, in score``."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    theirs = [f for f in frames if not _is_ours(f.filename) and not _is_runtime(f.filename)]
    # A plugin that is installed lies among the libraries that it calls.
    first = next((f for f in theirs if not _is_in(f.filename, LIBRARIES)), next(iter(theirs), None))
    if first is None:
        return ""
    own = [f for f in theirs if _is_in(f.filename, (os.path.dirname(first.filename),))]
    words, before = [], ""
    for frame in own if len(own) <= 4 else [*own[:2], *own[-2:]]:
        place = f"line {frame.lineno}, in {frame.name}"
        words.append(place if frame.filename == before else f"{_shown(frame.filename)}, {place}")
        before = frame.filename
    return "; ".join(words)


def plugin_line(within: FrameType) -> str:
    """The line of a plugin that is being executed, ``margin.py, line 12, in score``; empty where none is.

    Args:
        within: a frame of ours, inside which the plugin was called.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame not in (None, within) and (_is_ours(name := frame.f_code.co_filename) or _is_runtime(name)):
        frame = frame.f_back
    if frame in (None, within):
        return ""
    return f"{_shown(frame.f_code.co_filename)}, line {frame.f_lineno}, in {frame.f_code.co_name}"


def _is_ours(file: str) -> bool:
    """Whether a file is part of the harness; the plugins that come along are below it or beside it."""
    inside = _is_in(file, (HOME,))
    return inside and os.path.relpath(file, HOME).split(os.sep)[0] not in ("methods", "datasets")


def _is_runtime(file: str) -> bool:
    """Whether a file is of Python or of PyTorch, of which a plugin's author need not see the inside."""
    if _is_in(file, LIBRARIES):
        return _is_in(file, [os.path.join(folder, "torch") for folder in LIBRARIES])
    return _is_in(file, (sysconfig.get_path("stdlib"),))


def _is_in(file: str, folders: Sequence[str]) -> bool:
    return any(file.startswith(folder + os.sep) for folder in folders)


def _shown(file: str) -> str:
    """A path as short as it is clear: relative to the working directory where it lies below it."""
    try:
        return os.path.relpath(file) if _is_in(os.path.abspath(file), (os.getcwd(),)) else file
    except OSError:  # the working directory is gone
        return file


def interrupted(kept: int, total: int, what: str) -> KeyboardInterrupt:
    """Ctrl-C with the truth about what the same command will find."""
    if kept:
        return KeyboardInterrupt(f"the same command goes on where it stopped, after {kept} of {total} {what}")
    return KeyboardInterrupt(f"nothing of these {total} {what} was kept yet, the same command begins them again")


def printable(path: Path | str) -> str:
    """A path for a message: on one line and in UTF-8, what is neither being written as an escape."""
    text = str(path)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in _UNPRINTABLE else ascii(c)[1:-1] for c in text)
