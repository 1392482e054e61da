"""Where and how things run: everything that must not decide an outcome beyond rounding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.distributed import local_rank, world
from benchmark.errors import BenchmarkError

PRECISIONS = ("fp32", "tf32", "bf16")
"""Float32 throughout; float32 whose products are rounded to TF32 by the GPU; autocast to bfloat16, the rest in fp32."""


@dataclass(frozen=True)
class Machine:
    """Device, precision, workers and what is shown.

    Attributes:
        device: where the tasks run.
        precision: "fp32", "tf32", or "bf16" for autocast in forward passes (weights and optimiser stay float32).
        workers: threads that prepare batches ahead, and as many that measure beside the networks; 0 does one after
            the other.
        progress: whether bars or lines are printed.
        save_every: seconds between two resume states.
        events: folder for event files of trainings, as TensorBoard reads them; None writes none.
        compiled: whether the networks of trainings are compiled (:mod:`benchmark.training.compiled`).
    """

    device: torch.device
    precision: str = "fp32"
    workers: int = 0
    progress: bool = True
    save_every: float = 30.0
    events: Path | None = None
    compiled: bool = False

    @classmethod
    def choose(
        cls, device: str = "auto", precision: str = "auto", workers: int | None = None, progress: bool = True
    ) -> Machine:
        """Fill in what was left open for this machine.

        Args:
            device: "auto" is CUDA where there is one, else the CPU.
            precision: "auto" is bf16 where the hardware computes it natively (emulated it is slower than fp32).
            workers: None is up to 8 threads beside a GPU; on the CPU those cores that PyTorch's threads leave.
            progress: whether bars or lines are printed.
        Raises:
            BenchmarkError: no such device or precision.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            chosen = torch.device(device)
        except RuntimeError:
            raise BenchmarkError(f"There is no device '{device}'; try auto, cpu, cuda or cuda:1.") from None
        if chosen.type not in ("cpu", "cuda"):
            raise BenchmarkError(f"Device '{device}': nothing here was tried on it; name auto, cpu, cuda or cuda:1.")
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError(f"Device '{device}': this PyTorch finds no CUDA GPU; use --device cpu.")
        found = torch.cuda.device_count() if chosen.type == "cuda" else 1
        if (chosen.index or 0) >= found:
            raise BenchmarkError(f"Device '{device}': there {'is one' if found == 1 else f'are {found}'}, from 0.")
        if chosen.type == "cuda" and world() > 1:
            if device != "cuda":
                raise BenchmarkError(f"Device '{device}': of several processes each takes a GPU; give --device cuda.")
            if local_rank() >= found:
                raise BenchmarkError(
                    f"There are more processes than GPUs here; start `torchrun --nproc-per-node {found} -m benchmark`."
                )
            chosen = torch.device("cuda", local_rank())
        if precision == "auto":
            precision = "bf16" if _native_bf16(chosen) else "fp32"
        check_precision(chosen, precision)
        if chosen.type == "cuda" and chosen.index is not None:
            torch.cuda.set_device(chosen)  # where plugins that say only "cuda" put things
        if workers is None:
            own = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            workers = min(8, own - (torch.get_num_threads() if chosen.type == "cpu" else 0))
        return cls(chosen, precision, max(0, workers), progress)


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Where PyTorch does not say what the processor has, fp32 is the safe answer.
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def idle(device: torch.device) -> str:
    """What a user of one process should know of the other GPUs of a machine; else empty."""
    found = torch.cuda.device_count() if device.type == "cuda" and world() == 1 else 1
    if found == 1:
        return ""
    return (
        f"Of {found} GPUs this uses one, {torch.device('cuda', device.index or 0)}; with `torchrun --nproc-per-node "
        f"{found} -m benchmark` in the place of `python -m benchmark`, and without --device, the command uses all."
    )


def caution(device: torch.device, precision: str) -> str:
    """What a user should know of a precision that the device has to emulate; else empty."""
    if precision != "bf16" or _native_bf16(device):
        return ""
    where = "this CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return f"Precision bf16 is emulated on {where}, many times slower than fp32 and no more exact."


def check_precision(device: torch.device, precision: str) -> None:
    """Refuse what the device cannot compute in.

    Raises:
        BenchmarkError: no such precision, or it would silently be another.
    """
    if precision not in PRECISIONS:
        raise BenchmarkError(f"There is no precision '{precision}'; it is auto, {', '.join(PRECISIONS)}.")
    if precision != "tf32":
        return
    if device.type != "cuda":
        raise BenchmarkError(f"Precision tf32 is arithmetic of NVIDIA's GPUs, not of '{device}'; take fp32.")
    if torch.cuda.get_device_capability(device) < (8, 0):
        raise BenchmarkError(f"Precision tf32: {torch.cuda.get_device_name(device)} has none; take fp32.")


@contextmanager
def products(device: torch.device, precision: str, repeatable: bool = False) -> Iterator[None]:
    """How convolutions and matrix products are computed inside, backward passes included.

    PyTorch lets cuDNN round the factors to TF32 unless told otherwise. Elsewhere than on CUDA nothing is switched.

    Args:
        device: where.
        precision: of :data:`PRECISIONS`.
        repeatable: only algorithms of cuDNN that give the same bits again.
    """
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark
    cudnn.allow_tf32 = matmul.allow_tf32 = precision == "tf32"
    if repeatable:
        cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Forward passes in this precision."""
    with products(device, precision), autocast(device, precision):
        yield


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The part of :func:`arithmetic` that PyTorch decides operation by operation."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
