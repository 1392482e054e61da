"""MiniHazards: street scenes rendered by our own code, so that the suite runs anywhere without a download.

The classes, their order, the split by towns and the anomalies only in test follow StreetHazards (Hendrycks et al. 2022,
"Scaling Out-of-Distribution Detection for Real-World Settings"); the scenes are much simpler. An image is a pure
function of (version, split, index, size).
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import torch

from benchmark.data import Dataset, DatasetCard, LightTraining, Policy, Sample
from benchmark.errors import BenchmarkError
from benchmark.values import Pixels, typed

from . import scene
from .classes import NAMES, PALETTE


class MiniHazards(Dataset):
    """Rendered street scenes of six towns.

    Args:
        split: "train" (towns t1 to t3), "val" (t4) or "test" (t5 and t6, the only ones with anomalies).
        root: ignored, nothing is read.
        size: "WIDTHxHEIGHT" in pixels; the same index shows the same scene at every size.
    """

    card = DatasetCard(
        title="MiniHazards (rendered rehearsal set)",
        classes=NAMES,
        palette=PALETTE,
        note=(
            "A rehearsal stage rendered by this project's own code, not a publication benchmark; "
            "its numbers are not comparable with StreetHazards."
        ),
        licence="the licence of this project",
        citation="rendered by this project (datasets/minihazards)",
        sizes={"train": 480, "val": 60, "test": 120},
    )
    policy = Policy(
        protocols=("streethazards", "pooled", "failure-split"),
        auto=1,
        exported_as="streethazards",
        network="pspnet-small",
        light=LightTraining(epochs=8),
    )

    def __init__(self, split: str, root: Path = Path(), size: str | tuple[int, int] = "320x180") -> None:
        super().__init__(split, root)
        self.size = _parse_size(size) if isinstance(size, str) else size

    def __len__(self) -> int:
        return self.card.sizes[self.split]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        image, labels = scene.render(self.split, index, self.size)
        sample = Sample(
            f"{scene.town_of(self.split, index).name}/{index}",
            torch.from_numpy(image).permute(2, 0, 1).contiguous(),
            torch.from_numpy(labels),
        )
        return sample.checked(len(self.classes), f"minihazards {self.split} {sample.id}")

    def fingerprint(self) -> str:
        """Digest of version, split, size, count and the pixels of the first and the last sample."""
        return _fingerprint(self.split, self.size, len(self))


@cache
def _fingerprint(split: str, size: tuple[int, int], count: int) -> str:
    """As functions of their place, images do not change while a command runs, which asks a dozen times."""
    digest = hashlib.sha256(f"{scene.VERSION}/{split}/{size}/{count}".encode())
    for index in (0, count - 1):
        image, labels = scene.render(split, index, size)
        digest.update(image.transpose(2, 0, 1).tobytes())
        digest.update(labels.tobytes())
    return digest.hexdigest()


def _parse_size(text: str) -> tuple[int, int]:
    try:
        width, height = (typed(side, Pixels) for side in text.split("x"))
    except ValueError:
        raise BenchmarkError(
            f"minihazards: '{text}' is no size; write WIDTHxHEIGHT, as in 1280x720, each at least 8 and at most 16384."
        ) from None
    return width, height
