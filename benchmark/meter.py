"""How far a transfer of bytes is: a bar on a terminal, a line per tenth in a log."""

from __future__ import annotations

import sys

from tqdm import tqdm


class Meter:
    """Progress in bytes, on stderr.

    Args:
        title: what is transferred.
        start: bytes that were there before.
        total: bytes in all; 0 where nobody knows.
        shown: False shows nothing.
    """

    def __init__(self, title: str, start: int, total: int, shown: bool) -> None:
        terminal = shown and sys.stderr.isatty()
        self._title, self._done, self._total = title, start, total
        self._lines = shown and not terminal and total > 0
        self._bar = tqdm(
            desc=title,
            initial=start,
            total=total or None,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not terminal,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def add(self, count: int) -> None:
        """Count bytes that have just been written."""
        before, self._done = self._done, self._done + count
        self._bar.update(count)
        if self._lines and self._done * 10 // self._total > before * 10 // self._total:
            text = f"{self._title}: {100 * self._done // self._total} % of {in_words(self._total)}"
            print(text, file=sys.stderr, flush=True)


def in_words(count: int) -> str:
    """ "812 B", "37.8 MB" or "5.8 GB": powers of ten, as downloads are published."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
