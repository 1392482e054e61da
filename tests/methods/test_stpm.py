"""STPM: nothing parts a student from its teacher but what it gets wrong."""

import pytest
import torch
import torch.nn.functional as F
from benchmark.methods.stpm import STPM
from encoders import random_encoder
from method_toys import prepared

from benchmark.data import collate
from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS
from benchmark.run.contract import check_method

TINY = "mobilenetv3_small_050"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    return random_encoder(TINY, tmp_path / "weights", monkeypatch)


@pytest.mark.parametrize("options", [":compare=cosine", ":compare=mse", "-64:student=pretrained:tap=32+8"])
def test_keeps_the_contract(options, tiny):
    findings = list(check_method(f"stpm:encoder={tiny}{options}"))
    assert [f for f in findings if f.wrong] == [] and len(findings) >= 7


@pytest.mark.parametrize("compare", ["cosine", "mse"])
def test_the_score_is_the_discrepancy_of_the_upsampled_layers(compare, tiny, tmp_path):
    workshop, entry = prepared(f"stpm:encoder={tiny}:compare={compare}:tap=16+8", tmp_path / "run")
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    method = entry.method
    with torch.no_grad():
        scores = method.score(batch, entry.networks)
        scale = entry.networks["encoder"](batch).scales[0]
        inputs = entry.networks["encoder"].module.prepare(batch.images).inputs
        maps = []
        for number, tap in enumerate(("16", "8")):
            t, s = scale.taps[tap], method.student(inputs)[number]
            if compare == "cosine":
                gap = 1 - (t * s).sum(1) / (t.norm(dim=1) * s.norm(dim=1)).clamp(min=1e-8)
            else:
                mean, deviation = (
                    b.split(method.widths)[number].view(1, -1, 1, 1) for b in (method.mean, method.deviation)
                )
                gap = (((t - mean) / deviation) - s).square().mean(1)
            # 48 x 64 pixels are padded to 64 x 64.
            maps.append(F.interpolate(gap[:, None], (64, 64), mode="bilinear", align_corners=False)[:, 0, :48])
    want = maps[0] * maps[1] if compare == "cosine" else (maps[0] + maps[1]) / 2
    assert torch.allclose(scores, want, rtol=1e-4, atol=1e-5)


def test_channels_are_standardised_over_the_training_images(tiny, tmp_path):
    workshop, entry = prepared(f"stpm:encoder={tiny}:tap=8", tmp_path / "run")
    train = [workshop.setup.train[i] for i in range(len(workshop.setup.train))]
    (batch,) = collate(train)
    features = entry.networks["encoder"](batch).scales[0].taps["8"].double()
    assert torch.allclose(entry.method.mean.double(), features.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(entry.method.deviation.double(), features.std((0, 2, 3), correction=0), atol=1e-4)


def test_a_pretrained_student_begins_with_the_teachers_values(tiny, tmp_path):
    first = {}
    for student in ("scratch", "pretrained"):
        _, entry = prepared(f"stpm:encoder={tiny}:tap=8:student={student}", tmp_path / student)
        teacher = entry.networks["encoder"].module.encoder.state_dict()
        mine = entry.method.student.encoder.state_dict()
        first[student] = max(float((mine[k] - teacher[k]).abs().mean()) for k in mine if k.endswith("conv_stem.weight"))
    assert 3 * first["pretrained"] < first["scratch"]  # after one step of training


def test_what_is_no_stride_is_refused(tiny, tmp_path):
    with pytest.raises(BenchmarkError, match="such as 8\\+16\\+32"):
        METHODS.create("stpm:tap=blocks.3")
    (finding,) = [f for f in check_method(f"stpm:encoder={tiny}:tap=5") if f.wrong]
    assert "5" in finding.wrong


def test_only_the_mse_needs_a_pass_over_the_training_images():
    assert STPM(compare="mse").observes and not STPM(compare="cosine").observes
