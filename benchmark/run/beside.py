"""Work that a pass does beside the forwards: metrics, which need no device and let go of the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from torch import Tensor

from benchmark.data import Batch
from benchmark.errors import BenchmarkError, ProcessChanged
from benchmark.metrics import View
from benchmark.run.entry import Entry
from benchmark.run.scoring import BatchSize, Sent, drop, to_cpu, views

if TYPE_CHECKING:
    from benchmark.run.workshop import Workshop

Context = TypeVar("Context")
SHARED = ""
"""Name of the work that belongs to no method."""


class Beside(Generic[Context]):
    """Pieces of work in threads: those of one name one after the other, in order, at most one of them waiting.

    Without threads every piece is done at once, and what it raises comes out of :meth:`submit`.

    Args:
        threads: 0 does everything in between.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "beside") if threads else None
        self._pending: dict[str, tuple[Future, Context]] = {}

    def submit(self, name: str, work: Callable[[], None], context: Context) -> tuple[BaseException, Context] | None:
        """Have a piece of work done once the former one of that name is.

        Args:
            name: whose work it is.
            work: does it; must not read what changes later.
            context: comes back with what it raises.
        Returns:
            What the former piece of that name raised and its context; then this one is not done.
        """
        if self._pool is None:
            work()
            return None
        if failure := self._wait(name):
            return failure
        self._pending[name] = self._pool.submit(work), context
        return None

    def settle(self) -> Iterator[tuple[str, BaseException, Context]]:
        """Wait for everything; whose work raised, what, and its context."""
        for name in list(self._pending):
            if failure := self._wait(name):
                yield name, *failure

    def close(self) -> None:
        """End the threads; what waits is not begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _wait(self, name: str) -> tuple[BaseException, Context] | None:
        if name not in self._pending:
            return None
        future, context = self._pending[name]
        error = future.exception()  # a Ctrl-C while it waits leaves the piece where it is found again
        del self._pending[name]
        return None if error is None else (error, context)


class Spoiled(BenchmarkError):
    """What was counted last cannot be trusted: a plugin changed the process while others were measured beside it."""


class Counting:
    """What methods return on its way to the evaluators, beside the forwards; who fails there is left out.

    Args:
        workshop: says who fails.
        entries: the methods.
        size: of the batches.
        beside: does the work.
        dropped: is told the label of a method that has failed.
    """

    def __init__(
        self,
        workshop: Workshop,
        entries: Sequence[Entry],
        size: BatchSize,
        beside: Beside[tuple[str, ...]],
        dropped: Callable[[str], None],
    ) -> None:
        self.workshop, self.entries, self.size, self.beside, self._dropped = workshop, entries, size, beside, dropped
        self._spoilt = ""  # label of who changed the process beside others

    def before(self) -> None:
        """To be called before every turn of a method.

        Whoever changes a function of everybody's does it on the first batch, and nobody's metrics use it beside.
        """
        if self.size.cold:
            self.settle()

    def scored(
        self, entry: Entry, sent: Sent, scores: Tensor, update: Callable[[View], None], predicted: bool
    ) -> Callable[[], None]:
        """What gives an evaluator the scores of a batch once they are on the CPU.

        Args:
            entry: whose they are.
            sent: the batch.
            scores: (B, H, W), on the device.
            update: of the evaluator.
            predicted: whether it is to see the network's prediction, too.
        """
        if self.beside.threads and scores.device.type == "cpu":
            scores = scores.clone()  # the method may write into its own the next time
        batch, arriving, labels = sent.batch, to_cpu(scores), sent.labels
        predictions = sent.predictions if predicted else None

        def work() -> None:
            given = Batch(batch.ids, batch.images, labels())
            for view in views(given, arriving(), predictions and predictions()):
                update(view)

        def keep() -> None:
            if former := self.beside.submit(entry.label, work, batch.ids):
                error, images = former
                self.failed(entry, images, error)

        return keep

    def shared(self, sent: Sent, work: Callable[[], None]) -> Callable[[], None]:
        """What has something done with a batch that belongs to no method, and raises what the former one raised."""

        def keep() -> None:
            if former := self.beside.submit(SHARED, work, sent.batch.ids):
                raise former[0]

        return keep

    def settle(self) -> None:
        """Wait until everything is counted; whose scores could not be, is dropped."""
        for name, error, images in self.beside.settle():
            if name == SHARED:
                raise error
            self.failed(next(e for e in self.entries if e.label == name), images, error)

    def failed(self, entry: Entry | None, images: tuple[str, ...], error: BaseException) -> None:
        """Leave a method out; None stands for what belongs to nobody, and so to all."""
        if entry is None:
            raise error
        drop(self.workshop, entry, images, error)
        self._dropped(entry.label)
        if isinstance(error, ProcessChanged) and self.beside.threads and not self.size.cold:
            self._spoilt = entry.label

    def check(self) -> None:
        """Whether all that was counted can be trusted.

        Raises:
            Spoiled: it cannot.
        """
        if self._spoilt:
            raise Spoiled(
                f"{self._spoilt} did that while others were measured beside it, so that what was measured last "
                f"cannot be trusted; the same command with --workers 0 measures it again."
            )
