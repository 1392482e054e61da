"""Segmentation networks: one module per family, each with a function ``build(variant, classes, **options)``.

A function that does not name `variant` (or `classes`) is not given it, and it may return any ``nn.Module``. One that
names `weights_folder` gives a network with the weights of that folder, the user's ``--weights``, and trains none.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.encoders import FAMILY, OPTION, Pretrained, find, load_encoder
from benchmark.errors import BenchmarkError
from benchmark.networks._external import External, as_network
from benchmark.registry import NETWORKS

if TYPE_CHECKING:
    from benchmark.network import Network, NetworkSpec

__all__ = [
    "REFERENCE",
    "REHEARSAL",
    "REHEARSAL_MASKS",
    "External",
    "as_network",
    "begun",
    "build_network",
    "buildable",
    "network_of",
    "pretrained_of",
    "split_arch",
    "takes_folder",
]

REFERENCE = "pspnet-resnet50"
"""The network of the papers, for datasets that name none."""
REHEARSAL = "pspnet-small"
"""The smallest one that offers everything a method may ask for but masks; plugins are tried on it."""
REHEARSAL_MASKS = "maskformer-small"
"""The smallest one that offers masks, for methods that ask for these."""


def build_network(
    arch: str,
    classes: int,
    options: Mapping[str, Any] | None = None,
    initial: bool = True,
    folder: Path | None = None,
) -> Network:
    """An untrained network, or one that is read from a folder.

    Args:
        arch: "family-variant"; the family is the longest registered name that it begins with.
        classes: number of known classes C.
        options: further keywords of the family's ``build``.
        initial: whether the initial values matter. Where weights are loaded next they do not, and no pretrained ones
            are looked for.
        folder: the user's, for a family whose networks are read from one.
    Raises:
        BenchmarkError: no such family or variant, an option that the family does not know, or pretrained weights that
            are not on this machine.
    """
    family, variant = split_arch(arch)
    build = NETWORKS.get(family)
    keywords = dict(options or {})
    signature = inspect.signature(build)
    given = {"variant": variant, "classes": classes, "weights_folder": folder}
    fixed = {name: value for name, value in given.items() if name in signature.parameters}
    try:
        signature.bind(**fixed, **keywords)
    except TypeError as error:
        known = ", ".join(name for name in signature.parameters if name not in fixed) or "no options"
        raise BenchmarkError(f"The network '{arch}': {error}; it knows {known}.") from None
    network = as_network(build(**fixed, **keywords), classes, arch)
    if initial and network.pretrained:
        load_encoder(network.encoder, network.pretrained)
    return network


def network_of(spec: NetworkSpec, initial: bool = True, folder: Path | None = None) -> Network:
    """The untrained network of a spec; a frozen encoder is then finished, and one that is read from a folder.

    Args:
        spec: which.
        initial: as of :func:`build_network`.
        folder: as of :func:`build_network`.
    Raises:
        BenchmarkError: as of :func:`build_network`, or the pretrained weights are others than those of the spec.
    """
    network = build_network(spec.arch, spec.classes, dict(spec.options), initial, folder)
    if initial and network.pretrained and find(network.pretrained).sha256 != spec.pretrained:
        raise BenchmarkError(
            f"The pretrained weights of '{network.pretrained}' were changed while this command ran; give it again."
        )
    return network


def buildable(spec: NetworkSpec) -> bool:
    """Whether the network of a spec exists and has the options that are asked of it; its weights are not looked for."""
    try:
        with torch.random.fork_rng([]), torch.device("meta"):
            network_of(spec, initial=False)
    except BenchmarkError:
        return False
    return True


def begun(spec: NetworkSpec) -> NetworkSpec:
    """The spec with the digest of the pretrained weights that its options ask for.

    Where these are not on this machine there is none; :func:`network_of` then says what is missing.
    """
    try:
        found = pretrained_of(spec.arch, dict(spec.options))
    except BenchmarkError:
        found = None
    return dataclasses.replace(spec, pretrained=found.sha256 if found else "")


def pretrained_of(arch: str, options: Mapping[str, Any]) -> Pretrained | None:
    """The pretrained weights with which a network begins, None where it begins at random.

    Raises:
        BenchmarkError: as of :func:`build_network`.
    """
    if options.get(OPTION, "none") == "none":
        return None
    encoder = _encoder_of(arch, tuple(sorted(options.items())))
    return find(encoder) if encoder else None


@cache
def _encoder_of(arch: str, options: tuple[tuple[str, Any], ...]) -> str:
    """timm's name of the encoder that begins pretrained; empty where none does."""
    with torch.random.fork_rng([]), torch.device("meta"):
        # A frozen encoder has no classes, any other network has as many as one likes.
        return build_network(arch, 0 if split_arch(arch)[0] == FAMILY else 1, dict(options), initial=False).pretrained


def takes_folder(family: str) -> bool:
    """Whether the networks of a family are read from a folder of the user's."""
    return "weights_folder" in inspect.signature(NETWORKS.get(family)).parameters


def split_arch(arch: str) -> tuple[str, str]:
    """("pspnet", "resnet50") of "pspnet-resnet50"; a family alone has the variant ""."""
    for family in sorted(NETWORKS.names(), key=len, reverse=True):
        head, rest = arch[: len(family)], arch[len(family) :]
        if NETWORKS.canonical(head) == family and rest[:1] in ("", "-"):
            return family, rest[1:]
    family, _, variant = arch.partition("-")
    return family, variant
