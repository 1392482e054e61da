"""Durations and sizes in words."""

from __future__ import annotations


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
