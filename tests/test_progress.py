"""How long something still takes: said alike on a terminal and in a log, whatever single steps took."""

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from benchmark.machine import Machine
from benchmark.progress import Progress

CPU = Machine(torch.device("cpu"))


class Terminal(io.StringIO):
    """One that takes what is written for a person's."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where the test says so."""
    passed = SimpleNamespace(seconds=1000.0)
    for name in ("perf_counter", "time"):
        monkeypatch.setattr(time, name, lambda: passed.seconds)
    monkeypatch.setattr("tqdm.std.time", lambda: passed.seconds)
    return passed


def left(output: str) -> list[float]:
    """Seconds that each line, or each state of a bar, says are left."""
    bars = [60 * int(minutes) + int(seconds) for minutes, seconds in re.findall(r"(\d+):(\d\d) left", output)]
    return bars or [float(seconds) for seconds in re.findall(r"(\d+) s left", output)]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["log", "terminal"])
@pytest.mark.parametrize("start", [0, 60], ids=["from the start", "resumed"])
def test_what_is_left_is_by_the_mean_of_this_sessions_steps(clock, monkeypatch, stream, start):
    """Steps of 0.5 s, every fifth with a validation of 2.5 s more: a second on average."""
    written = stream()
    monkeypatch.setattr(sys, "stderr", written)
    with Progress("training", start, 100, CPU) as progress:
        for step in range(start + 1, 91):
            clock.seconds += 3.0 if step % 5 == 0 else 0.5
            progress.update(step)
        assert left(written.getvalue())[-1] == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["log", "terminal"])
def test_what_has_no_title_is_not_shown(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", written := stream())
    with Progress("", 0, 2, CPU) as progress:
        progress.update(1)
        progress.update(2)
    assert written.getvalue() == ""
