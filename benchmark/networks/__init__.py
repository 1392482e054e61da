"""Segmentation networks: one module per family, each with a function ``build(variant, classes, **options)``.

A function that does not name `variant` (or `classes`) is not given it, and it may return any ``nn.Module``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.networks._external import External, as_network
from benchmark.registry import NETWORKS

if TYPE_CHECKING:
    from benchmark.network import Network

__all__ = ["REFERENCE", "REHEARSAL", "External", "as_network", "build_network", "split_arch"]

REFERENCE = "pspnet-resnet50"
"""The network of the papers, for datasets that name none."""
REHEARSAL = "pspnet-small"
"""The smallest one that offers everything a method may ask for; plugins are tried on it."""


def build_network(arch: str, classes: int, options: Mapping[str, Any] | None = None, initial: bool = True) -> Network:
    """An untrained network.

    Args:
        arch: "family-variant"; the family is the longest registered name that it begins with.
        classes: number of known classes C.
        options: further keywords of the family's ``build``.
        initial: whether the initial values matter. Where weights are loaded next they do not, and nothing is
            downloaded for an option ``pretrained``.
    Raises:
        BenchmarkError: no such family or variant, or an option that the family does not know.
    """
    family, variant = split_arch(arch)
    build = NETWORKS.get(family)
    keywords = dict(options or {})
    if not initial:
        keywords.pop("pretrained", None)
    signature = inspect.signature(build)
    fixed = {
        name: value for name, value in (("variant", variant), ("classes", classes)) if name in signature.parameters
    }
    try:
        signature.bind(**fixed, **keywords)
    except TypeError as error:
        known = ", ".join(name for name in signature.parameters if name not in fixed) or "no options"
        raise BenchmarkError(f"The network '{arch}': {error}; it knows {known}.") from None
    return as_network(build(**fixed, **keywords), classes, arch)


def split_arch(arch: str) -> tuple[str, str]:
    """("pspnet", "resnet50") of "pspnet-resnet50"; a family alone has the variant ""."""
    for family in sorted(NETWORKS.names(), key=len, reverse=True):
        head, rest = arch[: len(family)], arch[len(family) :]
        if NETWORKS.canonical(head) == family and rest[:1] in ("", "-"):
            return family, rest[1:]
    family, _, variant = arch.partition("-")
    return family, variant
