"""Checkpoints as the authors released them, and their networks in plain functions, straight from the files' names."""

import torch
import torch.nn.functional as F

BLOCKS = (3, 4, 6, 3)
PLANES = (64, 128, 256, 512)


class File(dict):
    """A state dictionary in the making, with values at which no signal dies or explodes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = torch.Generator().manual_seed(seed)

    def conv(self, name: str, *shape: int, bias: bool = False) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        self[f"{name}.weight"] = torch.randn(shape, generator=self.random) * (2 / fan_in) ** 0.5
        if bias:
            self[f"{name}.bias"] = torch.randn(shape[0], generator=self.random)

    def norm(self, name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            value = torch.rand(channels, generator=self.random)
            self[f"{name}.{part}"] = value / 2 + 0.5 if part in ("weight", "running_var") else value / 5
        self[f"{name}.num_batches_tracked"] = torch.tensor(7)


def encoder_file() -> File:
    file = File(1)
    for i, (inputs, outputs) in enumerate(((3, 64), (64, 64), (64, 128)), start=1):
        file.conv(f"conv{i}", outputs, inputs, 3, 3)
        file.norm(f"bn{i}", outputs)
    inputs = 128
    for layer, (blocks, planes) in enumerate(zip(BLOCKS, PLANES), start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            shapes = ((planes, inputs, 1, 1), (planes, planes, 3, 3), (4 * planes, planes, 1, 1))
            for i, shape in enumerate(shapes, start=1):
                file.conv(f"{name}.conv{i}", *shape)
                file.norm(f"{name}.bn{i}", shape[0])
            if block == 0:
                file.conv(f"{name}.downsample.0", 4 * planes, inputs, 1, 1)
                file.norm(f"{name}.downsample.1", 4 * planes)
            inputs = 4 * planes
    return file


def decoder_file() -> File:
    file = File(2)
    for i in range(4):
        file.conv(f"ppm.{i}.1", 512, 2048, 1, 1)
        file.norm(f"ppm.{i}.2", 512)
    file.conv("cbr_deepsup.0", 512, 1024, 3, 3)
    file.norm("cbr_deepsup.1", 512)
    file.conv("conv_last.0", 512, 4096, 3, 3)
    file.norm("conv_last.1", 512)
    file.conv("conv_last.4", 13, 512, 1, 1, bias=True)
    file.conv("conv_last_deepsup", 13, 512, 1, 1, bias=True)
    return file


def student_file() -> File:
    file = File(3)
    file.conv("encoder.conv1", 64, 3, 7, 7)
    file.norm("encoder.bn1", 64)
    inputs = 64
    for layer, (blocks, planes) in enumerate(zip(BLOCKS, PLANES), start=1):
        for block in range(blocks):
            name = f"encoder.layer{layer}.{block}"
            for i, source in enumerate((inputs, planes), start=1):
                file.conv(f"{name}.conv{i}", planes, source, 3, 3)
                file.norm(f"{name}.bn{i}", planes)
            if block == 0 and layer > 1:
                file.conv(f"{name}.downsample.0", planes, inputs, 1, 1)
                file.norm(f"{name}.downsample.1", planes)
            inputs = planes
    for i in range(4):
        file.conv(f"decoder.ppm.{i}.1", 512, 512, 1, 1)
        file.norm(f"decoder.ppm.{i}.2", 512)
    file.conv("decoder.conv_last.0", 512, 2560, 3, 3)
    return file


def norm(file, name, x):
    parts = (file[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *parts)


def dilation_of(layer: int, block: int, first: bool) -> tuple[int, int]:
    """(stride, dilation) of a 3x3 convolution at output stride 8."""
    if layer < 3:
        return (2 if layer == 2 and block == 0 and first else 1), 1
    return 1, {3: 2, 4: 4}[layer] // (2 if block == 0 and first else 1)


def residual(file, name, layer, block, x, convolutions):
    """A residual block; `convolutions` are the indices of its 3x3 convolutions."""
    y = x
    last = 3 if f"{name}.conv3.weight" in file else 2
    for i in range(1, last + 1):
        stride, dilation = dilation_of(layer, block, i == convolutions[0]) if i in convolutions else (1, 1)
        pad = dilation if i in convolutions else 0
        y = F.conv2d(y, file[f"{name}.conv{i}.weight"], stride=stride, padding=pad, dilation=dilation)
        y = norm(file, f"{name}.bn{i}", y)
        y = F.relu(y) if i < last else y
    if f"{name}.downsample.0.weight" in file:
        stride = 2 if layer == 2 else 1
        x = norm(file, f"{name}.downsample.1", F.conv2d(x, file[f"{name}.downsample.0.weight"], stride=stride))
    return F.relu(x + y)


def stages(file, prefix, x, convolutions):
    for layer, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            x = residual(file, f"{prefix}layer{layer}.{block}", layer, block, x, convolutions)
        yield x


def pyramid(file, name, x):
    branches = [x]
    for i, size in enumerate((1, 2, 3, 6)):
        y = F.conv2d(F.adaptive_avg_pool2d(x, size), file[f"{name}.{i}.1.weight"])
        y = F.relu(norm(file, f"{name}.{i}.2", y))
        branches.append(F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=False))
    return torch.cat(branches, dim=1)


def run_csail(encoder, decoder, x):
    """Main and auxiliary logits by the published description, straight from the files' names."""
    for i in (1, 2, 3):
        x = F.relu(norm(encoder, f"bn{i}", F.conv2d(x, encoder[f"conv{i}.weight"], stride=2 - (i > 1), padding=1)))
    middle, deep = list(stages(encoder, "", F.max_pool2d(x, 3, 2, 1), convolutions=(2,)))[2:]
    x = F.conv2d(pyramid(decoder, "ppm", deep), decoder["conv_last.0.weight"], padding=1)
    x = F.relu(norm(decoder, "conv_last.1", x))
    y = F.relu(norm(decoder, "cbr_deepsup.1", F.conv2d(middle, decoder["cbr_deepsup.0.weight"], padding=1)))
    heads = ((x, "conv_last.4"), (y, "conv_last_deepsup"))
    return [F.conv2d(z, decoder[f"{n}.weight"], decoder[f"{n}.bias"]) for z, n in heads]


def run_student(file, x):
    x = F.relu(norm(file, "encoder.bn1", F.conv2d(x, file["encoder.conv1.weight"], stride=2, padding=1)))
    *_, deep = stages(file, "encoder.", F.max_pool2d(x, 3, 2, 1), convolutions=(1, 2))
    return F.conv2d(pyramid(file, "decoder.ppm", deep), file["decoder.conv_last.0.weight"], padding=1)


def with_sync_bn(file):
    """The same file as the synchronised BN of CSAIL would have written it."""
    more = dict(file)
    for name in file:
        if name.endswith("running_mean"):
            stem = name.removesuffix("running_mean")
            more[stem + "_tmp_running_mean"] = torch.full_like(file[name], 9.0)
            more[stem + "_tmp_running_var"] = torch.full_like(file[name], 9.0)
            more[stem + "_running_iter"] = torch.ones(1)
    return more
