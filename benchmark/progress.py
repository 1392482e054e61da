"""What a user sees of a long computation: a bar on a terminal, a line per tenth in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from benchmark.distributed import rank
from benchmark.machine import Settings

Item = TypeVar("Item")


def say(text: str, settings: Settings) -> None:
    """A sentence beside the bars (to stderr: stdout belongs to results)."""
    if settings.progress and rank() == 0:
        tqdm.write(text, file=sys.stderr)


def counted(items: Iterable[Item], total: int, text: str, settings: Settings) -> Iterator[Item]:
    """Pass items on under a bar that vanishes; silent in a log."""
    shown = settings.progress and rank() == 0 and sys.stderr.isatty()
    return iter(tqdm(items, text, total, leave=False, disable=not shown, dynamic_ncols=True))


class Progress:
    """How far a training or an evaluation is, and how long it will still take.

    Args:
        title: what is done.
        start: steps (or images) done in earlier sessions.
        total: steps in all.
        settings: whether to show anything.
    """

    def __init__(self, title: str, start: int, total: int, settings: Settings) -> None:
        self._shown = settings.progress and rank() == 0
        self._terminal = self._shown and sys.stderr.isatty()
        self._title, self._start, self._total = title, start, total
        self._step, self._began = start, time.perf_counter()
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}"
        self._bar = tqdm(
            total=total, initial=start, desc=title, bar_format=form, disable=not self._terminal, dynamic_ncols=True
        )

    def update(self, step: int, text: str) -> None:
        """Show that `step` steps are done, and `text` beside it."""
        tenth = step * 10 // self._total > self._step * 10 // self._total
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(step - self._step)
        self._step = step
        if tenth and self._shown and not self._terminal:
            spent = time.perf_counter() - self._began
            left = spent / (step - self._start) * (self._total - step)
            print(
                ", ".join(
                    filter(None, (f"{self._title}: {100 * step // self._total} %", text, f"{duration(left)} left"))
                ),
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Leave the finished bar on the screen."""
        self._bar.close()


def duration(seconds: float) -> str:
    """ "42 s", "3 min", "2.5 h" or "120 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 3600:.0f} h"
