"""What methods share that learn from outliers pasted into the training images."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from torch import Tensor

from benchmark.data import ANOMALY, IGNORE
from benchmark.method import SYNTHETIC, Batch, Method, Networks
from benchmark.network import Network, NetworkSpec, Outputs
from benchmark.training import Cutouts, FitData, Pasting
from benchmark.training.pasting import VERSION


class OutlierExposure(Method):
    """A method that is trained from the shared network on images with pasted objects of no class.

    Without `cutouts` the objects are invented (:mod:`benchmark.training.objects`): nothing need be downloaded, and the
    rows stand under "invented outliers". They have other outlines and materials than those of ``--dataset pasted``, but
    are laid in the same way, so that results there flatter such methods: choose none of their options there.

    Args:
        share: of the training images that get one or two objects. 0 is the ablation: as many steps on the same images,
            without any outlier.
        cutouts: folder ``cutouts/NAME`` of the data root with image files with transparency, one object in each, to
            paste instead. Leave out what resembles a class.
    """

    def __init__(self, share: float, cutouts: str) -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise ValueError("the share of images with outliers is 0 to 1.")
        if Path(cutouts).name != cutouts:
            raise ValueError("cutouts is the name of a folder in cutouts/ of the data root, no path.")
        self.share = float(share)
        self.cutouts = cutouts
        self.auxiliary_data = bool(cutouts) or SYNTHETIC if share else False

    def reads(self, root: Path) -> str:
        if not self.share:
            return ""
        objects = Cutouts(root / "cutouts" / self.cutouts).fingerprint() if self.cutouts else "invented"
        return hashlib.sha256(f"{VERSION} {objects}".encode()).hexdigest()

    def pasting(self, data: FitData) -> Pasting | None:
        """For the `pasting` of the method's task."""
        if not self.share:
            return None
        if not self.cutouts:
            return Pasting(self.share)
        return Pasting(self.share, Cutouts(data.root / "cutouts" / self.cutouts))


def copied(networks: Networks) -> Network:
    """A copy of the shared network, to be a child of the method and trained on."""
    return copy.deepcopy(networks["base"].module)


def run(network: Network, batch: Batch, spec: NetworkSpec, taps: Collection[str] = ()) -> Outputs:
    """Outputs of a method's own network, at the test scales of the shared one."""
    scales = [network.segment(batch.images, scale, spec.max_size, taps) for scale in spec.scales or (0,)]
    return Outputs(scales, batch.size)


def with_logits(outputs: Outputs, logits: Iterable[Tensor]) -> Outputs:
    """Outputs with other logits (B, K, h, w), one for each scale."""
    pairs = zip(outputs.scales, logits, strict=True)
    return Outputs([dataclasses.replace(scale, logits=z.float()) for scale, z in pairs], outputs.size)


def outlying(labels: Tensor) -> Tensor:
    """Where a pasted object is."""
    return labels == ANOMALY


def inlying(labels: Tensor) -> Tensor:
    """Where something normal is, of whatever class."""
    return (labels != ANOMALY) & (labels != IGNORE)


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values at a mask of the same shape; 0, with a gradient of 0, where it is empty."""
    return values[mask].sum() / mask.sum().clamp(min=1)


def smooth(values: Tensor) -> Tensor:
    """Gaussian of 7x7 pixels and deviation 1 over each map of (B, H, W), mirrored at the border."""
    from torchvision.transforms.functional import gaussian_blur  # slow to import

    with torch.autocast(values.device.type, enabled=False):  # the convolution would round to bfloat16
        return gaussian_blur(values[:, None], [7, 7], [1.0, 1.0])[:, 0]
