"""Seals on tensors and modules that several methods read: who wrote into one is found out, whichever way it was done.

An in-place operation of torch raises a tensor's version counter; writing through ``.data`` or a numpy array that shares
the memory does not, so that a fingerprint of the bytes is compared as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BLOCK = 512
"""Words of 8 bytes, 4 KiB, that a fingerprint adds to each other block by block."""
STEP = 32
"""Where a fingerprint of a large tensor is not whole, it reads one block of so many."""
FEW = 1 << 15
"""Bytes up to which, on the CPU, a copy is compared, which takes less time than adding."""
SMALL = 1 << 16
"""Bytes up to which a fingerprint is always whole."""
HOST = ("cpu",)
"""Types of devices whose memory is read without waiting."""
GROUP = 1 << 23
"""Bytes of a GPU's tensors that one fingerprint is of: a network has hundreds of them, and each asks for kernels."""


Verdict = bool | Tensor
"""Whether something differs: known, or still being found out on a device, as a tensor of no dimension."""


def any_of(verdicts: Iterable[Verdict]) -> bool:
    """Whether one of them holds. Those on a device are waited for together, so that it is asked once."""
    waiting = []
    for each in verdicts:
        if isinstance(each, Tensor):
            waiting.append(each)
        elif each:
            return True
    return bool(torch.stack(waiting).any()) if waiting else False


