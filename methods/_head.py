"""The last layer of the shared network as an affine map of every feature cell, for methods that change its input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.data import ANOMALY
from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE, Batch, Handle, Need, Networks
from benchmark.network import NetworkSpec, ScaleOutputs

from ._cells import Cells

TOLERANCE = 1e-3
"""How far the logits of the layer may be from the network's, as a share of the largest, for it to be its last one."""
NO_CELLS = "no training pixel has a class, so that there are no features to fit to; use labelled images."
"""What a method says that has seen none."""


def needs_head(base: NetworkSpec) -> Mapping[str, Need]:
    """The shared network with the features that its last layer sees."""
    return {"base": Need(base, (PENULTIMATE,))}


class Head:
    """``z = W f + b`` of every cell, W and b those of the shared network's last 1x1 convolution.

    Image classifiers pool and then apply a linear layer; a segmenter with a 1x1 convolution at its end applies the same
    layer to every cell, so that a method for the one is a method for the cells of the other. Dropout in front of the
    convolution does nothing in evaluation mode. Made in a method's ``build``, which is where a network without such a
    layer is refused: a cosine classifier is none, nor is a sum of two.

    Args:
        networks: of the method; "base" is the network.
        positive: refuse features below 0, for formulas that make no sense of them.

    Attributes:
        cells: the features f as rows, one per cell.
        channels: D.

    Raises:
        BenchmarkError: the network has no such layer, or it does not give the network's logits.
    """

    def __init__(self, networks: Networks, positive: bool = False) -> None:
        self._network = networks["base"]
        self.cells = Cells(PENULTIMATE)
        self.channels = self.cells.channels(networks)
        self._parts()
        logits, features = _probe(self._network)
        if positive and features.min() < 0:
            raise BenchmarkError(
                f"its formula is one of features that are never below 0, as behind a ReLU, and those of "
                f"{self._network.spec.arch} are."
            )
        self._aligned = self._convention(logits, self.logits(features))

    def logits(self, features: Tensor) -> Tensor:
        """Logits (B, C, h, w) of features (B, D, h, w), by the network's own layers: those that it had of the same."""
        return self._whole()(features).float()

    def affine(self) -> tuple[Tensor, Tensor]:
        """W (C, D) and b (C,), rows of outputs that do not count left out."""
        convolution, rest = self._parts()
        weight, bias = convolution.weight.flatten(1), convolution.bias
        bias = torch.zeros_like(weight[:, 0]) if bias is None else bias
        # What follows the convolution only picks among its outputs, which are the rows.
        return rest(weight.T[:, :, None, None])[:, :, 0, 0].T, rest(bias[None, :, None, None])[0, :, 0, 0]

    def upsampled(self, scale: ScaleOutputs, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits (B, C, h, w) of the cells as maps (B, C, *size), the way the network's own logits go."""
        if logits.shape[-2:] != scale.logits.shape[-2:]:  # the network upsamples what its last layer gives
            logits = _resized(logits, scale.logits.shape[-2:], self._aligned)
        return scale.upsample(logits, size)

    def energy(self, batch: Batch, changed: Callable[[Tensor], Tensor]) -> Tensor:
        """``-logsumexp_c`` of changed logits at full size, (B, H, W).

        New logits at the cells are upsampled and averaged over the test scales before the logarithm, in this order, so
        that a change that changes nothing gives what the method `energy` gives, bit for bit.

        Args:
            batch: the images.
            changed: features (B, D, h, w), which it must not write into, to logits (B, C, h, w).
        """
        outputs = self._network(batch)
        first, *others = (
            self.upsampled(scale, changed(scale.taps[PENULTIMATE]).float(), outputs.size) for scale in outputs.scales
        )
        for other in others:
            first = first + other
        return -torch.logsumexp(first / len(outputs.scales) if others else first, dim=1)

    def averaged(self, batch: Batch, values: Callable[[Tensor], Tensor]) -> Tensor:
        """Values of the cells as a map (B, H, W): upsampled, then averaged over the test scales, as of distances.

        Args:
            batch: the images.
            values: features (B, D, h, w), which it must not write into, to values (B, h, w).
        """
        outputs = self._network(batch)
        maps = [
            scale.upsample(values(scale.taps[PENULTIMATE])[:, None], outputs.size)[:, 0] for scale in outputs.scales
        ]
        return sum(maps[1:], maps[0]) / len(maps)

    def known(self, batch: Batch) -> Iterator[Tensor]:
        """Features (N, D) of the cells of a training batch that show a known class, at every test scale."""
        for scale in self._network(batch).scales:
            shown = self.cells.labels(scale, batch.labels).flatten() < ANOMALY
            yield self.cells.features(scale)[shown]

    def _whole(self) -> nn.Module:
        head = self._network.module.head
        if head is None:
            raise BenchmarkError(
                f"needs the last layer of its network 'base', and {self._network.spec.arch} does not say which it is; "
                f"one of your own names it by External(head=...)."
            )
        return head

    def _parts(self) -> tuple[nn.Conv2d, nn.Module]:
        """The convolution, and what follows it."""
        head = self._whole()
        layers = list(head) if isinstance(head, nn.Sequential) else [head]
        layers = [each for each in layers if not isinstance(each, (nn.Dropout, nn.Dropout2d, nn.Identity))]
        first = layers[0] if layers else head
        # A class of its own may compute anything: the cosine classifier is a Conv2d, too.
        if type(first) is not nn.Conv2d or set(first.kernel_size) != {1} or first.groups != 1:
            raise BenchmarkError(
                f"needs a network whose last layer is a plain 1x1 convolution, and that of {self._network.spec.arch} "
                f"is a {type(first).__name__}; head=linear builds one where the network has that option."
            )
        return first, nn.Sequential(*layers[1:])

    def _convention(self, logits: Tensor, found: Tensor) -> bool:
        """Whether the network aligns corners where it upsamples what its last layer gives."""
        for aligned in (False, True):
            gap = (_resized(found, logits.shape[-2:], aligned) - logits).abs().max()
            if found.shape[1] == logits.shape[1] and gap <= TOLERANCE * logits.abs().max():
                return aligned
        raise BenchmarkError(
            f"what {self._network.spec.arch} calls its head does not give its logits from the penultimate features, "
            f"nor a bilinear enlargement of it; `check --network` says more."
        )


def _resized(logits: Tensor, size: tuple[int, ...], aligned: bool) -> Tensor:
    return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=aligned)


def _probe(handle: Handle) -> tuple[Tensor, Tensor]:
    """Logits and penultimate features of an image of noise."""
    network = handle.module
    side = network.stride * math.ceil(64 / network.stride)
    noise = torch.rand(1, 3, *(network.size or (side, side)), generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        scale = network.segment(noise.to(network.mean.device), taps=(PENULTIMATE,))
    return scale.logits, scale.taps[PENULTIMATE]


def largest(features: Tensor, percentile: float) -> Tensor:
    """The ``k = D - round(percentile D)``, at least 1, largest features of every cell, (B, D, h, w) to (B, k, h, w)."""
    channels = features.shape[1]
    return features.topk(max(1, channels - round(percentile * channels)), dim=1, sorted=False).values
