"""Monte Carlo dropout: sampled classifiers on one trunk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor, nn

from benchmark.method import DROPOUT, Batch, Method, Need, Networks
from benchmark.network import NetworkSpec, ScaleOutputs
from benchmark.recipe import digest
from benchmark.values import Range

from ._confidence import negative_log_max

CRITERIA = ("msp", "entropy", "mutual_information", "variance")


class MCDropout(Method):
    r"""Monte Carlo dropout: ``p = 1/T sum_t softmax(z_t)`` with the network's dropout active, then a criterion.

    The dropout is the network's last one, so that what is before it runs once and only what follows T times; of a
    PSPNet, an FCN or a DeepLabV3, this samples from the same distribution as T forwards. Everything else, batch
    normalisation included, stays in evaluation mode. An image's masks come from a generator seeded by its id: its score
    depends neither on other images nor on the order. With several test scales, each has masks of its own, and a
    sample's softmax is the mean over the scales.

    Args:
        samples: T.
        criterion: "msp" ``-log max_c p_c``, "entropy" ``H(p) / log C``, "mutual_information"
            ``H(p) - 1/T sum_t H(p_t)``, or "variance", that of ``p_tc`` over t, averaged over the classes.

    Source: Gal and Ghahramani, ICML 2016; Kendall and Gal, NeurIPS 2017.
    """

    title = "MC-dropout"
    paper = "Gal and Ghahramani, ICML 2016"

    def __init__(self, samples: Annotated[int, Range(2, 10_000)] = 30, criterion: str = "msp") -> None:
        super().__init__()
        if samples < 2:
            raise ValueError("at least 2 samples are needed.")
        if criterion not in CRITERIA:
            raise ValueError(f"the criterion is one of {', '.join(CRITERIA)}.")
        self.samples = samples
        self.criterion = criterion

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        return {"base": Need(base, (DROPOUT,))}

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs, (_, head) = networks["base"](batch), networks["base"].module.dropout
        images = [self._score_image(i, name, outputs.scales, outputs.size, head) for i, name in enumerate(batch.ids)]
        return torch.stack(images)

    def _score_image(
        self, index: int, image_id: str, scales: list[ScaleOutputs], size: tuple[int, int], head: nn.Sequential
    ) -> Tensor:
        generator = torch.Generator().manual_seed(int(digest(image_id, 15), 16))
        features = [scale.taps[DROPOUT][index : index + 1] for scale in scales]
        mean = torch.zeros(scales[0].logits.shape[1], *size, device=features[0].device)
        extra = torch.zeros_like(mean) if self.criterion == "variance" else torch.zeros_like(mean[0])
        for t in range(1, self.samples + 1):
            logits = [dropped_head(head, f, generator).float() for f in features]
            parts = [torch.softmax(s.upsample(z, size)[0], dim=0) for s, z in zip(scales, logits, strict=True)]
            p = torch.stack(parts).mean(dim=0) if len(parts) > 1 else parts[0]
            if self.criterion == "variance":  # Welford's running sums
                gap = p - mean
                mean += gap / t
                extra += gap * (p - mean)
            else:
                mean.add_(p, alpha=1 / self.samples)
                if self.criterion == "mutual_information":
                    extra += _entropy(p)
        if self.criterion == "msp":
            return negative_log_max(mean, dim=0)
        if self.criterion == "entropy":
            return _entropy(mean) / math.log(len(mean))
        if self.criterion == "mutual_information":
            return _entropy(mean) - extra / self.samples
        return (extra / (self.samples - 1)).mean(dim=0)


def dropped_head(head: nn.Sequential, features: Tensor, generator: torch.Generator) -> Tensor:
    """What a head that begins with dropout gives in training for features (1, D, h, w), masks from the generator.

    The masks are drawn on the CPU, so that every device samples the same.
    """
    dropout = head[0]
    shape = (*features.shape[:2], 1, 1) if isinstance(dropout, nn.Dropout2d) else features.shape
    mask = torch.rand(shape, generator=generator) >= dropout.p
    return head[1:](features * (mask / (1 - dropout.p)).to(features.device))


def _entropy(p: Tensor) -> Tensor:
    """Of distributions (C, H, W); a probability of 0 adds 0."""
    return torch.special.entr(p).sum(dim=0)
