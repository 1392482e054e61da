"""ESPNetv2: an efficient segmentation network, with the weights that its authors trained on Cityscapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.networks._external import External
from benchmark.released import Release, ReleasedFile

VARIANTS = {
    "2.0": "the wide one (0.8 M parameters): 512 channels at stride 16, 66.4 mIoU on Cityscapes by its authors",
    "1.0": "half as wide: 256 channels at stride 16, 60.1 mIoU on Cityscapes by its authors",
}
SIZE = (512, 1024)
"""(H, W) at which the authors train and test on Cityscapes."""
OUTPUTS = 20
"""Of the released networks: Cityscapes' 19 classes, then one for all that its labels ignore."""

# There in model/segmentation/model_zoo/espnetv2.
_SOURCE = "github.com/sacmehta/EdgeNets, commit 2b232d3f7fb60658755dad1ebca0ffc895cc795e"


def _release(width: str, sha256: str) -> Release:
    file = f"espnetv2_s_{width}_city_1024x512.pth"
    return Release(
        files=(
            ReleasedFile(
                "file",
                f"the authors' {file}",
                (("", ""),),
                sha256=sha256,
            ),
        ),
        source=_SOURCE,
        license="MIT",
        network=f"espnetv2-{width}",
        trained_on="cityscapes",
        extra=1,
    )


RELEASED = {
    "espnetv2-2.0": _release("2.0", "a72d59699801c7ce8e8b89a53af9097eaaa60dc12180ecde86fd700ba1222fe8"),
    "espnetv2-1.0": _release("1.0", "0918c833fed889e32901ce739b1784fdd2b79f95a9aea199a469ca3394dd7a14"),
}


def build(variant: str, classes: int, native: bool = False) -> External:
    """An ESPNetv2.

    With 19 classes it has the authors' 20 outputs, of which the last ("ignored") is dropped before any softmax; with 20
    all of them count, and with any other number there are as many outputs as classes.

    Taps: ``level4``, the encoder's last features at stride 16 (512 channels, or 256), and ``penultimate``, the 10
    channels at stride 2 before the last convolution.

    Args:
        variant: one of VARIANTS, the width s.
        classes: number of classes C, an output for what is void among them where one is wanted.
        native: take images as they are, or at the test scales, instead of resizing all to 1024x512.
    Raises:
        BenchmarkError: no such variant.
    """
    if variant not in VARIANTS:
        raise BenchmarkError(
            f"There is no network 'espnetv2-{variant}'; known are {', '.join(f'espnetv2-{v}' for v in VARIANTS)}."
        )
    outputs = OUTPUTS if classes == OUTPUTS - 1 else classes
    return External(
        ESPNetv2(float(variant), outputs),
        classes,
        size=None if native else SIZE,
        exclude=range(classes, outputs),
        taps={"level4": "base_net.level4.6", "penultimate": "bu_dec_l4.merge_layer.2"},
        head="bu_dec_l4.merge_layer.3",
        stride=16,
    )


