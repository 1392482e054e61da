"""A pass over the images by several processes, which take turns at its batches and measure what one would.

An evaluator adds images up in any order with the same result bit for bit, and a batch consists of the images that it
would have in one process. So each process evaluates its own batches, and now and then all meet: rank 0 adds up what the
others have, and keeps the state, which is that of the first so many images whoever evaluated them. It knows nothing of
the number of processes, and a run with another number goes on from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.data import chained_digest
from benchmark.distributed import agreed, collected, gathered, rank, shared, world
from benchmark.metrics.evaluator import Evaluator
from benchmark.network import NetworkSpec
from benchmark.run.entry import Entry
from benchmark.run.tally import COUNTS, Tally
from benchmark.run.workshop import Workshop

Turns = tuple[int, int]
"""(rank, processes), as of :func:`benchmark.training.native_batches`."""
State = tuple[type[Evaluator[Any]], Mapping[str, Any]]
"""An evaluator on its way to another process."""


def sent(evaluator: Evaluator[Any]) -> State:
    """What another process makes the same evaluator of, by :func:`received`."""
    return type(evaluator), evaluator.state()


def received(state: State) -> Evaluator[Any]:
    """The inverse of :func:`sent`."""
    kind, content = state
    return kind.from_state(content)


def shared_pass(
    workshop: Workshop,
    entries: Sequence[Entry],
    tally: Tally,
    images: int,
    batch: int,
    evaluated: Callable[[Tally, int, Turns], None],
    keep: Callable[[], None],
    every: float,
) -> None:
    """Evaluate all images that are left; then rank 0's tally is that of all, and a method has failed for all or none.

    Args:
        workshop: says what fails.
        entries: the methods.
        tally: on rank 0 what was gathered so far; elsewhere one that has seen no image and never does, with the same
            `done`.
        images: number of all images.
        batch: as many of them are one process's turn.
        evaluated: evaluates this process's batches of those from ``tally.done`` up to an image, into a part.
        keep: writes rank 0's state, when all meet.
        every: about so many seconds apart.
    Raises:
        BenchmarkError: an image cannot be read, by whichever process; what came after the last meeting is lost.
    """
    rounds = 1
    while tally.done < images and tally.methods:
        stop = min(images, tally.done + rounds * world() * batch)
        part = tally.part()
        began, failure = time.monotonic(), None
        try:
            evaluated(part, stop, (rank(), world()))
        except Exception as error:
            failure = error
        if (failed := agreed(failure)) is not None:
            raise failed
        agree_on_failures(workshop, entries, part.dropped)
        for entry in entries:
            if entry.error:
                tally.drop(entry.label)
        _add(tally, collected(_Share.of(part, tally)), batch)
        tally.batch_size = part.batch_size
        tally.done = stop
        if stop < images and tally.methods:
            shared(keep)
            seconds = (time.monotonic() - began) / rounds
            rounds = shared(lambda each=seconds: max(1, int(every / max(each, 1e-3))))
    _agree_on_memory(workshop, entries)


def agree_on_failures(workshop: Workshop, entries: Sequence[Entry], places: Mapping[str, int]) -> None:
    """A method that has failed anywhere has failed everywhere, with the sentence of the first image.

    Args:
        workshop: says it.
        entries: the methods.
        places: label -> where in its share of the images this process has met a failure.
    """
    own = {e.label: (places.get(e.label, 0), rank(), e.error, e.mendable) for e in entries if e.error}
    everybody = gathered(own)
    for entry in entries:
        if found := [each[entry.label] for each in everybody if entry.label in each]:
            silent = not entry.error
            *_, entry.error, entry.mendable = min(found)
            if silent:
                workshop.say(f"{entry.label}: {entry.error}")


def add_up(evaluators: Mapping[str, Evaluator[Any]]) -> None:
    """Give rank 0 what the other processes' evaluators of the same names have added."""
    if world() == 1:
        return
    for others in collected({name: sent(each) for name, each in evaluators.items()})[1:]:
        for name, state in others.items():
            evaluators[name].merge(received(state))


@dataclass(frozen=True)
class _Share:
    """What a process has gathered since the last meeting, on its way to rank 0."""

    evaluators: Mapping[str, State]
    counts: Mapping[str, int]
    seconds: Mapping[str, float]
    digests: Sequence[str] = field(default_factory=list)

    @classmethod
    def of(cls, part: Tally, tally: Tally) -> _Share:
        alive = tally.evaluators()
        evaluators = {name: sent(each) for name, each in part.evaluators().items() if name in alive}
        counts = {name: getattr(part, name) for name in COUNTS if name != "done"}
        return cls(evaluators, counts, part.seconds, part.digests or [])


def _add(tally: Tally, shares: Sequence[_Share], batch: int) -> None:
    """Add up what all processes have, on rank 0."""
    if rank() > 0:
        return
    for share in shares:
        for name, evaluator in tally.evaluators().items():
            evaluator.merge(received(share.evaluators[name]))
        for name, count in share.counts.items():
            setattr(tally, name, getattr(tally, name) + count)
        for name, seconds in share.seconds.items():
            tally.seconds[name] = tally.seconds.get(name, 0.0) + seconds
    for first in range(0, max(len(share.digests) for share in shares), batch):
        for share in shares:
            for digest in share.digests[first : first + batch]:
                tally.seen = chained_digest(tally.seen, digest)


def _agree_on_memory(workshop: Workshop, entries: Sequence[Entry]) -> None:
    """The largest memory on any GPU."""
    pool = workshop.pool
    own: tuple[dict[str, float], dict[NetworkSpec, float]]
    own = {e.label: e.memory_mib for e in entries if e.memory_mib is not None}, pool.memory_mib
    for methods, networks in gathered(own):
        for entry in entries:
            if entry.label in methods:
                entry.memory_mib = max(entry.memory_mib or 0.0, methods[entry.label])
        for spec, mib in networks.items():
            pool.memory_mib[spec] = max(pool.memory_mib.get(spec, 0.0), mib)
