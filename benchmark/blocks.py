"""Building blocks that networks share with methods: dilated encoders, pyramid pooling, masks with a class each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import BenchmarkError

POOL_SIZES = (1, 2, 3, 6)
"""Cells per side of PSPNet's four pooling branches (Zhao et al., CVPR 2017)."""
SYNC_BN = ("._tmp_running_mean", "._tmp_running_var", "._running_iter")
"""Sums of CSAIL's early synchronised BN: divided by the iterations they are its running_mean and running_var."""

MASKS = "masks"
"""Tap of a mask-classification network: the mask logits of its Q queries, (B, Q, N * h, w), with the grids (h, w) of N
windows of the input one below the other. All but networks that take squares have one window, the input."""
QUERIES = "queries"
"""Tap beside it: the class logits of the same queries, (B, Q, N, K + 1), "no object" last."""

BLOCK = 10
"""So many masks are looked at together."""

# Name -> timm model and its keywords; any other name is timm's own.
_ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    # The deep-stem ResNets of the CSAIL code base carry an "s" in timm.
    "resnet50": ("resnet50s", {}),
    "resnet101": ("resnet101s", {}),
    "resnet50-7x7": ("resnet50", {}),
    # Narrow where the resolution is high: there memory traffic, not arithmetic, is what a CPU spends its time on.
    "small": ("resnet10t", {"stem_type": "deep", "stem_width": 8, "avg_down": False, "channels": (16, 48, 64, 64)}),
}


def timm_name(name: str) -> str:
    """What timm calls an encoder of :func:`dilated_encoder`; empty where it is of our own making."""
    model, keywords = _ENCODERS.get(name, (name, {}))
    return "" if keywords else model


def dilated_encoder(name: str, stages: Sequence[int] = (3, 4)) -> nn.Module:
    """A timm ResNet at output stride 8 with random values: image to the feature maps of the chosen stages.

    Stages 3 and 4 keep the resolution of stage 2 and dilate their 3x3 convolutions by 2 and 4 instead (each stage's
    first convolution by 1 and 2), as in the CSAIL PSPNet.

    Args:
        name: "resnet50" and "resnet101" with the deep stem, "resnet50-7x7" with the plain one, "small", or a timm name.
        stages: which of the stages 1..4 to return; `encoder.feature_info.channels()` gives their channels.
    Raises:
        BenchmarkError: timm has no such model, or it has no stage at stride 8.
    """
    import timm  # takes as long as torch, and `list` reads plugins without building anything

    model, keywords = _ENCODERS.get(name, (name, {}))
    if not timm.is_model(model):
        raise BenchmarkError(
            f"There is no encoder '{name}'; take resnet18, resnet34, resnet50 or another ResNet of timm."
        )
    encoder: Any  # timm's wrapper, which adds feature_info to a module
    try:
        encoder = timm.create_model(
            model, pretrained=False, features_only=True, output_stride=8, out_indices=tuple(stages), **keywords
        )
    except Exception as error:  # timm raises whatever the architecture raises
        raise BenchmarkError(f"The encoder '{name}' cannot be dilated to output stride 8 ({_brief(error)}).") from error
    if set(encoder.feature_info.reduction()) != {8}:
        raise BenchmarkError(f"The encoder '{name}' has no four stages of which the last two are at stride 8.")
    return encoder


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class PyramidPooling(nn.ModuleList):
    """Features beside their context at four scales: (B, D, h, w) to (B, D + 4 * width, h, w).

    Branch i averages the map into POOL_SIZES[i]^2 cells, then 1x1 convolution, BN, ReLU, and bilinear upsampling.

    Args:
        channels: D.
        width: channels of each branch.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(size),
                nn.Conv2d(channels, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for size in POOL_SIZES
        )
        self.channels = channels + len(POOL_SIZES) * width

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[-2:]
        copy = features.contiguous() if averages_slowly(features) else None
        context = []
        branches: Iterable[Any] = self  # each a Sequential of four
        for average, convolution, norm, activation in branches:
            if copy is None or average.output_size == 1:
                cells = average(features)
            else:
                cells = average(copy).contiguous(memory_format=torch.channels_last)
            branch = activation(norm(convolution(cells)))
            context.append(F.interpolate(branch, size, mode="bilinear", align_corners=False))
        return torch.cat([features, *context], dim=1)


class CosineClassifier(nn.Conv2d):
    """Logits ``10 cos(f, w_c)`` of every location: a bias-free 1x1 convolution of normalised features and prototypes.

    Source: Fontanel et al., CVPRW 2021; the scale is theirs.
    """

    scale = 10.0

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * F.conv2d(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


@dataclass(frozen=True, eq=False)
class Masks:
    """What the queries of a mask-classification network say of one window of its input.

    Attributes:
        logits: of the masks, (B, Q, h, w) float32.
        classes: softmax over the K classes and, last, "no object", (B, Q, K + 1) float32.
        size: of the window in pixels.
    """

    logits: Tensor
    classes: Tensor
    size: tuple[int, int]

    def blocks(self, *beside: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Masks ``G_q = sigmoid(m_q)`` at every pixel, (B, q, *size), for a few queries at a time.

        Logits are upsampled, not masks. All at once, 100 masks of 1024x2048 pixels are 839 MB.

        Args:
            beside: tensors (B, Q, ...) of which each block gets its part, too.
        """
        for logits, *others in zip(*(each.split(BLOCK, dim=1) for each in (self.logits, *beside)), strict=True):
            yield F.interpolate(logits, self.size, mode="bilinear", align_corners=False).sigmoid(), *others

    def weighted(self, weights: Tensor) -> Tensor:
        """``sum_q w_q G_q`` at every pixel, (B, D, *size), for weights (B, Q, D)."""
        # In bfloat16, sums of 100 masks would keep two digits.
        exact = nullcontext() if weights.is_meta else torch.autocast(weights.device.type, enabled=False)
        total: Any = 0
        with exact:
            for shown, part in self.blocks(weights):
                total = total + torch.einsum("bqd,bqhw->bdhw", part, shown)
        return total

    def marginal(self) -> Tensor:
        """The class map ``S_k = sum_q P_qk G_q`` of the K classes, (B, K, *size); its sum over classes may pass 1."""
        return self.weighted(self.classes[..., :-1])