class ESPNetv2(nn.Module):
    """Encoder of EESP units, decoder of efficient pyramid poolings; logits (B, K, H, W) at the size of the input.

    All interpolations are bilinear with aligned corners, and so is the last, from stride 2 to the input's size.

    Args:
        width: s; the levels have 32, 64 s, 128 s and 256 s channels at strides 2, 4, 8 and 16.
        outputs: number of outputs K.

    Source: Mehta, Rastegari, Shapiro, Hajishirzi, "ESPNetv2: A Light-weight, Power Efficient, and General Purpose
        Convolutional Neural Network", CVPR 2019; names and decoder of sacmehta/EdgeNets.
    """

    def __init__(self, width: float, outputs: int) -> None:
        super().__init__()
        levels = [32, *(int(channels * width) for channels in (64, 128, 256))]
        decoder = (64, 48, 32)
        self.base_net = Encoder(levels)
        self.bu_dec_l1 = PyramidPooling(levels[3], decoder[0])
        self.bu_dec_l2 = PyramidPooling(decoder[0], decoder[1])
        self.bu_dec_l3 = PyramidPooling(decoder[1], decoder[2])
        self.bu_dec_l4 = PyramidPooling(decoder[2], outputs, last=True)
        self.merge_enc_dec_l2 = Gate(levels[2], decoder[0])
        self.merge_enc_dec_l3 = Gate(levels[1], decoder[1])
        self.merge_enc_dec_l4 = Gate(levels[0], decoder[2])
        self.bu_br_l2 = _norm_act(decoder[0])
        self.bu_br_l3 = _norm_act(decoder[1])
        self.bu_br_l4 = _norm_act(decoder[2])

    def forward(self, images: Tensor) -> Tensor:
        level1, level2, level3, level4 = self.base_net(images)
        value = self.bu_dec_l1(level4)
        for skipped, gate, norm, pool in (
            (level3, self.merge_enc_dec_l2, self.bu_br_l2, self.bu_dec_l2),
            (level2, self.merge_enc_dec_l3, self.bu_br_l3, self.bu_dec_l3),
            (level1, self.merge_enc_dec_l4, self.bu_br_l4, self.bu_dec_l4),
        ):
            value = pool(norm(_resize(value, skipped.shape[-2:]) + gate(skipped)))
        return _resize(value, images.shape[-2:])


class Encoder(nn.Module):
    """Features at strides 2, 4, 8 and 16."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.level1 = ConvNormAct(3, levels[0], 3, stride=2)
        self.level2_0 = DownSampler(levels[0], levels[1], reach=13)
        self.level3_0 = DownSampler(levels[1], levels[2], reach=11)
        self.level3 = nn.ModuleList(EESP(levels[2], levels[2], reach=9) for _ in range(3))
        self.level4_0 = DownSampler(levels[2], levels[3], reach=9)
        self.level4 = nn.ModuleList(EESP(levels[3], levels[3], reach=7) for _ in range(7))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        level1 = self.level1(images)
        level2 = self.level2_0(level1, images)
        level3 = self.level3_0(level2, images)
        for unit in self.level3:
            level3 = unit(level3)
        level4 = self.level4_0(level3, images)
        for unit in self.level4:
            level4 = unit(level4)
        return level1, level2, level3, level4


class EESP(nn.Module):
    """Extremely efficient spatial pyramid: four depthwise dilated convolutions of one projection, added up in turn.

    Args:
        inputs: channels.
        outputs: channels, a multiple of 4.
        reach: largest kernel, dilation included, that a branch may have; a larger one becomes 3.
        stride: 2 for the part of a down-sampler, which adds no input and ends without activation.
    """

    def __init__(self, inputs: int, outputs: int, reach: int, stride: int = 1) -> None:
        super().__init__()
        width = outputs // 4
        self.stride = stride
        self.proj_1x1 = ConvNormAct(inputs, width, 1, groups=4)
        kernels = sorted(kernel if kernel <= reach else 3 for kernel in (3, 5, 7, 9))
        self.spp_dw = nn.ModuleList(Depthwise(width, stride, dilation=(kernel - 1) // 2) for kernel in kernels)
        self.br_after_cat = NormAct(outputs)
        self.conv_1x1_exp = ConvNorm(outputs, outputs, 1, groups=4)
        self.module_act = nn.PReLU(outputs)  # of no use in a down-sampler, whose files hold it, too

    def forward(self, value: Tensor) -> Tensor:
        projected = self.proj_1x1(value)
        branches: list[Tensor] = []
        for convolution in self.spp_dw:
            branch = convolution(projected)
            branches.append(branch + branches[-1] if branches else branch)
        expanded = self.conv_1x1_exp(self.br_after_cat(torch.cat(branches, dim=1)))
        return expanded if self.stride == 2 else self.module_act(expanded + value)


class DownSampler(nn.Module):
    """Half the size: pooled input beside an EESP unit of stride 2, and the image itself, which is added to both."""

    def __init__(self, inputs: int, outputs: int, reach: int) -> None:
        super().__init__()
        self.eesp = EESP(inputs, outputs - inputs, reach, stride=2)
        self.inp_reinf = nn.Sequential(ConvNormAct(3, 3, 3), ConvNorm(3, outputs, 1))
        self.act = nn.PReLU(outputs)

    def forward(self, value: Tensor, image: Tensor) -> Tensor:
        result = torch.cat([_halve(value), self.eesp(value)], dim=1)
        while image.shape[-2] > result.shape[-2]:
            image = _halve(image)
        return self.act(result + self.inp_reinf(image))


class Gate(nn.Module):
    """A map of the encoder for the decoder: convolved, and weighted by channel from its global average."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.wt_layer = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False), nn.Sigmoid())
        self.expansion_layer = NestedConvNormAct(inputs, outputs, 3, groups=math.gcd(inputs, outputs))

    def forward(self, value: Tensor) -> Tensor:
        return self.wt_layer(value) * self.expansion_layer(value)


