"""Maskomaly: what confident masks leave over, and the masks that are known to find anomalies."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from benchmark.methods._masks import favourite, largest_mask, masks_of
from torch import Tensor

from benchmark.blocks import MASKS, Masks
from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec


class Maskomaly(Method):
    """``s = 0.6 R + 0.4 B``, in [0, 1]; with ``P_q`` the largest probability of a query and ``G_q = sigmoid(m_q)``:

    - ``R = 1 - max_q P_q G_q`` over queries with an object and ``P_q > 0.7``, and over those of `ground` whatever they
      are; 0 on borders, where two queries with an object have ``G > 0.1``;
    - ``B = max_q P_q G_q`` over the queries of `found`.

    Queries are chosen per checkpoint. The authors took four (49, 31, 83, 32) by their overlap with the labelled
    anomalies of RoadAnomaly21's ten validation images and two of the ground (19, 24): evaluated there, the choice has
    seen the answers. Without `found` B is 0; with it, the method stands with those that saw outlier data.

    Args:
        found: numbers of the queries that find anomalies, joined by "+".
        ground: the same of those that cover the ground.

    Source: Ackermann et al., "Maskomaly: Zero-Shot Mask Anomaly Segmentation", BMVC 2023; as in
        jan-ackermann/Maskomaly.
    """

    title = "Maskomaly"
    paper = "Ackermann et al., BMVC 2023"
    trial: Mapping[str, str] = {"found": "0+1"}

    def __init__(self, found: str = "", ground: str = "") -> None:
        super().__init__()
        self.found, self.ground = _numbers(found), _numbers(ground)
        self.auxiliary_data = bool(found)

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return masks_of(base)

    def build(self, networks: Networks) -> None:
        queries = networks["base"].channels(MASKS)
        for query in (*self.found, *self.ground):
            if query >= queries:
                raise BenchmarkError(f"there is no query {query}; the network has 0 to {queries - 1}.")

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        return networks["base"](batch).over_masks(self.unclaimed)[:, 0]

    def unclaimed(self, masks: Masks) -> Tensor:
        """The score of a window, (B, 1, H, W)."""
        largest, thing = favourite(masks.classes)
        queries = torch.arange(largest.shape[1], device=largest.device)
        ground, found = (torch.isin(queries, queries.new_tensor(ids)) for ids in (self.ground, self.found))
        rest = 1 - largest_mask(masks, largest * ((thing & (largest > 0.7)) | ground))
        shown = sum((one * its[..., None, None] > 0.1).sum(1, keepdim=True) for one, its in masks.blocks(thing))
        return 0.6 * rest * (shown < 2) + (0.4 * largest_mask(masks, largest * found) if self.found else 0)


def _numbers(text: str) -> list[int]:
    parts = [part for part in text.split("+") if text]
    if not all(part.isdecimal() for part in parts):
        raise ValueError("queries are numbers from 0 joined by '+'.")
    return [int(part) for part in parts]
