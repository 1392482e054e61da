"""A random walk between the feature cells of an image part, and a network whose outputs have made it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Handle
from benchmark.network import Outputs, ScaleOutputs

BLOCK = 1 << 24
"""Similarities computed at a time (64 MiB)."""
KEPT = 1 << 25
"""Similarities kept from step to step (128 MiB); those of a larger part are computed anew in every step."""


@dataclass(frozen=True)
class Walk:
    """``F_0 = F``, then `steps` times ``F_{t+1} = alpha A F_t + (1 - alpha) F``, in every part of the grid by itself.

    ``A`` is the row-wise softmax of ``cos(f_i, f_j) / tau`` over the other cells j of the part. Its rows sum to 1, so
    that constant maps stay, and walking features before an affine layer is walking what it makes of them.

    Attributes:
        alpha: 0..1; 0 leaves everything as it is.
        tau: temperature > 0.
        steps: number of applications.
        parts: the grid is split into so many rows and so many columns, of equal length but for one cell.
    """

    alpha: float
    tau: float
    steps: int
    parts: int

    def __call__(self, features: Tensor, values: Tensor) -> Tensor:
        """Walked values (B, V, h, w); the features (B, D, h, w) say where the walk leads."""
        result = torch.empty_like(values)
        rows, columns = (_slices(side, self.parts) for side in features.shape[-2:])
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 is too coarse to tell neighbours apart
            for image in range(len(features)):
                for place in ((image, slice(None), y, x) for y in rows for x in columns):
                    cells, start = (each[place].flatten(1).T for each in (features, values))
                    result[place] = self._part(F.normalize(cells, dim=1), start).T.view(values[place].shape)
        return result

    def of_score(self, score: Tensor, outputs: Outputs) -> Tensor:
        """A full-size score (B, H, W), averaged per cell, walked and upsampled again; the mean over the test scales."""
        total = 0
        for scale in outputs.scales:
            features = scale.taps[PENULTIMATE]
            shown = F.interpolate(score[:, None], scale.covers, mode="bilinear", align_corners=False)
            beyond = [seen - there for seen, there in zip(scale.padded, scale.covers, strict=True)]
            shown = F.pad(shown, (0, beyond[1], 0, beyond[0]), mode="replicate")
            walked = self(features, F.adaptive_avg_pool2d(shown, features.shape[-2:]))
            total = total + scale.upsample(walked, outputs.size)[:, 0]
        return total / len(outputs.scales)

    def _part(self, directions: Tensor, values: Tensor) -> Tensor:
        """Of cells of one part: directions (n, D) of length 1 and values (n, V)."""
        number = len(directions)
        step = max(1, BLOCK // number)

        def block(start: int) -> Tensor:
            """Rows of A."""
            similar = directions[start : start + step] @ directions.T
            own = torch.arange(len(similar), device=similar.device)
            similar[own, start + own] = -1e9  # a finite number, so that a part of one cell stays where it is
            return (similar / self.tau).softmax(dim=1)

        starts = range(0, number, step)
        kept = [block(start) for start in starts] if number * number <= KEPT else None
        current = values
        for _ in range(self.steps):
            moved = torch.cat([rows @ current for rows in (kept or map(block, starts))])
            current = self.alpha * moved + (1 - self.alpha) * values
        return current


class WalkedHandle:
    """A network as the inner method sees it: as it is, and inside :meth:`walked` with logits and taps that walked.

    The inner method keeps it from `build` on, so that nothing of its own leads past the walk.
    """

    def __init__(self, handle: Handle, walk: Walk, taps: Collection[str]) -> None:
        self._handle = handle
        self._walk = walk
        self._taps = taps
        self._now: tuple[Batch, Outputs] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def __call__(self, batch: Batch) -> Outputs:
        """Outputs for the batch."""
        if self._now is None:
            return self._handle(batch)
        self._check(batch is self._now[0])
        return self._now[1]

    def run(self, *arguments: Any, **keywords: Any) -> Outputs:
        """Outputs for other images, which do not walk."""
        self._check(self._now is None)
        return self._handle.run(*arguments, **keywords)

    @contextmanager
    def walked(self, batch: Batch) -> Iterator[None]:
        """Inside, the outputs for this batch have walked."""
        outputs = self._handle(batch)
        self._now = batch, Outputs([self._of(scale) for scale in outputs.scales], outputs.size)
        try:
            yield
        finally:
            self._now = None

    def _of(self, scale: ScaleOutputs) -> ScaleOutputs:
        features = scale.taps[PENULTIMATE]
        maps = {name: scale.taps[name] for name in self._taps} | {"": scale.logits}
        if away := [name or "logits" for name, x in maps.items() if x.shape[-2:] != features.shape[-2:]]:
            raise BenchmarkError(
                f"the penultimate features of {self._handle.spec.arch} have another grid than {' and '.join(away)}, "
                f"which cannot walk with them; level=score walks the finished score."
            )
        walked = self._walk(features, torch.cat(list(maps.values()), dim=1)).split(
            [x.shape[1] for x in maps.values()], 1
        )
        taps = dict(zip(maps, walked, strict=True))
        return replace(scale, logits=taps.pop(""), taps=taps)

    @staticmethod
    def _check(reached: bool) -> None:
        if not reached:
            raise BenchmarkError("the inner method of rwpm runs the network on images of its own, which do not walk.")


def _slices(length: int, parts: int) -> list[slice]:
    """A side in parts of equal length but for one cell, the empty ones left out."""
    ends = [length * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(ends) if a < b]