class PyramidPooling(nn.Module):
    """Efficient pyramid pooling: depthwise convolutions at five scales of the map, mixed by a grouped convolution.

    Args:
        inputs: channels.
        outputs: channels.
        last: whether these are the logits, which have a bias and neither normalisation nor activation.
    """

    width = 10
    scales = (2.0, 1.5, 1.0, 0.5, 0.1)
    smallest = 5
    """Least side of a scaled map."""

    def __init__(self, inputs: int, outputs: int, last: bool = False) -> None:
        super().__init__()
        width, branches = self.width, len(self.scales)
        self.projection_layer = NestedConvNormAct(inputs, width, 1)
        self.stages = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False) for _ in self.scales
        )
        self.merge_layer = nn.Sequential(
            NestedNormAct(width * branches),
            nn.ChannelShuffle(branches),
            NestedConvNormAct(width * branches, width, 3, groups=width),
            nn.Conv2d(width, outputs, 1, bias=last),
        )
        if not last:
            self.br = NestedNormAct(outputs)
        self.last = last

    def forward(self, value: Tensor) -> Tensor:
        projected = self.projection_layer(value)
        size = tuple(projected.shape[-2:])
        branches = []
        for scale, stage in zip(self.scales, self.stages, strict=True):
            scaled = tuple(max(math.ceil(side * scale), self.smallest) for side in size)
            if scale == 1:
                branches.append(stage(projected))
            elif scale > 1:
                branches.append(F.adaptive_avg_pool2d(stage(_resize(projected, scaled)), size))
            else:
                branches.append(_resize(stage(F.adaptive_avg_pool2d(projected, scaled)), size))
        merged = self.merge_layer(torch.cat(branches, dim=1))
        return merged if self.last else self.br(merged)


class NormAct(nn.Module):
    """BatchNorm and PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.act = nn.PReLU(channels)

    def forward(self, value: Tensor) -> Tensor:
        return self.act(self.bn(value))


class ConvNorm(nn.Module):
    """Convolution that keeps the size but for the stride, and BatchNorm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = _convolution(inputs, outputs, kernel, stride, groups)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, value: Tensor) -> Tensor:
        return self.bn(self.conv(value))


class ConvNormAct(ConvNorm):
    """The same with PReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups)
        self.act = nn.PReLU(outputs)

    def forward(self, value: Tensor) -> Tensor:
        return self.act(super().forward(value))


class Depthwise(nn.Module):
    """Dilated depthwise 3x3 convolution."""

    def __init__(self, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, channels, 3, stride, padding=dilation, dilation=dilation, groups=channels, bias=False
        )

    def forward(self, value: Tensor) -> Tensor:
        return self.conv(value)


class NestedConvNormAct(nn.Module):
    """Convolution, BatchNorm and PReLU under the names that the files have in the decoder."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.cbr = nn.Sequential(_convolution(inputs, outputs, kernel, 1, groups), *_norm_act(outputs))

    def forward(self, value: Tensor) -> Tensor:
        return self.cbr(value)


class NestedNormAct(nn.Module):
    """BatchNorm and PReLU under the names that the files have in the decoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.br = _norm_act(channels)

    def forward(self, value: Tensor) -> Tensor:
        return self.br(value)


def _norm_act(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def _resize(value: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(value, tuple(size), mode="bilinear", align_corners=True)


def _halve(value: Tensor) -> Tensor:
    return F.avg_pool2d(value, 3, stride=2, padding=1)
