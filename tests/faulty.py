"""Faults as data: what is broken, which command meets it, and the one sentence that must come of it.

A test of a fault is a line in a list of ``tests/faults/test_*.py``:

    FAULTS = [
        Fault("a truncated image", lambda bench: cut(bench.data / "a.png"), RUN, r"a\\.png cannot be decoded"),
    ]

    @pytest.mark.parametrize("fault", FAULTS, ids=str)
    def test_survived(bench, fault):
        fault.meet(bench)

To add one: find the list whose kind it is (inputs, names, command line, json, pipes, plugins, records, sinks, source,
unfinished, weights; ``roads.py`` lays out a folder set and its score maps, ``harness.py`` a rendered town), break one
thing in ``arrange``, and write down the sentence that you would want to read. Where the right answer is a number,
``code`` is 0 and ``and_then`` holds the number against one that comes from elsewhere.

A library call that must be refused is a :class:`Refusal` in a list of its own, met in the same way without a bench.
"""

from __future__ import annotations

import re
import resource
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from harness import Bench

from benchmark.errors import BenchmarkError


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        title: what is broken, in a few words.
        arrange: breaks it, given the bench (:class:`harness.Bench`); what it returns replaces the command's last word.
        line: verb and arguments, as given to ``Bench.arguments``; "{}" stands for the bench's folder.
        says: regular expression that the messages on stderr or stdout must match.
        code: exit code; 2 is "the user has to mend something", 1 "a method failed and the others finished".
        and_then: further assertions, given the bench afterwards.
        within: makes what the command runs in, :func:`full_disk` for instance.
    """

    title: str
    arrange: Callable[[Bench], Any]
    line: Sequence[str]
    says: str
    code: int = 2
    and_then: Callable[[Bench], None] | None = None
    within: Callable[[], AbstractContextManager[Any]] = nullcontext

    def __str__(self) -> str:
        return self.title

    def meet(self, bench: Bench) -> None:
        """Break it, run the command, and hold what came of it against what must."""
        made = self.arrange(bench)
        line = [word.replace("{}", str(bench.folder)) for word in self.line]
        line = [*line[:-1], str(made)] if made is not None else line
        with self.within():
            try:
                code = bench(*line)
            except SystemExit as stop:  # argparse
                code = stop.code
        said = bench.out + bench.err
        assert "Traceback" not in said, said
        assert re.search(self.says, said), said
        assert code == self.code, said
        if self.code == 2:
            errors = [text for text in bench.err.splitlines() if text.startswith("error: ")]
            assert len(errors) <= 1, "one sentence, not several"
        if self.and_then is not None:
            self.and_then(bench)


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Inside, no file can become larger than `room` bytes: writing ends as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def mend(bench: Bench) -> None:
    """Type the command that the last message names between backticks; it must do what it says."""
    (line,) = set(re.findall(r"`python -m benchmark ([^`]*)`", bench.err + bench.out))
    assert bench.type(*shlex.split(line)) == 0, bench.err


@dataclass(frozen=True)
class Refusal:
    """A call of the library that must end in one sentence.

    Attributes:
        title: what is wrong, in a few words.
        call: the call.
        says: regular expression that the sentence must match.
    """

    title: str
    call: Callable[[], Any]
    says: str

    def __str__(self) -> str:
        return self.title

    def meet(self) -> None:
        """Make the call and hold what came of it against what must."""
        with pytest.raises(BenchmarkError, match=self.says) as error:
            self.call()
        assert "\n" not in str(error.value), "one sentence"
