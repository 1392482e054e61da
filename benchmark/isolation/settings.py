"""What is set for the whole process, and so for everybody's numbers: a plugin leaves it as it was."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.utils._device

from benchmark.errors import ProcessChanged
from benchmark.isolation import functions

GLOBAL_HOOKS = tuple(
    hooks for name, hooks in vars(torch.nn.modules.module).items() if name.startswith("_global_") and "hooks" in name
)


@dataclass(frozen=True)
class Setting:
    """One setting of the process.

    Attributes:
        name: as a sentence has it.
        get: its value, cheaply.
        put: sets it.
        imported: libraries set it when they are imported, so that an import is put back without a word.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]
    imported: bool = False


def _attribute(owner: Any, name: str, words: str) -> Setting:
    return Setting(words, lambda: _read(lambda: getattr(owner, name)), lambda value: setattr(owner, name, value))


def _read(get: Callable[[], Any]) -> Any:
    """A value that torch refuses to say while its two ways to set TF32 contradict each other; that is a change, too."""
    try:
        return get()
    except RuntimeError as error:
        return type(error)


def _precisions() -> tuple[Setting, ...]:
    """TF32, old spelling and new; the new one, which not every torch has, must be put back first."""
    backends, words = torch.backends, "torch's precision of float32 products"
    new = (backends, backends.cuda.matmul, backends.cudnn, getattr(backends.cudnn, "conv", None))
    return (
        *(_attribute(owner, "fp32_precision", words) for owner in new if hasattr(owner, "fp32_precision")),
        Setting(words, lambda: _read(torch.get_float32_matmul_precision), torch.set_float32_matmul_precision),
        _attribute(backends.cuda.matmul, "allow_tf32", words),
        _attribute(backends.cudnn, "allow_tf32", words),
    )


def _autocast() -> tuple[bool, bool]:
    return torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def _set_autocast(value: tuple[bool, bool]) -> None:
    for device, enabled in zip(("cpu", "cuda"), value, strict=True):
        torch.set_autocast_enabled(device, enabled)


def _deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _flushes_denormals() -> bool:
    return _DENORMAL * 1.0 == 0.0


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def _environment(value: dict[Any, Any]) -> None:
    for name in list(os.environ):
        if os.environ.encodekey(name) not in value:
            del os.environ[name]
    for name, text in value.items():
        os.environ[os.environ.decodekey(name)] = os.environ.decodevalue(text)


def _interrupt_handler(value: Any) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, value)


def _hooks(value: tuple[dict, ...]) -> None:
    for hooks, before in zip(GLOBAL_HOOKS, value, strict=True):
        hooks.clear()
        hooks.update(before)


def _modes() -> tuple[int, int]:
    """How many modes of torch see every function of it; the default device is one of them, and has its own line."""
    of_functions = torch._C._len_torch_function_stack() - (torch.utils._device.CURRENT_DEVICE is not None)
    return of_functions, torch._C._len_torch_dispatch_stack()


def _leave_modes(value: tuple[int, int]) -> None:
    while torch._C._len_torch_function_stack() > value[0]:
        torch._C._pop_torch_function_stack()
    while torch._C._len_torch_dispatch_stack() > value[1]:
        torch._C._pop_torch_dispatch_stack(None)


def _stream(name: str, number: int, words: str) -> Setting:
    """Standard output or error, which Python keeps open below one that was closed."""

    def put(value: tuple[Any, bool]) -> None:
        setattr(sys, name, value[0])
        if not value[1] and getattr(value[0], "closed", False):
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False))

    return Setting(words, lambda: (getattr(sys, name), getattr(getattr(sys, name), "closed", False)), put)


_ENVIRONMENT: dict[Any, Any] = os.environ._data  # as the system has it; decoding takes a hundred times as long
_DENORMAL = sys.float_info.min / 4  # the processor's mode is that of every float, Python's own among them

