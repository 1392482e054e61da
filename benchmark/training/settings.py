"""Where and how a training runs: everything that must not decide its outcome beyond rounding."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from benchmark.arithmetic import check_precision
from benchmark.errors import BenchmarkError


@dataclass(frozen=True)
class Settings:
    """Device and comfort.

    Attributes:
        device: where the tasks run.
        precision: "fp32", "tf32", or "bf16" for autocast in forward passes (weights and optimiser stay float32).
        workers: threads that prepare batches ahead; 0 prepares them in between.
        progress: whether bars or lines are printed.
        save_every: seconds between two resume states.
    """

    device: torch.device
    precision: str = "fp32"
    workers: int = 0
    progress: bool = True
    save_every: float = 30.0

    @classmethod
    def choose(
        cls, device: str = "auto", precision: str = "auto", workers: int | None = None, progress: bool = True
    ) -> Settings:
        """Fill in what was left open for this machine.

        Args:
            device: "auto" is CUDA where there is one, else the CPU.
            precision: "auto" is bf16 where the hardware computes it natively (emulated it is slower than fp32).
            workers: None is up to 8 threads beside a GPU, none on the CPU, where they would take the network's cores.
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
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError(f"Device '{device}': this PyTorch finds no CUDA GPU; use --device cpu.")
        if precision == "auto":
            precision = "bf16" if _native_bf16(chosen) else "fp32"
        check_precision(chosen, precision)
        if workers is None:
            workers = 0 if chosen.type == "cpu" else min(8, os.cpu_count() or 1)
        return cls(chosen, precision, workers, progress)


def _native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # Underscored until PyTorch settles their names; where they are missing, fp32 is the safe answer.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in probes)
