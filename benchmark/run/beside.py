"""Work that a pass does beside the forwards: metrics, which need no device and let go of the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Context = TypeVar("Context")


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
