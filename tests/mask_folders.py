"""Tiny Mask2Former and EoMT with random values, as folders that ``save_pretrained`` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

SIDE = 32
"""Sides of the squares that the tiny EoMT takes."""


def write_folder(kind: str, folder: Path, classes: int = 19, seed: int = 0) -> Path:
    """Write a tiny network; skips the test where the package is missing."""
    transformers = pytest.importorskip("transformers", reason="needs the extra 'masks', pip install -e '.[masks]'")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = {"mask2former": _mask2former, "eomt": _eomt}[kind](transformers, classes)
        for parameter in model.parameters():  # initial values of 0.02 would make all queries alike
            if parameter.ndim > 1:
                torch.nn.init.xavier_normal_(parameter, gain=2.0)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder


def _mask2former(transformers, classes):
    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = transformers.SwinConfig(
        image_size=SIDE, embed_dim=8, depths=[1] * 4, num_heads=[1, 2, 2, 2], window_size=4, out_features=stages
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=32,
        num_attention_heads=2,
        num_queries=12,
        num_labels=classes,
    )
    return transformers.Mask2FormerForUniversalSegmentation(config)


def _eomt(transformers, classes):
    config = transformers.EomtConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=16,
        num_blocks=1,
        num_queries=8,
        num_upscale_blocks=2,
        num_register_tokens=0,
        num_labels=classes,
    )
    model = transformers.EomtForUniversalSegmentation(config)
    model.attn_mask_probs.zero_()  # as at the end of a training
    return model
