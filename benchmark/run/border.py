"""The border between a plugin and everybody else: what runs behind it leaves no trace but what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmark.errors import PluginError
from benchmark.isolation.settings import settings_kept
from benchmark.pool import Networks, Pool


@contextmanager
def border(
    pool: Pool,
    what: str,
    networks: Callable[[], Iterable[Networks | None]],
    copies: Sequence[tuple[Tensor, Tensor]] = (),
) -> Iterator[None]:
    """Code of a plugin runs inside; whatever it changes that others are measured on is put back, and it is named.

    That is what is set for the whole process (:data:`benchmark.isolation.settings.SETTINGS`), the modules of the
    networks that it has had in hand, the networks' outputs, and the batch. Its own state is its own affair.

    Args:
        pool: of all methods.
        what: runs inside, for the sentence.
        networks: gives those of the methods whose code it is, which may have come to them inside.
        copies: pairs of a tensor of the batch that it is given, which the next method is given, too, and the original.
    Raises:
        PluginError: something was changed. What is raised inside comes first.
    """
    try:
        with settings_kept(what):
            yield
    except BaseException:
        _undo(pool, networks(), copies)
        raise
    if changed := _undo(pool, networks(), copies):
        raise PluginError(
            f"{what} changes {' and '.join(changed)}, which all methods share; let it change a copy of its own."
        )


def _undo(pool: Pool, networks: Iterable[Networks | None], copies: Sequence[tuple[Tensor, Tensor]]) -> list[str]:
    changed = pool.undo([handle for each in networks if each for handle in each.values()])
    written = [(given, original) for given, original in copies if not torch.equal(given, original)]
    for given, original in written:
        given.copy_(original)
        pool.forget()
    return [*changed, "the images or labels of the batch"] if written else changed
