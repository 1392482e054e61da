"""One image, sorted once on an accelerator: the answers of ``sorted_image.SortedImage``, bit for bit.

Sorting, searching and run lengths happen on the device; only distinct anomalous scores, counts and samples leave it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import BenchmarkError
from benchmark.metrics.ranking import EMPTY
from benchmark.metrics.strata import ANOMALY, Strata

OFFSET = 1 << 31
"""Device keys are int32 (torch sorts no uint32); adding this makes them the uint32 keys of ``keys_of``."""


def device_keys(scores: Tensor) -> Tensor:
    """Order-preserving int32 keys of float32 scores; the key of ``keys_of`` less 2^31."""
    bits = (scores + 0.0).view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


class TorchImage:
    """Sorted keys of one image on its device. Arguments and errors as for ``SortedImage``, with tensors."""

    def __init__(self, scores: Tensor, labels: Tensor, strata: Strata, where: str) -> None:
        scores, labels = scores.detach().contiguous().reshape(-1), labels.contiguous().reshape(-1)
        if nans := int(torch.isnan(scores).sum()):
            raise BenchmarkError(f"{where}: {nans} of {scores.numel()} scores are NaN.")
        keys = device_keys(scores)
        is_anomaly = labels == ANOMALY
        plain = ~is_anomaly
        self.pixels = scores.numel()
        self.anomalous = keys[is_anomaly].sort().values
        self.normal: list[Tensor] = [keys[:0]] * (1 + len(strata.special))
        for row, label in enumerate(strata.special, start=1):
            special = labels == label
            plain &= ~special
            if row in strata.used:
                self.normal[row] = keys[special].sort().values
        self.normal[0] = keys[plain].sort().values

    def counts(self) -> tuple[int, np.ndarray]:
        """Number of anomalous pixels, and of normal ones per stratum."""
        return self.anomalous.numel(), np.array([keys.numel() for keys in self.normal], np.int64)

    def rank(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """See :func:`benchmark.metrics.ranking.rank`."""
        keys, anomalies = torch.unique_consecutive(self.anomalous, return_counts=True)
        if not keys.numel():
            none = np.zeros((len(self.normal), 0), np.int64)
            return np.zeros(0, np.uint32), EMPTY, none, none
        below = torch.stack([torch.searchsorted(ordered, keys) for ordered in self.normal])
        upto = torch.stack([torch.searchsorted(ordered, keys, right=True) for ordered in self.normal])
        return _unsigned(keys), anomalies.cpu().numpy(), below.cpu().numpy(), upto.cpu().numpy()

    def normal_key(self, row: int, index: int) -> int | None:
        """Key of the normal pixel of a stratum at a position of its order, None beyond the last."""
        return int(self.normal[row][index]) + OFFSET if index < self.normal[row].numel() else None

    def distinct(self, row: int | None) -> int:
        """Number of distinct scores of the anomalous pixels (None) or of a stratum."""
        keys = self._keys(row)
        return int((keys[1:] != keys[:-1]).sum()) + 1 if keys.numel() else 0

    def runs(self, row: int | None, shortest: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores that at least so many pixels share: their keys, ascending uint32, and numbers of pixels, int64."""
        keys, lengths = torch.unique_consecutive(self._keys(row), return_counts=True)
        long = lengths >= shortest
        return _unsigned(keys[long]), lengths[long].cpu().numpy()

    def above(self, row: int | None, keys: np.ndarray) -> np.ndarray:
        """Number of pixels with a higher score than each of some falling keys, int64."""
        ordered = self._keys(row)
        wanted = torch.from_numpy((keys ^ np.uint32(OFFSET)).view(np.int32)).to(ordered.device)
        return ordered.numel() - torch.searchsorted(ordered, wanted, right=True).cpu().numpy()

    def take(self, row: int | None, positions: np.ndarray | None) -> np.ndarray:
        """Keys at positions of the ascending order, uint32; all of them for None."""
        keys = self._keys(row)
        return _unsigned(keys if positions is None else keys[torch.from_numpy(positions).to(keys.device)])

    def _keys(self, row: int | None) -> Tensor:
        return self.anomalous if row is None else self.normal[row]


def _unsigned(keys: Tensor) -> np.ndarray:
    """Device keys as those of ``keys_of``."""
    return keys.cpu().numpy().view(np.uint32) ^ np.uint32(OFFSET)
