"""Quantiles of all values of all training images in one pass, by a histogram that does not depend on their order."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SHIFT = 13
"""Bits of a float32 that its bin leaves out, so that bins are 2^-10 of their value wide."""
HALF = 1 << (31 - SHIFT)
"""Bins of one sign."""
BLOCK = 512
"""Bins that a quantile is first looked for in together."""
TINY = torch.finfo(torch.float32).tiny


class QuantileSketch(nn.Module):
    """A histogram of float32 values (4 MiB), as a buffer: saved with the fit, so that any quantile may be asked later.

    The bits of floats that are not negative sort like the floats, those of negative ones the other way round; a bin is
    all values that agree in sign, exponent and the first 10 bits of the mantissa. Counts add up to the same whatever
    the order and the batches.
    """

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(2 * HALF, dtype=torch.int64))

    def add(self, values: Tensor) -> None:
        """Count float32 values of any shape."""
        bits = (values.flatten() + 0.0).view(torch.int32)  # +0.0, since the bits of -0.0 are those of a negative number
        ranks = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
        self.counts += torch.bincount((ranks >> SHIFT) + HALF, minlength=len(self.counts))

    def quantile(self, q: float) -> float:
        """The smallest bound, at most 0.1 % beside a value, that a share of at least q of all values does not exceed.

        Args:
            q: 0..1; 1 gives a bound of all values.
        Raises:
            ValueError: there are no values.
        """
        blocks = self.counts.view(-1, BLOCK)  # a score asks for every batch, and half a million bins take their time
        cumulated = blocks.sum(dim=1).cumsum(dim=0)
        number = int(cumulated[-1])
        if number == 0:
            raise ValueError("no values, no quantile.")
        rank = max(1, math.ceil(q * number - 1e-9 * number))  # 0.9 * 10 may be 9.000000000000002
        block = int(torch.searchsorted(cumulated, rank))
        within = blocks[block].cumsum(dim=0) + (cumulated[block] - blocks[block].sum())
        found = block * BLOCK + int(torch.searchsorted(within, rank))
        largest = ((found - HALF + 1) << SHIFT) - 1
        bits = largest if largest >= 0 else largest ^ 0x7FFFFFFF
        bound = float(torch.tensor(bits, dtype=torch.int32).view(torch.float32))
        return 0.0 if abs(bound) < TINY else bound
