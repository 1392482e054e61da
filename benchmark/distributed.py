"""Several processes, by ``torchrun``: they start together, agree on what happens, and rank 0 alone speaks and writes.

One process needs none of this: every function then does the obvious thing without a look at ``torch.distributed``.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from benchmark.errors import BenchmarkError, PluginError, UnmetNeed, in_words

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: rank 0 works alone where it writes."""
GRACE = timedelta(minutes=5)
"""How long one that has failed waits for the others to come to the same place, before it takes itself to be the only
one, and ends the run."""
AGAIN = "what was finished is kept, and the same command, with any number of processes, does the rest"

Value = TypeVar("Value")
_KINDS = {kind.__name__: kind for kind in (BenchmarkError, PluginError, UnmetNeed)}
_control: Any = None  # on the CPU, apart from what trainings send

_apart = False  # whether this process does something that is not shared
_meetings = 0  # of all processes, so far


class Parted(KeyboardInterrupt):
    """The processes of a run are not together any more, so that it ends, as after Ctrl-C."""


def rank() -> int:
    """Index of this process; 0 prints and writes."""
    return dist.get_rank() if _together() else 0


def world() -> int:
    """Number of processes that share the work."""
    return dist.get_world_size() if _together() else 1


def local_rank() -> int:
    """Index of this process among those on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world() > 1 else 0


def _together() -> bool:
    return not _apart and dist.is_available() and dist.is_initialized()


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process is the only one: what it does, the others do not know of."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


@contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes that ``torchrun`` has started are together; none leaves before the others.

    Tensors travel by NCCL between GPUs and by gloo between CPUs, which also is how the processes agree.

    Raises:
        BenchmarkError: they do not find each other, or what was raised inside.
        Parted: one has ended.
    """
    global _control
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    if torch.cuda.is_available():  # else every process takes memory of the first GPU
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise BenchmarkError(
            f"The processes do not find each other ({in_words(error)}); start them by `torchrun --nproc-per-node N -m "
            f"benchmark`."
        ) from error
    _control = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        with _ending():
            try:
                yield
            except BenchmarkError as error:
                agreed(error)
                raise
            gathered(None)
            dist.destroy_process_group()
    finally:
        _control = None


@contextmanager
def _ending() -> Iterator[None]:
    """``torchrun`` ends all processes once one has ended: inside, this one says so and goes, wherever it waits."""
    bell, rope = socket.socketpair()
    rope.setblocking(False)
    speaks = rank() == 0

    def watch() -> None:
        while number := bell.recv(1):
            if number[0] == signal.SIGTERM:  # another signal rings here, too, and has its own handler
                if speaks:
                    os.write(2, f"error: The run was ended, or one of its processes was; {AGAIN}.\n".encode())
                os._exit(128 + signal.SIGTERM)

    # A handler in Python has to wait until what another process does not send has come; a thread has not.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None), signal.set_wakeup_fd(rope.fileno())
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before[1])
        signal.signal(signal.SIGTERM, before[0])
        rope.close()


@contextmanager
def reaching() -> Iterator[None]:
    """Inside, processes send each other something; that one of them is gone, becomes :class:`Parted`."""
    try:
        yield
    except RuntimeError as error:
        raise _parted() from error


def _parted(own: BaseException | None = None) -> Parted:
    """Say that the run ends, and why where this process knows; the command line says what of it is kept."""
    if own is not None:
        text = f"error: {in_words(own).rstrip('.')}, in process {rank()} alone."
    else:
        text = "error: Another process of this run has ended, or cannot be reached." if rank() == 0 else ""
    os.write(2, f"{text}\n".encode() if text else b"")  # also where this process is to be silent
    return Parted(AGAIN)


def gathered(value: Value) -> list[Value]:
    """What every process gives, in the order of the ranks, for all of them."""
    if world() == 1:
        return [value]
    found: list[Any] = [None] * world()
    with reaching():
        dist.all_gather_object(found, value, group=_control)
    return found


def collected(value: Value) -> list[Value]:
    """What every process gives, in the order of the ranks, for rank 0; the others get nothing."""
    if world() == 1:
        return [value]
    found: list[Any] = [None] * world() if rank() == 0 else []
    with reaching():
        dist.gather_object(value, found or None, dst=0, group=_control)
    return found


def shared(work: Callable[[], Value]) -> Value:
    """What rank 0 makes of something, for all processes: what is read from a disk, or decided by what lies there.

    Raises:
        BenchmarkError: it failed, then on all of them.
    """
    if world() == 1:
        return work()
    value: Any = None
    failure: BaseException | None = None
    if rank() == 0:
        try:
            value = work()
        except Exception as error:
            failure = error
    sent = [(value, _described(failure))]
    with reaching():
        dist.broadcast_object_list(sent, src=0, group=_control)
    if failure is not None:
        raise _marked(failure)
    value, description = sent[0]
    if description is not None:
        raise _rebuilt(description)
    return value


def everywhere(work: Callable[[], Value]) -> Value:
    """Something that every process does for itself, and that has failed for all where it fails for one.

    Raises:
        BenchmarkError: the process's own error, else that of another.
    """
    if world() == 1:
        return work()
    value: Any = None
    error: BaseException | None = None
    try:
        value = work()
    except BaseException as failure:
        error = failure
    if (failed := agreed(error)) is not None:
        raise failed
    return value


def agreed(error: BaseException | None) -> BaseException | None:
    """Whether something has failed anywhere: a process's own error, else the first one of another; None where nowhere.

    Every process calls it after the same piece of work.

    Raises:
        Parted: this process has failed and the others do not come here: they wait elsewhere for what it did not send.
        KeyboardInterrupt: the error is one.
    """
    if world() == 1 or getattr(error, "agreed", False):
        return error
    if isinstance(error, KeyboardInterrupt):
        raise error
    try:
        _meet(GRACE if error is not None else PATIENCE)
    except RuntimeError as parted:
        raise _parted(error) from parted
    others = [found for found in gathered(_described(error)) if found is not None]
    if error is not None:
        return _marked(error)
    return _rebuilt(others[0]) if others else None


def _meet(patience: timedelta) -> None:
    """Wait till all processes are here; gloo's own barriers keep to a time on rank 0 only.

    Raises:
        RuntimeError: one has not come in time.
    """
    global _meetings
    _meetings += 1
    store = dist.distributed_c10d._get_default_store()
    store.set(f"meeting/{_meetings}/{rank()}", "")
    store.wait([f"meeting/{_meetings}/{each}" for each in range(world())], patience)


def _described(error: BaseException | None) -> tuple[str, str] | None:
    if error is None:
        return None
    return (type(error).__name__ if type(error).__name__ in _KINDS else "PluginError"), in_words(error)


def _rebuilt(description: tuple[str, str]) -> BenchmarkError:
    kind, sentence = description
    return _marked(_KINDS[kind](sentence))


def _marked(error: Any) -> Any:
    """An error of which all processes know."""
    error.agreed = True
    return error


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Replace the gradients of an optimiser's parameters by their mean over all processes."""
    if world() == 1:
        return
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    with reaching():
        dist.all_reduce(flat)
    flat /= world()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
