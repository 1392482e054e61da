"""Distance to the nearest neighbours among features of training images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.training import FitData

from ._cells import Cells
from ._sample import KeyedSample

CHUNK = 1 << 24
"""Distances computed at a time (64 MiB), whatever the sizes of bank and image."""


class KNN(Method):
    r"""k nearest neighbours: the distance of a feature to a bank of training features, upsampled to the image.

    The bank is a uniform sample, without replacement, of all feature cells of the training images that show a known
    class (:class:`~benchmark.methods._sample.KeyedSample`). With several test scales, it samples the cells of all of
    them, and the distances are averaged.

    Args:
        variant: "knth" ``s = ||g - g_(k)||``, the distance to the k-th neighbour of normalised features ``g = f/||f||``
            (Sun et al.), or "mean" ``s = 1/k sum_i ||f - f_(i)||`` over the k nearest of the features as they are
            (Galesso et al.).
        k: number of neighbours; none is 50 for "knth" and 3 for "mean", as in the papers.
        bank: largest number of training features. Galesso et al. take 100000, for which the search on a CPU costs fifty
            times a small network's forward.
        tap: the features; the default is what the network's classifier sees. Several, joined by "+", are brought to the
            grid of the first and each to length 1 per cell.
        encoder: timm's name of a frozen pretrained encoder ("tf_efficientnet_lite0"), whose features are taken instead
            of the shared network's; `tap` is then "16+8+32" where it is not stated. With a size
            ("tf_efficientnet_lite0-360") all images are resized to that short side first.

    Source: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022; Galesso et al., "Far
        Away in the Deep Space", ICCV Workshops 2023.
    """

    title = "kNN"
    paper = "Sun et al., ICML 2022"
    score_options = frozenset({"k"})
    needs_classes = False

    def __init__(
        self,
        variant: str = "knth",
        k: int | None = None,
        bank: int = 20_000,
        tap: str = PENULTIMATE,
        encoder: str = "",
    ) -> None:
        super().__init__()
        if variant not in ("knth", "mean"):
            raise ValueError("the variant is knth or mean.")
        self.mean = variant == "mean"
        self.k = (3 if self.mean else 50) if k is None else k
        if not 1 <= self.k <= bank:
            raise ValueError("k is at least 1 and at most the size of the bank.")
        self.rows = bank
        self.cells = Cells(tap, encoder)
        self._sample = KeyedSample(bank, self.cells)  # while observing

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return self.cells.needs(base)

    def build(self, networks: Networks) -> None:
        self.register_buffer("bank", torch.zeros(self.rows, self.cells.channels(networks)))
        self.register_buffer("size", torch.zeros((), dtype=torch.int64))  # rows that are filled, the first ones

    def observe(self, batch: Batch, networks: Networks) -> None:
        self._sample.observe(batch, networks, self._form)

    def fit(self, data: FitData, networks: Networks) -> None:
        features = self._sample.taken()
        self._check(len(features))
        self.bank[: len(features)] = features
        self.size.fill_(len(features))

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = self.cells.outputs(batch, networks)
        total = 0
        for scale in outputs.scales:
            distances = self.distances(self._form(self.cells.features(scale)))
            total = total + self.cells.map(scale, distances, outputs.size)
        return total / len(outputs.scales)

    def distances(self, queries: Tensor, k: int = 0) -> Tensor:
        """The variant's distance of features (N, D) to the bank, (N,); normalised where the variant wants it.

        Args:
            queries: the features.
            k: another number of neighbours than the method's; 0 is that.
        """
        bank = self.bank[: int(self.size)]
        self._check(len(bank))
        squares = bank.square().sum(dim=1)
        found = []
        with torch.autocast(queries.device.type, enabled=False):  # bfloat16 is too coarse to tell neighbours apart
            for part in queries.split(max(1, CHUNK // len(bank))):
                order = torch.addmm(squares, part, bank.T, alpha=-2)  # squared distances but for a constant per row
                nearest = order.topk(k or self.k, dim=1, largest=False).indices
                chosen = bank[nearest if self.mean else nearest[:, -1:]]
                # From the vectors themselves, since the expanded square has no digits left where they agree.
                found.append((part[:, None] - chosen).square().sum(dim=2).sqrt().mean(dim=1))
        return torch.cat(found)

    def _check(self, rows: int) -> None:
        if rows < self.k:
            raise BenchmarkError(f"the training images have {rows} labelled cells; give a k of at most that.")

    def _form(self, features: Tensor) -> Tensor:
        return features if self.mean else F.normalize(features, dim=1)
