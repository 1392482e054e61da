"""Features of several layers as one row per cell, of the shared network or of a frozen encoder."""

import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from benchmark.methods._cells import LEVELS, Cells
from encoders import random_encoder
from method_toys import SPEC, Given, fit, make_batch, prepared

from benchmark.data import collate
from benchmark.encoders import find
from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelEvaluator, View
from benchmark.networks import network_of
from benchmark.pool import Pool
from benchmark.records.record import read
from benchmark.registry import DATASETS, METHODS
from benchmark.run.contract import check_method

TINY = "mobilenetv3_small_050"
CALLS = ("knn:k=3:bank=200", "mahalanobis")


def maps(seed=0):
    random = torch.Generator().manual_seed(seed)
    return {"b": torch.rand(2, 4, 6, 8, generator=random), "c": torch.rand(2, 5, 3, 4, generator=random)}


def given(features):
    return Given(torch.zeros(2, 3, 6, 8), taps=[features])(make_batch()).scales[0]


def test_one_tap_stays_as_it_is():
    features = maps()
    rows = Cells("b").features(given(features))
    assert torch.equal(rows.view(2, 6, 8, 4), features["b"].permute(0, 2, 3, 1))


def test_a_finer_tap_is_averaged_over_the_cells_of_the_first():
    features = maps()
    rows = Cells("c+b").features(given(features)).view(2, 3, 4, 9)
    averaged = features["b"].reshape(2, 4, 3, 2, 4, 2).mean((3, 5))
    want = torch.cat([features["c"] / features["c"].norm(dim=1, keepdim=True), F.normalize(averaged, dim=1)], 1)
    assert torch.allclose(rows, want.permute(0, 2, 3, 1), atol=1e-6)


def test_every_tap_of_several_has_length_1_in_every_cell():
    rows = Cells("b+c").features(given({k: 1000 * v if k == "c" else v for k, v in maps().items()}))
    assert torch.allclose(rows[:, :4].norm(dim=1), torch.ones(96), atol=1e-5)
    assert torch.allclose(rows[:, 4:].norm(dim=1), torch.ones(96), atol=1e-5)


def test_needs_the_encoder_and_not_the_shared_network():
    needs = Cells("penultimate", TINY).needs(SPEC)
    assert set(needs) == {"encoder"} and needs["encoder"].network.frozen
    assert needs["encoder"].taps == tuple(LEVELS.split("+"))
    assert Cells("4+32", TINY).needs(SPEC)["encoder"].taps == ("4", "32")
    assert dict(Cells("4", f"{TINY}-360").needs(SPEC)["encoder"].network.options)["size"] == 360
    assert Cells("penultimate").needs(SPEC)["base"].network == SPEC


@pytest.mark.parametrize("tap", ["", "a+", "a+a"])
def test_no_tap_and_one_twice_are_refused(tap):
    with pytest.raises(BenchmarkError, match="tap is one feature or different ones"):
        METHODS.create("knn", tap=tap)


@pytest.mark.parametrize("call", CALLS)
def test_a_frozen_encoder_keeps_the_contract(call, tmp_path, monkeypatch):
    name = random_encoder(TINY, tmp_path / "weights", monkeypatch)
    findings = list(check_method(f"{call}:encoder={name}:tap=16+8"))
    assert [f for f in findings if f.wrong] == [] and len(findings) >= 7


@pytest.mark.parametrize("call", CALLS)
def test_the_shared_network_makes_no_difference_to_an_encoders_features(call, tmp_path, monkeypatch):
    name = random_encoder(TINY, tmp_path / "weights", monkeypatch)
    scores = []
    for seed in (0, 1):
        workshop, entry = prepared(f"{call}:encoder={name}:tap=16+8", tmp_path / str(seed))
        if seed:
            workshop.pool.forget()
        (batch,) = collate([workshop.setup.test[i] for i in range(2)])
        with torch.no_grad():
            scores.append(entry.method.score(batch, entry.networks))
    assert torch.equal(*scores)


def test_without_its_weights_the_method_says_what_to_install(tmp_path):
    (finding,) = [f for f in check_method("knn:k=3:bank=200:encoder=resnet18:tap=16") if f.wrong]
    assert "weights import imagenet resnet18" in finding.wrong


def test_pretrained_features_find_pasted_objects_without_any_training():
    root = os.environ.get("ANOMALY_DATA", "")
    if not root or not DATASETS.get("camvid-ood").available(Path(root)):
        pytest.skip("ANOMALY_DATA names no folder with CamVid and CamVid-OOD")
    try:
        find("tf_efficientnet_lite0")
    except BenchmarkError as error:
        pytest.skip(str(error))
    method = METHODS.create("knn:encoder=tf_efficientnet_lite0:k=3:bank=4000")
    networks = Pool(network_of, torch.device("cpu")).view(method.needs(SPEC))
    train, test = (
        DATASETS.create("pasted:base=camvid-ood", split=split, root=Path(root)) for split in ("train", "test")
    )
    fit(method, networks, [collate([train[i]])[0] for i in range(0, len(train), 15)])
    evaluator = PixelEvaluator(["per-image"])
    for i in range(0, len(test), 10):
        (batch,) = collate([test[i]])
        with torch.no_grad():
            evaluator.update(View(batch.ids[0], method.score(batch, networks)[0].numpy(), batch.labels[0].numpy()))
    assert evaluator.result("per-image").auroc > 0.93


def test_the_record_names_the_encoder(bench, tmp_path, monkeypatch):
    name = random_encoder(TINY, tmp_path / "weights", monkeypatch)
    call = f"knn:bank=200:encoder={name}-64:k=3"
    assert bench("run", "--methods", f"{call},knn:bank=200:k=3") == 0, bench.err
    (file, beside) = sorted(bench.runs.rglob("records/**/knn*.json"), key=lambda path: "encoder" not in path.name)
    found, shared = read(file), read(beside)
    assert (found.method.label, found.method.config["tap"]) == (call, "penultimate")
    assert found.other_networks["encoder"].pretrained["encoder"] == TINY
    assert not shared.other_networks and shared.method.config["tap"] == "conv_last.2"
