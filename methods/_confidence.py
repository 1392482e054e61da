"""How unsure a class distribution is of its favourite, with all the digits that float32 has for it."""

from __future__ import annotations

import torch
from torch import Tensor


def negative_log_max(p: Tensor, dim: int = 1) -> Tensor:
    """``-log max_c p_c``, from the probabilities of the other classes.

    The maximum itself, and with it the logarithm of a softmax, is rounded to 1 (to 0) where the others sum to less than
    6e-8; that sum float32 holds down to 1e-38. Without it, all such pixels would be ties.

    Args:
        p: probabilities, classes in `dim`.
        dim: dimension of the classes, dropped in the result.
    """
    # The smaller one of each class and the largest before it: all but the largest, without looking for its index, which
    # takes twenty times as long on a CPU.
    first, *others = p.unbind(dim)
    largest, rest = first.clone(), torch.zeros_like(first)
    for each in others:
        rest += torch.minimum(largest, each)
        torch.maximum(largest, each, out=largest)
    return -torch.log1p(-rest)
