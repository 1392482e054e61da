"""How unsure a class distribution is of its favourite, with all the digits that float32 has for it."""

from __future__ import annotations

import torch
from torch import Tensor


def negative_log_max(p: Tensor, largest: Tensor | None = None, dim: int = 1) -> Tensor:
    """``-log max_c p_c``, from the probabilities of the other classes.

    The maximum itself, and with it the logarithm of a softmax, is rounded to 1 (to 0) where the others sum to less than
    6e-8; that sum float32 holds down to 1e-38. Without it, all such pixels would be ties.

    Args:
        p: probabilities, classes in `dim`; overwritten.
        largest: index of the maximum, `dim` left out, where it is known.
        dim: dimension of the classes, dropped in the result.
    """
    largest = p.argmax(dim) if largest is None else largest
    return -torch.log1p(-p.scatter_(dim, largest.unsqueeze(dim), 0.0).sum(dim))
