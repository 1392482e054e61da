"""A network from elsewhere behind the suite's interface: any ``nn.Module`` that maps images to class logits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmark.errors import BenchmarkError
from benchmark.network import PENULTIMATE, Network, Prepared, scaled_size

FILTERS: Mapping[str, Mapping[str, Any]] = {
    "antialias": {"mode": "bilinear", "align_corners": False, "antialias": True},
    "bilinear": {"mode": "bilinear", "align_corners": False},
    "nearest": {"mode": "nearest-exact"},
    "pillow": {"mode": "bilinear", "align_corners": False, "antialias": True},  # of images that are no longer uint8
}
"""Resize filter -> keywords of ``F.interpolate``."""
PROBE = (64, 64)
"""Size of the image that finds out how many channels the taps have, where the network has no size of its own."""


class External(Network):
    """A module with its preprocessing.

    Args:
        module: maps float images (B, 3, h, w) to logits (B, K, h', w') at any stride: a tensor, a mapping that holds
            them as "logits" or "out", or a sequence that begins with them.
        classes: outputs C that count, those of `exclude` left out.
        size: (H, W) to which every image is resized. None takes images as they are, padded to the stride, or at the
            test scales.
        mean: subtracted from values in 0..1, one number or one per channel. The default is ImageNet's.
        std: divided by afterwards; ``mean=0, std=1`` is plain 0..1.
        filter: how images are resized. "antialias": bilinear with antialiasing, in floats; "bilinear": without;
            "nearest"; "pillow": Pillow's own bilinear, antialiased and rounded to uint8, as ``torchvision``'s Resize
            does to a PIL image. An input that a method has perturbed has no uint8 values and gets "antialias" then.
        exclude: outputs that are dropped before any softmax, for instance a void class.
        taps: name -> path of a submodule ("decoder.layers.4") whose output (B, D, h, w) methods may read. Call that of
            the last features before the classifier "penultimate": methods look for it under this name.
        head: path of the submodule that maps the "penultimate" tap to the logits. Two kinds of methods need it: those
            that put changed features through a last 1x1 convolution, and those that sample its dropout, for which it is
            an ``nn.Sequential`` that begins with the dropout.
        stride: sides of the input are multiples of this where there is no fixed `size`.
    """

    memory_format = torch.contiguous_format
    """Code from elsewhere may call ``view`` on its activations, which fails in the other layout."""

    def __init__(
        self,
        module: nn.Module,
        classes: int,
        *,
        size: tuple[int, int] | None = None,
        mean: float | Sequence[float] = (0.485, 0.456, 0.406),
        std: float | Sequence[float] = (0.229, 0.224, 0.225),
        filter: str = "antialias",
        exclude: Collection[int] = (),
        taps: Mapping[str, str] | None = None,
        head: str = "",
        stride: int = 8,
    ) -> None:
        if filter not in FILTERS:
            raise BenchmarkError(f"There is no resize filter '{filter}'; there are {', '.join(FILTERS)}.")
        mean, std = ((v,) * 3 if isinstance(v, (int, float)) else tuple(v) for v in (mean, std))
        super().__init__(classes, mean, std)
        self.module = module
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.filter = filter
        self.exclude = tuple(sorted(exclude))
        self.stride = stride
        self.preparation = {
            "size": list(self.size or ()),
            "filter": filter,
            "mean": list(mean),
            "std": list(std),
            "exclude": list(self.exclude),
            "stride": stride,
        }
        self._paths = dict(taps or {})
        self._head = head
        named = {f"The tap '{name}'": path for name, path in self._paths.items()} | ({"The head": head} if head else {})
        for what, path in named.items():
            if path not in dict(module.named_modules()):
                raise BenchmarkError(f"{what}: a {type(module).__name__} has no submodule '{path}'.")
        if head and PENULTIMATE not in self._paths:
            raise BenchmarkError(f"The head '{head}' maps the tap '{PENULTIMATE}' to the logits; name it in taps.")
        self.penultimate = PENULTIMATE if PENULTIMATE in self._paths else ""
        if self._paths:
            self.channels = self._probe()

    @property
    def body(self) -> nn.Module:
        """The module itself: its file of weights knows nothing of this wrapper."""
        return self.module

    @property
    def head(self) -> nn.Sequential | None:
        if not self._head:
            return None
        found = self.module.get_submodule(self._head)
        layers = list(found) if isinstance(found, nn.Sequential) else [found]
        return nn.Sequential(*layers, _Kept(self._kept))

    def forward(self, inputs: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        def keep(name: str):
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                found[name] = _maps(output, f"The tap '{name}' ({self._paths[name]})").clone()

            return hook

        hooks = [self.module.get_submodule(self._paths[name]).register_forward_hook(keep(name)) for name in taps]
        try:
            logits = _logits(self.module(inputs))
        finally:
            for hook in hooks:
                hook.remove()
        if missing := [name for name in taps if name not in found]:
            raise BenchmarkError(f"The forward of {type(self.module).__name__} passes no {', '.join(missing)}.")
        return {**found, "logits": self._kept(logits)}

    def prepare(self, images: Tensor, scale: int = 0, max_size: int = 0) -> Prepared:
        if self.size and scale:
            raise BenchmarkError(
                f"The network resizes every image to {self.size[1]}x{self.size[0]} and has no other scales; leave out "
                f"--scales."
            )
        if not self.size and not scale:
            return super().prepare(images)
        height, width = images.shape[-2:]
        target = self.size or scaled_size((height, width), scale, max_size, self.stride)
        return Prepared(self.normalise(self.resize(images, target)), target, target)

    def resize(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Images (B, 3, H, W) of 0..255 at another size (H', W'); they stay uint8 with "pillow", else become floats."""
        if tuple(images.shape[-2:]) == size:
            return images
        if self.filter == "pillow" and images.dtype == torch.uint8:
            return _pillow(images, size)
        return F.interpolate(images.float(), size, **FILTERS[self.filter])

    def _kept(self, logits: Tensor) -> Tensor:
        """The logits without the excluded ones.

        Raises:
            BenchmarkError: their number is not the one that was asked for.
        """
        outputs = logits.shape[1]
        kept = [i for i in range(outputs) if i not in self.exclude]
        if len(kept) != self.classes:
            dropped = f", {outputs - len(kept)} of them excluded," if self.exclude else ""
            raise BenchmarkError(
                f"The network gives {outputs} outputs{dropped} where {self.classes} are wanted; External(exclude=[...])"
                f" drops outputs, --classes NAME+1 says that there is one beyond the classes."
            )
        return logits[:, kept] if self.exclude else logits

    def _probe(self) -> dict[str, int]:
        """Channels of every tap, from a forward of an empty image."""
        training, reference = self.module.training, next(self.module.parameters(), self.mean)
        self.module.eval()
        with torch.no_grad():
            found = self(torch.zeros(1, 3, *(self.size or PROBE), device=reference.device), tuple(self._paths))
        self.module.train(training)
        return {name: found[name].shape[1] for name in self._paths}


class _Kept(nn.Module):
    """The end of a head: the outputs that count."""

    def __init__(self, kept: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, logits: Tensor) -> Tensor:
        return self.kept(logits)


def as_network(made: Any, classes: int, arch: str) -> Network:
    """What a function ``build`` returned as a network; a bare module gets the defaults of :class:`External`."""
    if isinstance(made, Network):
        return made
    if isinstance(made, nn.Module):
        return External(made, classes)
    raise BenchmarkError(
        f"The network '{arch}': its function returned a {type(made).__name__} and must return an nn.Module."
    )


def _logits(result: Any) -> Tensor:
    if isinstance(result, Mapping):
        result = next((result[key] for key in ("logits", "out") if key in result), result)
    elif isinstance(result, (tuple, list)) and result:
        result = result[0]
    return _maps(result, "The network")


def _maps(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor) and value.ndim == 4:
        return value
    found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise BenchmarkError(f"{what} gives {found} and must give maps (batch, channels, height, width).")


def _pillow(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pillow's bilinear of uint8 images (B, 3, H, W), which is not torch's to the last digit."""
    resized = [
        np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
        for image in images.permute(0, 2, 3, 1).cpu().numpy()
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(images.device)
