"""PAnS: how far a feature is from the nearest class prototype."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.method import Batch, Method, Need, Networks
from benchmark.network import NetworkSpec
from benchmark.recipe import LIGHT_SEGMENTATION, LightRecipe, Recipe


class PAnS(Method):
    r"""Prototypes: ``s = 1 - (max_c cos(f, w_c) + 1) / 2``, with f a location's features and w_c a class prototype.

    The network is trained with a cosine classifier (logits ``10 cos(f, w_c)``) by a recipe of its own. The maximum over
    the classes is taken on the feature grid, at 1/8 of the resolution, then upsampled; with several test scales the
    confidences are averaged. s lies in [0, 1].

    Args:
        arch: network to train instead of the shared one's architecture. The authors' encoder has the plain stem:
            "pspnet-resnet50-7x7"; theirs also activates by leaky ReLU throughout, here only the decoder's last
            features do.

    Source: Fontanel et al., "Detecting Anomalies in Semantic Segmentation with Prototypes", CVPRW 2021
        (arXiv 2106.00472).
    """

    title = "PAnS"
    paper = "Fontanel et al., CVPRW 2021"
    recipes: Mapping[str, Recipe] = {
        # The released training; its batch of 2 per GPU is taken as 8 over all devices. The factors bring the short side
        # of 720x1280 to 300 and the long side to 1000 pixels.
        "pans": Recipe(
            task="pans",
            epochs=40,
            steps_per_epoch=0,
            batch_size=8,
            lr=0.007,
            nesterov=True,
            decay_everything=True,
            scale_range=(300 / 720, 1000 / 1280),
            crop=(450, 450),
            label_size="full",
            seed=42,
        )
    }
    light: Mapping[str, LightRecipe] = {"pans": LIGHT_SEGMENTATION}

    def __init__(self, arch: str = "") -> None:
        super().__init__()
        self.arch = arch

    def needs(self, base: NetworkSpec) -> Mapping[str, Need]:
        options = {**dict(base.options), "head": "cosine"}
        spec = dataclasses.replace(
            base,
            arch=self.arch or base.arch,
            recipe=self.spec.recipes["pans"],
            options=tuple(sorted(options.items())),
            weights="",  # a file that stands in for the shared network has no cosine classifier
        )
        return {"prototypes": Need(spec, ("cosine",))}

    def score(self, batch: Batch, networks: Networks) -> Tensor:
        outputs = networks["prototypes"](batch)
        confidences = [
            scale.upsample((scale.taps["cosine"].amax(dim=1, keepdim=True) + 1) / 2, outputs.size)[:, 0]
            for scale in outputs.scales
        ]
        return 1 - torch.stack(confidences).mean(dim=0)
