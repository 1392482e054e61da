"""Mask2Anomaly: the pixels that no class claims, less those under a confident mask of what never is an obstacle."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.methods._masks import favourite, largest_mask, masks_of
from torch import Tensor

from benchmark.blocks import Masks
from benchmark.errors import BenchmarkError
from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec

STUFF = "building+wall+fence+pole+traffic light+traffic sign+vegetation+terrain+sky"
"""Cityscapes' classes 2 to 10, which the authors take."""


class Mask2Anomaly(Method):
    """``s = (1 - max_k S_k) (1 - R)``, the first factor averaged over the image and its mirror image.

    R is 1 where ``max_q P_q G_q >= 1/2`` over queries whose favourite is one of the classes `stuff` with a probability
    ``P_q > 0.95``, and 0 elsewhere: S is the class map, ``G_q = sigmoid(m_q)``. Where windows overlap, their largest
    masks are averaged. The released code refines only images with two such masks or more; here one is enough. Of the
    authors' trainings (global masked attention, outliers) nothing is done here.

    Args:
        refine: whether R counts; without it it is 0.
        mirror: whether the mirror image is asked as well.
        stuff: names of classes joined by "+"; those that the network does not know are passed over.

    Source: Rai et al., "Unmasking Anomalies in Road-Scene Segmentation", ICCV 2023; as in shyam671/Mask2Anomaly.
    """

    title = "Mask2Anomaly score"
    paper = "Rai et al., ICCV 2023"

    def __init__(self, refine: bool = True, mirror: bool = True, stuff: str = STUFF) -> None:
        super().__init__()
        self.refine, self.mirror, self.stuff = refine, mirror, {name.lower() for name in stuff.split("+")}

    @property
    def forwards(self) -> float:
        return float(self.mirror)

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return masks_of(base)

    def build(self, networks: Networks) -> None:
        names = networks["base"].class_names or ()
        self.ids = [index for index, name in enumerate(names) if name.lower() in self.stuff]
        if self.refine and not self.ids:
            raise BenchmarkError(
                "no class of the network is known as one of stuff; give stuff=NAME+NAME or refine=false."
            )

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs, largest = networks["base"](batch), networks["base"](batch).max_logits()[0]
        if self.mirror:
            mirrored = networks["base"].run(batch.images.flip(-1)).max_logits()[0].flip(-1)
            largest = (largest + mirrored) / 2
        if not self.refine:
            return 1 - largest
        return (1 - largest) * (outputs.over_masks(self.surest)[:, 0] < 0.5)

    def surest(self, masks: Masks) -> Tensor:
        """``max_q P_q G_q`` over the confident masks of stuff, (B, 1, H, W)."""
        largest, _ = favourite(masks.classes)
        stuff = masks.classes[..., self.ids].amax(dim=-1) == largest
        return largest_mask(masks, largest * (stuff & (largest > 0.95)))
