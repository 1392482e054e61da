"""What is printed must not decide what is measured: a closed or full output, or one that knows no umlauts."""

from __future__ import annotations

import argparse
import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from shutil import get_terminal_size
from typing import Any, TextIO

PLAIN = {
    "–": "-",
    "−": "-",
    "±": "+-",
    "≈": "~",
    "×": "x",
    "“": '"',
    "”": '"',
    "…": "...",
    "°": " deg",
    "→": "->",
    "·": "-",
    "†": "+",
    "‡": "++",
}
"""What stands for a character that an output cannot show; for any other, a question mark."""


class Output:
    """A stream that is written to as long as it takes anything, and then swallows the rest.

    Args:
        stream: standard output or standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: OSError | None = None  # why nothing is written any more

    def write(self, text: str) -> int:
        """Write a text, or nothing once the stream has failed."""
        if self.lost is None:
            try:
                self.stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        if self.lost is None:
            try:
                self.stream.flush()
            except OSError as error:
                self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _give_up(self, error: OSError) -> None:
        self.lost = error
        # What is still in its buffer would fail once more when the interpreter ends.
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, self.stream.fileno())
        except (OSError, ValueError):
            pass
        finally:
            os.close(null)


@contextmanager
def lasting_output() -> Iterator[Output]:
    """Standard output and standard error, which inside never raise; gives the former."""
    codecs.register_error("benchmark.plain", _plain)
    # A process may be started without either; its number must not become that of a file of results.
    before = sys.stdout or open(os.devnull, "w"), sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="benchmark.plain")
    out, err = (Output(stream) for stream in before)
    sys.stdout, sys.stderr = out, err  # type: ignore[assignment]
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def answered(options: argparse.Namespace) -> Iterator[None]:
    """Print what a verb puts into `answer` of its arguments as JSON, where ``--json`` was given.

    Standard output then holds nothing else: what is printed inside goes to standard error. A mistake of the user, which
    raises, prints no answer.
    """
    options.answer = {}
    if not getattr(options, "json", False):
        yield
        return
    from benchmark.io.jsonfile import dumps

    with redirect_stdout(sys.stderr):
        yield
    print(dumps(options.answer), end="")


def say(text: str) -> None:
    """Print a line at once, also into a file or a pipe: minutes may pass before the next."""
    print(text, flush=True)


def line_width() -> int:
    """Characters that a line of a table may have: those of the terminal, from 80 to 120; 120 where there is none."""
    return min(120, max(80, get_terminal_size((120, 24)).columns))


def complaint(out: Output) -> str:
    """What a user must know of an output that failed; empty where it did not, or where its reader had seen enough."""
    if out.lost is None or out.lost.errno == errno.EPIPE:
        return ""
    return (
        f"Not all of the output could be written ({out.lost.strerror or out.lost}); what was measured is kept: "
        f"run the same command with its output elsewhere to see it."
    )


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end
