"""A uniform sample of the feature cells of all training images, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmark.data import ANOMALY
from benchmark.method import Batch, Networks
from benchmark.recipe import digest

from ._cells import Cells


class KeyedSample:
    """Features of cells that show a known class, drawn uniformly and without replacement from all training images.

    Each cell draws a random key from a generator seeded by its image's id, and the smallest keys stay: no image depends
    on another, nor on the order or the batches in which they come. With several test scales, the cells of all of them
    take part.

    Args:
        rows: largest number of cells.
        cells: where the features come from.
    """

    def __init__(self, rows: int, cells: Cells) -> None:
        self.rows = rows
        self.cells = cells
        self._parts: list[tuple[Tensor, Tensor]] = []  # keys and features
        self._limit = 1.0  # larger keys have no chance any more

    def observe(self, batch: Batch, networks: Networks, form: Callable[[Tensor], Tensor] | None = None) -> None:
        """Let the cells of a training batch take part.

        Args:
            batch: images with labels, of which only is read where a class is known.
            networks: of the method.
            form: what is kept of features (N, D); None is the features themselves.
        """
        generators = [torch.Generator().manual_seed(int(digest(image_id, 15), 16)) for image_id in batch.ids]
        for scale in self.cells.outputs(batch, networks).scales:
            labels = self.cells.labels(scale, batch.labels)
            number = labels[0].numel()
            keys = torch.cat([torch.rand(number, generator=g, dtype=torch.float64) for g in generators])
            keys = keys.to(labels.device)
            chosen = (labels.flatten() < ANOMALY) & (keys < self._limit)
            features = self.cells.features(scale)[chosen]
            self._parts.append((keys[chosen], form(features) if form else features))
        if sum(len(keys) for keys, _ in self._parts) > 2 * self.rows:
            self._prune()

    def taken(self) -> Tensor:
        """The sample (N, D), smallest key first, N <= `rows`; the next begins empty."""
        if not self._parts:
            return torch.zeros(0, 0)
        self._prune()
        [(_, features)], self._parts, self._limit = self._parts, [], 1.0
        return features

    def _prune(self) -> None:
        keys, features = (torch.cat(each) for each in zip(*self._parts, strict=True))
        kept = keys.argsort()[: self.rows]
        self._parts = [(keys[kept], features[kept])]
        if len(kept) == self.rows:
            self._limit = float(keys[kept[-1]])
