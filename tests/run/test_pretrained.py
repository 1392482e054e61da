"""Runs with pretrained encoders: what the plan, the record and the table say of the weights, and what follows them."""

import pytest
import timm
import torch
from harness import Bench

from benchmark.encoders import FOLDER, find
from benchmark.leaderboard.wording import setting
from benchmark.records.record import read
from benchmark.registry import METHODS

TINY = "test_efficientnet"
NETWORK = f"fpn-{TINY}:encoder_weights=imagenet"

FROZEN = f"""
from benchmark.encoders import frozen
from benchmark.method import Method, Need

class Far(Method):
    def needs(self, base):
        return {{"base": Need(base), "encoder": Need(frozen("{TINY}-64"), ("16",))}}

    def score(self, batch, networks):
        outputs = networks["encoder"](batch)
        (scale,) = outputs.scales
        return scale.upsample(scale.taps["16"].norm(dim=1, keepdim=True), outputs.size)[:, 0]
"""


def write(folder, seed=5):
    torch.manual_seed(seed)
    torch.save(timm.create_model(TINY).state_dict(), folder / f"{TINY}.pth")


@pytest.fixture
def encoders(tmp_path, monkeypatch):
    """The user's folder with weights of the tiny encoder."""
    folder = tmp_path / "encoders"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    write(folder)
    return folder


def test_the_plan_and_the_record_say_which_weights_the_network_begins_with(bench: Bench, encoders):
    assert bench("run", "--methods", "msp", "--network", NETWORK, "--dry-run") == 0
    sha256 = find(TINY).sha256
    assert f"begins with {TINY}" in bench.out and sha256[:10] in bench.out and "train fpn" in bench.out
    once = [f"pans.{field}" for field in ("epochs=1", "steps_per_epoch=1", "batch_size=2")]
    recipe = [part for change in once for part in ("--recipe", change)]
    assert bench("run", "--methods", "msp,pans", "--network", NETWORK, *recipe) == 0, bench.err
    paths = sorted((bench.runs / "records").rglob("*.json"))
    msp, pans = map(read, paths)
    assert msp.network.pretrained["sha256"] == sha256 and msp.network.pretrained["file"] == f"{TINY}.pth"
    assert pans.other_networks["prototypes"].pretrained == msp.network.pretrained
    assert f"encoder pretrained ({TINY} a file in {FOLDER}, SHA-256 {sha256[:8]})" in setting([msp])
    assert not any(str(encoders) in path.read_text() for path in paths)
    assert bench("run", "--methods", "msp", "--network", NETWORK) == 0
    assert "msp: current" in bench.out


def test_other_weights_are_another_network(bench: Bench, encoders):
    assert bench("run", "--methods", "msp", "--network", NETWORK) == 0, bench.err
    write(encoders, seed=6)
    assert bench("run", "--methods", "msp", "--network", NETWORK, "--dry-run") == 0
    assert "the network's training (architecture, data or recipe) changed" in bench.out and "train fpn" in bench.out


def test_absent_weights_end_the_run_with_the_command_that_helps(bench: Bench, encoders):
    (encoders / f"{TINY}.pth").unlink()
    assert bench("run", "--methods", "msp", "--network", NETWORK) == 2
    assert f"`python -m benchmark weights import imagenet {TINY}` downloads them" in bench.err
    assert bench("run", "--methods", "msp", "--network", f"fpn-{TINY}") == 0, "from scratch where that is asked for"
    assert bench.record("msp", f"fpn-{TINY}")["network"]["pretrained"] == {}


DEFAULT = f"""
from dataclasses import replace
from benchmark.data import Policy
from benchmark.recipe import LightTraining
from benchmark.run.contract import Toy

once = {{"segmentation": {{"epochs": 1, "steps_per_epoch": 1, "batch_size": 2}}}}

class Village(Toy):
    policy = replace(
        Toy.policy,
        scales=(24,),
        recipes=once,
        pretrained=Policy(network="{NETWORK}", recipes=once, light=LightTraining(epochs=1, segmentation={{"lr": 0.5}})),
    )
"""