SETTINGS = (
    Setting("torch's modes", _modes, _leave_modes),  # first: such a mode may make the questions below it fail
    Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("torch's default device", torch.get_default_device, lambda value: torch.set_default_device(None)),
    Setting(
        "torch's detection of anomalies",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda value: torch.autograd.set_detect_anomaly(*value),
    ),
    Setting("torch's grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "torch's deterministic algorithms",
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        _deterministic,
    ),
    Setting("torch's treatment of denormal numbers", _flushes_denormals, torch.set_flush_denormal),
    Setting("torch's autocast", _autocast, _set_autocast),
    *_precisions(),
    _attribute(torch.backends.cudnn, "enabled", "whether cuDNN is used"),
    _attribute(torch.backends.cudnn, "benchmark", "cuDNN's benchmark mode"),
    _attribute(torch.backends.cudnn, "deterministic", "cuDNN's deterministic mode"),
    Setting("hooks on every torch module", lambda: tuple(map(dict, GLOBAL_HOOKS)), _hooks),
    Setting("numpy's error handling", np.geterr, lambda value: np.seterr(**value)),
    Setting("OpenCV's number of threads", cv2.getNumThreads, cv2.setNumThreads, imported=True),
    Setting("whether OpenCV is optimised", cv2.useOptimized, cv2.setUseOptimized, imported=True),
    Setting("the environment variables", lambda: dict(_ENVIRONMENT), _environment, imported=True),
    Setting("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit, imported=True),
    Setting("the working directory", _working_directory, lambda value: value and os.chdir(value)),
    Setting("the handler of Ctrl-C", lambda: signal.getsignal(signal.SIGINT), _interrupt_handler),
    Setting("Python's tracing", sys.gettrace, sys.settrace),
    Setting("Python's profiling", sys.getprofile, sys.setprofile),
    _stream("stdout", 1, "standard output"),
    _stream("stderr", 2, "standard error"),
)
"""What no plugin may leave changed. One more is one more line."""
COMPILER = "torch._dynamo"
"""Module that torch imports late, with its first optimiser."""


@contextmanager
def settings_kept(what: str, importing: bool = False, again: bool = False) -> Iterator[None]:
    """Whatever the code inside sets for the whole process is set back afterwards.

    So are the functions of torch and numpy (:mod:`benchmark.isolation.functions`).

    Random numbers may be drawn: the generators of torch (on the CPU), numpy and Python, and the warning filters, go
    back to where they were without a word, so that nobody's numbers depend on who was here before.

    Args:
        what: runs inside, for the sentence.
        importing: it is an import, which may bring other people's libraries along; so is what brings torch's compiler.
        again: nothing but plugins has run since it ran last, so that the functions are those that were left then.
    Raises:
        ProcessChanged: one of :data:`SETTINGS` or a function was changed; the sentence names it. An exception from
            inside comes first.
    """
    if not again:
        functions.note()
    before, compiler = [setting.get() for setting in SETTINGS], COMPILER in sys.modules
    drawn = torch.get_rng_state(), np.random.get_state(), random.getstate()
    filters = warnings.filters[:]
    try:
        yield
    finally:
        changed = []
        for setting, value in zip(SETTINGS, before, strict=True):
            if _differs(setting.get(), value):
                setting.put(value)
                changed.append(setting)
        replaced = functions.put_back()
        torch.set_rng_state(drawn[0])
        np.random.set_state(drawn[1])
        random.setstate(drawn[2])
        if warnings.filters != filters:
            warnings.filters[:] = filters
            warnings._filters_mutated()
    importing = importing or (not compiler and COMPILER in sys.modules)
    names = [setting.name for setting in changed if not (importing and setting.imported)]
    if names := dict.fromkeys([*names, *replaced]):
        raise ProcessChanged(f"{what} changes {', '.join(names)}, which all methods share; leave that as it was.")


def _differs(now: Any, before: Any) -> bool:
    return now is not before and now != before