def window_starts(size: tuple[int, int]) -> list[int]:
    """Where the squares begin that cover an input of (H, W) pixels along its long side, as few as suffice."""
    short, long = sorted(size)
    count = -(-long // short)
    overlap = (count * short - long) / (count - 1) if count > 1 else 0
    return [int(i * (short - overlap)) for i in range(count)]


def over_windows(masks: Tensor, queries: Tensor, size: tuple[int, int], reduce: Callable[[Masks], Tensor]) -> Tensor:
    """What a function makes of the masks of each window, (B, D, *size); where windows overlap, the mean of theirs.

    Queries of different windows are different things: what can be averaged is what all of them say of a pixel.

    Args:
        masks: the tap :data:`MASKS`.
        queries: the tap :data:`QUERIES`.
        size: of the network's input.
        reduce: makes a map (B, D, H, W) of the masks of a window of (H, W) pixels.
    """
    classes = queries.float().softmax(dim=-1).unbind(dim=2)
    if len(classes) == 1:
        return reduce(Masks(masks.float(), classes[0], size))
    side, axis = min(size), 2 if size[0] > size[1] else 3
    total, shown = None, torch.zeros(size, device=masks.device)
    for start, part, known in zip(window_starts(size), masks.chunk(len(classes), 2), classes, strict=True):
        made = reduce(Masks(part.float(), known, (side, side)))
        total = made.new_zeros(*made.shape[:2], *size) if total is None else total
        total.narrow(axis, start, side).add_(made)
        shown.narrow(axis - 2, start, side).add_(1)
    assert total is not None
    return total / shown


def averages_slowly(features: Tensor) -> bool:
    """Whether the averages are better taken of a copy in the other layout.

    Averaging a channels-last map into few cells leaves most of a GPU idle: 2x2, 3x3 and 6x6 cells of the 90x160 map of
    a ResNet-50 took an H100 18.7 ms in bfloat16, with the copy 1.2 ms, the other layers of the network about 6 ms. The
    gradients were not measured, so that trainings stay as they are.
    """
    channels_last = features.is_contiguous(memory_format=torch.channels_last)
    return features.is_cuda and channels_last and not features.requires_grad


def initialise_decoder(module: nn.Module) -> None:
    """Initial values of CSAIL's decoders: the normal of He et al. for convolutions, BN weight 1 and bias 1e-4."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.constant_(part.bias, 1e-4)
