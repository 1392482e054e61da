"""Numbers, durations and sizes in words."""

from __future__ import annotations

from collections.abc import Sequence


def quantity(count: int, noun: str) -> str:
    """ "1 image", "3 images"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def some(names: Sequence[str], most: int = 3) -> str:
    """ "a, b, c and 4 more": the first so many names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def duration(seconds: float) -> str:
    """ "42 s", "3 min", "2.5 h" or "120 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 3600:.0f} h"


def bytes_in_words(count: int) -> str:
    """ "812 B", "37.8 MB" or "5.8 GB": powers of ten, as downloads are published."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
