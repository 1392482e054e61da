"""Sums of training features, from which means and covariances follow, in one pass."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """``n_c``, ``sum f`` and ``sum f f^T`` of rows of features by class, in float64.

    Sums add up in any order to the last few digits of float64, so that what follows does not depend on batches.

    Args:
        channels: D.
        classes: number of classes C; 1 puts all rows together.
        squares: "all" has one sum of outer products, of the rows of every class; "class" one per class, "none" none.
        device: where the sums are kept.
    """

    def __init__(
        self, channels: int, classes: int = 1, squares: str = "all", device: torch.device | str | None = None
    ) -> None:
        outer = {"all": 1, "class": classes, "none": 0}[squares]
        self.counts, self.sums, self.squares = (
            torch.zeros(shape, dtype=torch.float64, device=device)
            for shape in ((classes,), (classes, channels), (outer, channels, channels))
        )

    def add(self, features: Tensor, classes: Tensor | None = None) -> None:
        """Add rows.

        Args:
            features: (N, D).
            classes: of each row (N,); those beyond the classes (IGNORE) are left out. None where there is one class.
        """
        if classes is None:
            self._add(0, features)
            return
        for c in classes.unique().tolist():
            if c < len(self.counts):
                self._add(c, features[classes == c])

    def _add(self, c: int, features: Tensor) -> None:
        rows = features.double()
        self.counts[c] += len(rows)
        self.sums[c] += rows.sum(dim=0)
        if len(self.squares):
            self.squares[c if len(self.squares) > 1 else 0] += rows.T @ rows

    @property
    def number(self) -> int:
        """N, the rows of all classes."""
        return int(self.counts.sum())

    @property
    def means(self) -> Tensor:
        """Mean of every class (C, D); 0 where it has no row."""
        return self.sums / self.counts.clamp(min=1)[:, None]

    @property
    def mean(self) -> Tensor:
        """Mean of all rows (D,)."""
        return self.sums.sum(dim=0) / max(self.number, 1)

    def second(self, origin: Tensor) -> Tensor:
        """``1/N sum (f - o)(f - o)^T`` of all rows (D, D); the covariance with denominator N where o is the mean."""
        mean, origin = self.mean, origin.double()
        cross = mean[:, None] * origin
        return self.squares.sum(dim=0) / max(self.number, 1) - cross - cross.T + origin[:, None] * origin
