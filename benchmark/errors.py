"""The one exception for what a user can mend."""

import unicodedata
from pathlib import Path

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of control characters, halves of characters (bytes that are no UTF-8), ends of lines and paragraphs."""


class BenchmarkError(Exception):
    """Something a user can mend: one sentence that names the file or plugin and what to do about it.

    The command line prints it without a traceback and exits with code 2.
    """


def in_words(error: Exception) -> str:
    """The sentence of a BenchmarkError; of anything else, its kind and what it says."""
    return str(error) if isinstance(error, BenchmarkError) else f"{type(error).__name__}: {error}"


def interrupted(kept: int, total: int, what: str) -> KeyboardInterrupt:
    """Ctrl-C with the truth about what the same command will find."""
    if kept:
        return KeyboardInterrupt(f"the same command goes on where it stopped, after {kept} of {total} {what}")
    return KeyboardInterrupt(f"nothing of these {total} {what} was kept yet, the same command begins them again")


def printable(path: Path | str) -> str:
    """A path for a message: on one line and in UTF-8, what is neither being written as an escape."""
    return "".join(c if unicodedata.category(c) not in _UNPRINTABLE else ascii(c)[1:-1] for c in str(path))
