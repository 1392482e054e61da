"""Recipes for small images and a small network, trained from scratch on a CPU within minutes.

The authors' recipes assume an ImageNet encoder, 100,000 iterations and a GPU. Chosen by the validation mIoU (images
without anomalies) of MiniHazards and, where a dataset adds to them, its own; no anomaly was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def light_recipes(
    segmentation_epochs: int,
    distillation_epochs: int,
    synthesis_epochs: int,
    segmentation: Mapping[str, Any] | None = None,
    **shared: Any,
) -> dict[str, dict[str, Any]]:
    """Overrides of every task for a dataset of a few hundred small images.

    Args:
        segmentation_epochs: of the shared network, of ensemble members, of TRADI's and PAnS's networks.
        distillation_epochs: of DiCNet's student.
        synthesis_epochs: of SynthCP's generator.
        segmentation: further fields of the networks' recipes.
        shared: fields of every task, for instance the scales.
    """
    fast = {
        "steps_per_epoch": 0,
        "batch_size": 4,
        "optimiser": "adamw",
        "betas": (0.9, 0.98),
        "schedule": "cosine",
        "warmup_steps": 60,
        "max_size": 0,
        "decay_everything": False,
        **shared,
    }
    network = {
        **fast,
        "epochs": segmentation_epochs,
        "lr": 0.012,
        "weight_decay": 0.01,
        "label_size": "half",
        "aux_weight": 0.0,
        "scale_range": (),
        "crop": (),
        **(segmentation or {}),
    }
    return {
        "segmentation": network,
        "pans": network,
        "distillation": {**fast, "epochs": distillation_epochs, "lr": 0.006, "weight_decay": 0.0},
        "synthesis": {"epochs": synthesis_epochs, "batch_size": 4, "lr": 1e-3, **shared},
    }
