"""Checkpoints from elsewhere: tensors read from a file of which nothing is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.weights.store import describe_mismatch


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a ``.pth`` or ``.safetensors`` file from elsewhere; nothing in it is executed.

    A state dictionary may lie under "state_dict", "model_state_dict" or "model" among other things; the prefix
    "module." of data-parallel training is dropped.

    Raises:
        BenchmarkError: no such file, truncated, or no dictionary of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise BenchmarkError(f"{path}: there is no such file.")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever the bytes make it raise
        raise BenchmarkError(
            f"{path} is not a PyTorch checkpoint or is truncated; download it again, or, where it holds objects beside "
            f"tensors, save it anew with torch.save(model.state_dict(), path)."
        ) from error
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise BenchmarkError(
            f"{path} is not a state dictionary, that is tensors by name; give the file with the weights."
        )
    if all(str(name).startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return {str(name): value for name, value in state.items()}


def load_checkpoint(path: Path, module: nn.Module) -> None:
    """Load a file from elsewhere into a module; only the counters of BN, which early files lack, may be missing.

    Raises:
        BenchmarkError: as :func:`read_checkpoint`, or the file belongs to another architecture; then the module is
            unchanged.
    """
    state, wanted = read_checkpoint(path), module.state_dict()
    state |= {n: v for n, v in wanted.items() if n.endswith(".num_batches_tracked") and n not in state}
    if differences := describe_mismatch(state, wanted):
        raise BenchmarkError(
            f"{path} does not fit a {type(module).__name__}: {differences}; give the weights of this network with "
            f"--weights."
        )
    module.load_state_dict(state)
