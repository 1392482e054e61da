"""Data-parallel steps that learn what one process learns: forwards are shared, a loss sees the whole batch.

Averaging the losses of shares is only right for a mean over images. The losses here are means over labelled pixels,
over pasted objects, or contrast images with each other. So every process has the whole batch and computes the whole
loss, and what costs time is shared: the forwards and backwards of networks, and of the modules that a task trains. Each
process runs them on its share of the images, and the maps that come out are gathered before the loss sees them; in the
backward, each takes the gradient of its own. Batch normalisation inside has the statistics of all images, and dropout
draws for all of them, so that the gradients, averaged, are those of one process up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from benchmark.data import Batch
from benchmark.distributed import agreed, gathered, rank, reaching, world
from benchmark.errors import BenchmarkError, in_words
from benchmark.network import Network

DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
_BatchNorm = nn.modules.batchnorm._BatchNorm


class Sharing:
    """Shares the forwards of one training.

    Shared are the calls of a :class:`~benchmark.network.Network`, whoever makes them, and of a task's children, where
    every tensor that goes in has a row for each image of the batch, three dimensions or more, and every one that comes
    out has as well; anything else is computed whole by every process. So a child must treat images one by one, batch
    normalisation aside; what relates images to each other belongs into the loss.

    Args:
        task: what is trained.
        rows: images of a batch; where the processes cannot have equally many of them, nothing is shared.
    """

    def __init__(self, task: nn.Module, rows: int) -> None:
        self.shares = world() > 1 and rows % world() == 0
        self.share = rows // world()
        self._task, self._rows = task, rows
        self._own = slice(rank() * self.share, (rank() + 1) * self.share)
        self._fit: dict[int, bool] = {}  # module -> whether its forwards can be shared, once that was tried
        self._inside = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A step is made inside."""
        if world() == 1:
            yield
            return
        children = [child for child in self._task.children() if not isinstance(child, Network)]
        norms = [m for m in self._task.modules() if isinstance(m, nn.SyncBatchNorm)]
        try:
            for norm in norms:  # torch's own is for GPUs only; here any other one does the same
                norm.forward = MethodType(_BatchNorm.forward, norm)
            if self.shares:
                sharing = self
                whole = Network.__call__
                Network.__call__ = lambda module, *args, **kwargs: sharing._run(  # type: ignore[method-assign]
                    module, lambda *a, **k: whole(module, *a, **k), args, kwargs
                )
                for child in children:
                    child.forward = self._wrapped(child, child.forward)
            yield
        finally:
            if self.shares:
                del Network.__call__
                for child in children:
                    with suppress(AttributeError):
                        del child.forward
            for norm in norms:
                with suppress(AttributeError):
                    del norm.forward

    def _wrapped(self, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._run(module, forward, args, kwargs)

    def _run(self, module: nn.Module, forward: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        rows = bool(given) and all(each.ndim >= 3 and len(each) == self._rows for each in given)
        if self._inside or not rows or not self._fit.get(id(module), True):
            return forward(*args, **kwargs)
        first = id(module) not in self._fit
        kept = [(buffer, buffer.clone()) for buffer in module.buffers()] if first else []
        state = torch.get_rng_state() if first else None
        mine, named = tree_map(lambda leaf: _Own.apply(leaf) if isinstance(leaf, Tensor) else leaf, (args, kwargs))
        self._inside = True
        try:
            with _Share(self._rows, self._own):
                found = forward(*mine, **named)
            fits = all(_is_share(leaf, self.share) for leaf in tree_leaves(found))
            self._fit[id(module)] = fits
            if fits:
                return tree_map(lambda leaf: _Gathered.apply(leaf) if isinstance(leaf, Tensor) else leaf, found)
            with torch.no_grad():
                for buffer, before in kept:
                    buffer.copy_(before)
            if state is not None:
                torch.set_rng_state(state)
            return forward(*args, **kwargs)
        finally:
            self._inside = False


def _is_share(leaf: Any, share: int) -> bool:
    if isinstance(leaf, Tensor):
        return leaf.ndim >= 3 and len(leaf) == share
    return leaf is None or isinstance(leaf, (bool, int, float, str))


class _Share(TorchFunctionMode):
    """Batch normalisation and random draws inside are those of the whole batch.

    Args:
        rows: images of the batch.
        own: those of this process.
    """

    def __init__(self, rows: int, own: slice) -> None:
        super().__init__()
        self._rows, self._own = rows, own

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)
        if func in DROPOUTS:
            return self._dropout(func, *args, **kwargs)
        if func is torch.Tensor.bernoulli_ and args[0].ndim and len(args[0]) == self._own.stop - self._own.start:
            return args[0].copy_(self._ones(args[0]).bernoulli_(*args[1:], **kwargs)[self._own])
        return func(*args, **kwargs)

    def _dropout(
        self, func: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or not p or len(input) != self._own.stop - self._own.start:
            return func(input, p, training, inplace)
        return input * func(self._ones(input), p, True, False)[self._own]

    def _ones(self, like: Tensor) -> Tensor:
        """Ones for all images, in the memory layout of the share, which decides the order of the draws."""
        layout = torch.contiguous_format
        if like.ndim == 4 and not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last):
            layout = torch.channels_last
        size = (self._rows, *like.shape[1:])
        return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=layout).fill_(1)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``F.batch_norm`` with the mean m and the variance v over the images of all processes, of which all have as many:

    m = mean_r m_r, v = mean_r (v_r + (m_r - m)^2)
    """
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    with torch.autocast(input.device.type, enabled=False):
        values = input if input.dtype == torch.float64 else input.float()
        others = [axis for axis in range(input.ndim) if axis != 1]
        variance, mean = torch.var_mean(values, others, correction=0)
        means, variances = _Everyone.apply(torch.stack((mean, variance))).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        if running_mean is not None and running_var is not None:
            count = world() * input.numel() // input.shape[1]
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((variance * (count / max(count - 1, 1))).to(running_var.dtype), momentum)
        scale = (variance + eps).rsqrt()
        if weight is not None:
            scale = scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        shape = (-1, *(1 for _ in input.shape[2:]))
        return torch.addcmul(shift.view(shape), values, scale.view(shape)).to(input.dtype)


class _Own(torch.autograd.Function):
    """The rows of this process, (batch, ...) to (share, ...), of what all processes have alike."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        share = len(rows) // world()
        return rows[rank() * share : (rank() + 1) * share].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gather_rows(gradient) / world()


