"""What methods on the masks of a mask-classification network share."""

from __future__ import annotations

from torch import Tensor

from benchmark.blocks import MASKS, QUERIES, Masks
from benchmark.method import Need
from benchmark.network import NetworkSpec


def masks_of(base: NetworkSpec) -> dict[str, Need]:
    """The shared network with its masks; another kind of network is refused."""
    instead = "take a mask-classification network, for instance --network mask2former --weights FOLDER"
    return {"base": Need(base, (MASKS, QUERIES), instead)}


def favourite(classes: Tensor) -> tuple[Tensor, Tensor]:
    """Of the classes (B, Q, K + 1) of queries: the largest probability, and whether it is that of an object, (B, Q)."""
    largest, index = classes.max(dim=-1)
    return largest, index < classes.shape[-1] - 1


def largest_mask(masks: Masks, weights: Tensor) -> Tensor:
    """``max_q w_q G_q`` at every pixel, (B, 1, H, W), for weights (B, Q) of at least 0; 0 where there is no query."""
    found = None
    for shown, part in masks.blocks(weights):
        here = (shown * part[..., None, None]).amax(dim=1, keepdim=True)
        found = here if found is None else found.maximum(here)
    assert found is not None
    return found
