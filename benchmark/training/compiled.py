"""Compiled networks in training steps: ``torch.compile`` where nothing looks inside, and nowhere else.

It fuses operations, which rounds otherwise, and takes a minute or more before the first step. Evaluations never do it:
methods read features from within networks, take gradients with respect to images and change weights, and must find all
of that as it is. In a training every call is asked: one that wants taps, or of a network with hooks, is computed as
without. Nor does a compiled call leave anything behind: states, weights and copies of a network know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.network import Network

BACKEND = "inductor"
SIZES = 64
"""Sizes of images, and other circumstances, for which a network is compiled; one more would silently not be."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Compiled:
    """The networks of a task, compiled inside its steps.

    Args:
        task: what is trained; its :class:`~benchmark.network.Network` children, children's children included, are
            compiled.
        wanted: whether anything is.
        title: what is trained, for messages.
    """

    def __init__(self, task: nn.Module, wanted: bool, title: str) -> None:
        networks = [module for module in task.modules() if isinstance(module, Network)] if wanted else []
        self._calls = {network: self._call(network) for network in networks}
        self.title = title
        self.ran = False
        """Whether any call was compiled."""

    def __bool__(self) -> bool:
        return bool(self._calls)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A step is made inside.

        Raises:
            BenchmarkError: a network cannot be compiled here.
        """
        if not self._calls:
            yield
            return
        from torch._dynamo import config
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

        try:
            # Which sizes came before must not decide how one is computed: a training that goes on has not seen them.
            with config.patch(recompile_limit=SIZES, fail_on_recompile_limit_hit=True):
                for network, call in self._calls.items():
                    network._compiled_call_impl = call  # torch's own place for it, of which no copy knows
                yield
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            raise BenchmarkError(
                f"{self.title}: torch.compile fails here ({_reason(error)}); train without --compile."
            ) from error
        finally:
            for network in self._calls:
                network._compiled_call_impl = None

    def _call(self, network: Network) -> Callable[..., Any]:
        return partial(self._either, network, torch.compile(network.forward, dynamic=False, **_backend()))

    def _either(
        self, network: Network, compiled: Callable[[Tensor], Any], inputs: Tensor, taps: Any = (), **more: Any
    ) -> Any:
        if taps or more or _watched(network):
            return network._call_impl(inputs, taps, **more)
        self.ran = True
        return compiled(inputs)


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where there is nothing to do it with, and compile a first thing.

    What the compiler sets for the whole process when it is first used (functions of torch, the limit of recursion, an
    environment variable) is then set before plugins run, of which nobody may set such.

    Raises:
        BenchmarkError: no compiler, one that fails, or several processes, which share forwards operation by operation.
    """
    from benchmark.distributed import world

    if world() > 1:
        raise BenchmarkError("--compile: several processes share a network's forwards; leave it out, or start one.")
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise BenchmarkError("--compile: this PyTorch has no Triton for this GPU; leave it out.")
    else:
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except Exception as error:  # of a type that differs between versions
            raise BenchmarkError(
                "--compile: PyTorch finds no C++ compiler; install one (`apt-get install g++`), name it in the "
                "environment variable CXX, or leave --compile out."
            ) from error
    first = nn.Conv2d(3, 2, 3).to(device)
    try:
        with torch.random.fork_rng([]):
            torch.compile(first, dynamic=False, **_backend())(torch.ones(1, 3, 8, 8, device=device)).sum().backward()
    except Exception as error:  # whatever the compiler raises
        raise BenchmarkError(f"--compile: torch.compile fails here ({_reason(error)}); leave it out.") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def _backend() -> dict[str, Any]:
    """Random numbers are drawn as without, and no kernel is chosen by a stopwatch, so that a run can be repeated."""
    if BACKEND != "inductor":
        return {"backend": BACKEND}
    from torch._inductor import config

    options = {"fallback_random": True}
    if hasattr(config, "deterministic"):  # since PyTorch 2.9
        options["deterministic"] = True
    return {"options": options}


def _watched(network: nn.Module) -> bool:
    """Whether a hook looks into a network."""
    everywhere = nn.modules.module._has_any_global_hook()
    return everywhere or any(getattr(module, hooks) for module in network.modules() for hooks in _HOOKS)