class _Gathered(torch.autograd.Function):
    """The rows of all processes, (share, ...) to (batch, ...), with which all then do the same.

    Between :class:`_Own` and this, gradients are as many times too large as there are processes, since
    :func:`benchmark.distributed.average_gradients` divides those of parameters by that, of which each process has seen
    its rows only.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return gather_rows(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        share = len(gradient) // world()
        return gradient[rank() * share : (rank() + 1) * share] * world()


class _Everyone(torch.autograd.Function):
    """The values of all processes as rows; in the backward each gets what all of them make of its own."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return gather_rows(values[None])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        gradient = gradient.contiguous()
        with reaching():
            dist.all_reduce(gradient)
        return gradient[rank()]


def gather_rows(rows: Tensor) -> Tensor:
    """Tensors of equal size of all processes, one behind the other, in the memory layout that they have."""
    turned = rows.ndim == 4 and not rows.is_contiguous() and rows.is_contiguous(memory_format=torch.channels_last)
    mine = rows.permute(0, 2, 3, 1) if turned else rows.contiguous()
    # As bytes, since not every backend knows every type.
    sent = mine.view(torch.uint8) if mine.dtype in (torch.bfloat16, torch.float16, torch.bool) else mine
    parts = [torch.empty_like(sent) for _ in range(world())]
    with reaching():
        dist.all_gather(parts, sent)
    found = torch.cat(parts).view(mine.dtype)
    return found.permute(0, 3, 1, 2) if turned else found


def assembled(shares: Iterable[Batch], device: torch.device, task: str) -> Iterator[Batch]:
    """Whole batches on the device, of the shares that every process prepares.

    Raises:
        BenchmarkError: a process cannot prepare its own, or the images differ in size.
    """
    stream = iter(shares)
    while True:
        share, error = None, None
        try:
            share = next(stream, None)
        except Exception as failure:
            error = failure
        own = (share.ids, tuple(share.labels.shape)) if share is not None else ((), ())
        found = gathered((*own, "" if error is None else in_words(error)))
        if any(sentence for *_, sentence in found):
            failure = agreed(error)
            assert failure is not None
            raise failure
        if share is None:
            return
        if len({shape for _, shape, _ in found}) > 1:
            sizes = sorted({f"{shape[2]}x{shape[1]}" for _, shape, _ in found})
            raise BenchmarkError(
                f"The {task} recipe puts images of {' and '.join(sizes[:2])} pixels in one batch: set its 'crop' "
                f"(height, width), or batch_size=1."
            )
        share = share.to(device)
        ids = tuple(each for part, *_ in found for each in part)
        yield Batch(ids, gather_rows(share.images), gather_rows(share.labels))
