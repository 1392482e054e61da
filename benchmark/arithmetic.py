"""The arithmetic of a device: the one place where TF32 and autocast are switched on and off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmark.errors import BenchmarkError

PRECISIONS = ("fp32", "tf32", "bf16")
"""Float32 throughout; float32 whose products are rounded to TF32 by the GPU; autocast to bfloat16, the rest in fp32."""


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
    """The part of it that PyTorch decides operation by operation."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