def test_a_dataset_has_a_policy_for_either_kind_of_network(bench: Bench, encoders):
    place = ("--plugin", bench.plugin("village", DEFAULT), "--data", bench.data, "--out", bench.runs, "--quiet")
    line = [*map(str, ("run", "--dataset", "village", "--methods", "msp", *place))]
    assert bench.type(*line) == 0, bench.err
    assert bench.type(*line, "--network", "pspnet-small") == 0, bench.err
    found = {r.network.label: r.network for r in map(read, (bench.runs / "records").rglob("*.json"))}
    assert set(found) == {NETWORK, "pspnet-small"}, "neither states its scales, which are its policy's"
    assert (found[NETWORK].scales, found[NETWORK].recipe["lr"]) == ([], 0.5)
    assert (found["pspnet-small"].scales, found["pspnet-small"].recipe["lr"]) == ([24], 0.02)
    (encoders / f"{TINY}.pth").unlink()
    assert bench.type(*line) == 2
    assert "`--network pspnet-small` trains a smaller network from scratch instead" in bench.err
    assert bench.type(*line, "--network", "pspnet-small") == 0


def test_a_method_with_a_frozen_encoder(bench: Bench, encoders):
    bench.plugin("far", FROZEN)
    assert bench("run", "--methods", "msp,far", "--dry-run") == 0
    assert f"frozen-{TINY} is {TINY}" in bench.out and "train frozen" not in bench.out
    assert bench("run", "--methods", "msp,far") == 0, bench.err
    other = bench.record("far")["other_networks"]["encoder"]
    assert other["weights_sha256"] == other["pretrained"]["sha256"] == find(TINY).sha256
    assert other["trained"] == {} and bench.record("msp")["other_networks"] == {}
    assert "far uses a frozen encoder" in " ".join(bench.out.split())
    write(encoders, seed=6)
    assert bench("run", "--methods", "msp,far", "--dry-run") == 0
    assert "msp: current" in bench.out and "far: the network 'encoder' changed" in bench.out


def test_without_its_frozen_encoder_only_that_method_fails(bench: Bench, encoders):
    bench.plugin("far", FROZEN)
    (encoders / f"{TINY}.pth").unlink()
    assert bench("run", "--methods", "msp,far") == 2
    assert "failed: far: " in bench.err and "weights import imagenet" in bench.err
    assert bench.records() == {"msp"}


def test_the_encoders_at_hand_are_listed(bench: Bench, encoders):
    assert bench("weights", "list") == 0
    assert TINY in bench.out and find(TINY).sha256[:12] in bench.out
    assert bench("weights", "import", "imagenet") == 2
    assert "Say which encoder" in bench.err


def test_all_leaves_out_what_lacks_its_encoder_and_who_names_it_is_told(bench: Bench, monkeypatch, tmp_path):
    monkeypatch.setattr(METHODS, "_sources", {name: METHODS._find()[name] for name in ("msp", "stpm")})
    monkeypatch.setattr("benchmark.encoders.PACKAGES", {})
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    sentence = "The pretrained weights of the encoder 'tf_efficientnet_lite0' are not on this machine"
    assert bench("run", "--methods", "all") == 0
    (line,) = [line for line in bench.out.splitlines() if line.startswith("stpm: left out: ")]
    assert sentence in line and not bench.err and bench.records() == {"msp"}
    for methods in ("stpm", "all,stpm"):
        assert bench("run", "--methods", methods) == 2
        assert bench.err.startswith(f"failed: stpm: {sentence}") and bench.err.count("\n") == 1
    monkeypatch.setattr(METHODS, "_sources", {"stpm": METHODS._find()["stpm"]})
    assert bench("run", "--methods", "all") == 2 and sentence in bench.err, "nothing is left to be measured"