def fingerprint(tensors: Sequence[Tensor], whole: bool, turn: int = 0) -> Tensor | bytes:
    """Sums of the bytes behind tensors, of all of their storages, or the bytes themselves where they are few.

    Args:
        tensors: of one device, any dtype and layout that has a storage; on the CPU one.
        whole: read every byte; otherwise of each 128 KiB only 4, which no write of a large channel escapes.
        turn: which 4 of them, modulo 32.
    """
    parts = [torch.empty(0, dtype=torch.uint8, device=t.device).set_(t.untyped_storage()) for t in tensors]
    data: Any = parts[0] if len(parts) == 1 else torch.cat(parts)
    on_cpu, words = _on_cpu(data), torch.int64
    if on_cpu:  # a slice of numpy's takes a fraction of the time
        data, words = data.numpy(), np.int64
        if len(data) <= FEW:
            return data.tobytes()
    blocks = data[: len(data) // (8 * BLOCK) * 8 * BLOCK].view(words).reshape(-1, BLOCK)
    sums = (blocks if whole or len(data) <= SMALL else blocks[turn % STEP :: STEP]).sum(0)
    rest = data[8 * BLOCK * len(blocks) :]
    return sums.tobytes() + rest.tobytes() if on_cpu else torch.cat([sums.view(torch.uint8), rest])


def differ(one: Tensor, other: Tensor, turn: int | None = None) -> Verdict:
    """Whether two contiguous tensors of one dtype and device differ in shape or bytes.

    Args:
        one: a tensor.
        other: what it was copied from.
        turn: read one part in 32 only, this one; None reads all of it.
    """
    if one.shape != other.shape:
        return True
    size = one.nbytes // (8 * BLOCK) * BLOCK
    if turn is None or one.nbytes <= SMALL or one.data_ptr() % 8 or other.data_ptr() % 8:
        return _unequal(one, other)
    first, second = (
        each.view(-1).view(torch.uint8)[: 8 * size].view(torch.int64).view(-1, BLOCK)[turn % STEP :: STEP]
        for each in (one, other)
    )
    return _unequal(first, second)


def _unequal(one: Tensor, other: Tensor) -> Verdict:
    return not torch.equal(one, other) if _on_cpu(one) else (one != other).any()


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type in HOST


class TensorSeals:
    """Seals on tensors; one broken seal is enough.

    Args:
        whole: read every byte of them; otherwise, of large ones, one part in 32.
        turn: which part. Where it is another one for every batch, who writes into the same few bytes of each batch is
            found within 32.
    """

    def __init__(self, whole: bool = True, turn: int = 0) -> None:
        self._whole = whole
        self._turn = turn
        self._seals: list[tuple[Sequence[Tensor], list[int], Tensor | bytes]] = []

    def add(self, *tensors: Tensor) -> None:
        """Seal tensors as they are now; those that come together on a device share a seal where all of it is read."""
        for group in _grouped(tensors) if self._whole else ([tensor] for tensor in tensors):
            found = fingerprint(group, self._whole, self._turn)
            self._seals.append((group, [tensor._version for tensor in group], found))

    def verdicts(self) -> Iterator[Verdict]:
        """Of every seal, whether somebody has written into what it is on."""
        for group, versions, before in self._seals:
            if [tensor._version for tensor in group] != versions:
                yield True
            else:
                yield _changed(fingerprint(group, self._whole, self._turn), before)

    def broken(self) -> bool:
        """Whether somebody has written into one of them."""
        return any_of(self.verdicts())


def _grouped(tensors: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """One by one on the CPU; elsewhere as many as GROUP bytes hold, since to ask is what takes time there."""
    group: list[Tensor] = []
    held = 0
    for tensor in tensors:
        own = tensor.untyped_storage().nbytes()
        if group and (_on_cpu(tensor) or tensor.device != group[0].device or held + own > GROUP):
            yield group
            group, held = [], 0
        group.append(tensor)
        held += own
    if group:
        yield group


def _changed(now: Tensor | bytes, before: Tensor | bytes) -> Verdict:
    if isinstance(now, bytes) or isinstance(before, bytes):
        return now != before
    return now.device != before.device or differ(now, before)


class ModuleSeal:
    """A seal on a module: its tensors, its modes, its submodules, its hooks and its plain attributes."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._contents = [(held, dict(held), kind) for part in module.modules() for held, kind in _dicts(part)]
        self._frozen = [(p, p.requires_grad) for p in module.parameters()]
        self._tensors = TensorSeals()
        self._tensors.add(*_tensors(module))

    def changes(self) -> list[str]:
        """In words, what is not as it was sealed."""
        found = []
        if self._rebuilt():
            found.append("its modules or their attributes")
        if self._thawed():
            found.append("which of its weights take gradients")
        if self._tensors.broken():
            found.append("its weights")
        return found

    def verdicts(self) -> Iterator[Verdict]:
        """Of everything that is sealed, whether it is not as it was; :meth:`changes` has the words."""
        yield self._rebuilt()
        yield self._thawed()
        yield from self._tensors.verdicts()

    def _rebuilt(self) -> bool:
        return not all(_same(*content) for content in self._contents)

    def _thawed(self) -> bool:
        return any(p.requires_grad != before for p, before in self._frozen)

    def restore(self, fresh: nn.Module) -> None:
        """Make the module what it was.

        Args:
            fresh: the same module, loaded anew.
        """
        for held, before, _ in self._contents:
            held.clear()
            held.update(before)
        with torch.no_grad():
            for mine, theirs in zip(_tensors(self._module), _tensors(fresh), strict=True):
                mine.data = theirs.data
        for parameter, before in self._frozen:
            parameter.requires_grad_(before)
            parameter.grad = None


PLAIN = (bool, int, float, str, tuple, type(None), nn.Module, Tensor)
"""Types of attributes that decide what a module computes; a forward may keep for itself what is of another type."""


def _dicts(module: nn.Module) -> Iterator[tuple[dict, type | None]]:
    """A module's attributes with its class, and its parameters, buffers, submodules and hooks."""
    yield module.__dict__, type(module)
    for name, value in module.__dict__.items():
        if isinstance(value, dict) and (name in ("_parameters", "_buffers", "_modules") or name.endswith("hooks")):
            yield value, None


def _same(held: dict, before: dict, kind: type | None) -> bool:
    """Whether a dictionary holds what it held; among attributes, one is new only if it hides something of the class."""
    if len(held) != len(before) and (kind is None or any(hasattr(kind, key) for key in held.keys() - before.keys())):
        return False
    for key, value in before.items():
        now = held.get(key, _ABSENT)
        if now is value or (kind is not None and not isinstance(value, PLAIN)):
            continue
        if now is _ABSENT or isinstance(value, (nn.Module, Tensor)) or type(now) is not type(value) or now != value:
            return False
    return True


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


_ABSENT = object()
