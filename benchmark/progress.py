"""What a user sees of a long computation: a bar on a terminal, a line per tenth in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from benchmark.distributed import rank
from benchmark.io.words import bytes_in_words, duration
from benchmark.machine import Machine

Item = TypeVar("Item")


def say(text: str, machine: Machine, always: bool = False) -> None:
    """A sentence beside the bars, `always` also without them (to stderr: stdout belongs to results)."""
    if (machine.progress or always) and rank() == 0:
        tqdm.write(text, file=sys.stderr)


def counted(items: Iterable[Item], total: int, text: str, machine: Machine | None = None) -> Iterator[Item]:
    """Pass items on under a bar that vanishes; silent in a log, and where a machine shows none."""
    shown = (machine is None or machine.progress) and rank() == 0 and sys.stderr.isatty()
    return iter(tqdm(items, text, total, leave=False, disable=not shown, dynamic_ncols=True))


class Progress:
    """How far a training or an evaluation is, and how long it will still take by the mean of the steps since it began
    or went on; used in a ``with`` statement, at whose end the bar stays as it is.

    Args:
        title: what is done; empty shows nothing.
        start: steps (or images) done in earlier sessions.
        total: steps in all.
        machine: whether to show anything.
    """

    def __init__(self, title: str, start: int, total: int, machine: Machine) -> None:
        self._shown = bool(title) and machine.progress and rank() == 0
        self._terminal = self._shown and sys.stderr.isatty()
        self._title, self._start, self._total = title, start, total
        self._step, self._began = start, time.perf_counter()
        self._bar = tqdm(
            total=total,
            initial=start,
            desc=title,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}",
            disable=not self._terminal,
            dynamic_ncols=True,
            smoothing=0,  # by the mean of all steps so far, as below: some of them are followed by a validation
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def update(self, step: int, text: str = "") -> None:
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
            text = f"{self._title}: {100 * self._done // self._total} % of {bytes_in_words(self._total)}"
            print(text, file=sys.stderr, flush=True)
