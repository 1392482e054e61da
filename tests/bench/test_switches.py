"""``bench switches``: every way does the same work, is compared with the usual one, and says where it cannot be had."""

import copy
import time

import pytest
import torch
from torch import nn

from benchmark.bench import switches
from benchmark.bench.switches import USUAL, bench_switches, folded, terminal
from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.records.device import Switch
from benchmark.run.options import Options, ranked_datasets

QUIET = {"say": lambda text: None}


def measured(**more):
    options = Options(dataset=ranked_datasets()[0], network="pspnet-small", device="cpu", train_precision="fp32")
    return bench_switches(options, (36, 64), 1, **{**QUIET, **more})


def test_every_way_makes_the_same_step(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # tests/training/test_compiled.py has it
    monkeypatch.setattr(switches, "check_compiler", lambda device: None)
    found = measured()
    names = [one.name for one in found.training]
    assert names[0] == USUAL and names[-1] == "--compile" and "optimiser fused" in names
    assert "--train-precision tf32" not in names, "which a CPU has not"
    assert not [one.error for one in (*found.training, *found.forward) if one.error]
    assert (found.training[0].times_faster, found.training[0].difference) == (1.0, 0.0)
    same = [one for one in found.training if "precision" not in one.name]
    assert all(one.difference < 1e-4 for one in same)
    assert [one.name for one in found.forward][:2] == [USUAL, "batch normalisation folded into convolutions"]
    assert 0 < found.forward[1].difference < 1e-4, "another rounding, and no more"
    assert found.loading > 0 and found.limit == "" and found.optimiser == "sgd"
    text = " ".join(terminal(found).split())
    assert f"{found.batch_size} images of {found.size[1]}x{found.size[0]}, fp32, sgd, on cpu" in text
    assert "milliseconds of CPU time, medians of 1 rounds" in text


def test_what_cannot_be_had_is_said_and_the_rest_goes_on(monkeypatch):
    monkeypatch.setattr(switches, "check_compiler", _none)
    assert measured().training[-1] == Switch("--compile", error="--compile: no compiler")
    monkeypatch.setattr(switches, "folded", other)
    found = measured(compiles=False)
    assert found.training[-1].error == "not tried" and found.forward[1].error == "gives other logits"
    assert "gives other logits" in terminal(found)


def other(network):
    made = copy.deepcopy(network)
    with torch.no_grad():
        made.conv_last[4].weight.mul_(2)
    return made


def test_when_the_time_is_up_only_the_usual_way_is_measured():
    found = measured(deadline=time.monotonic() - 1, compiles=False)
    assert found.training[0].milliseconds > 0 and found.forward[0].milliseconds > 0
    assert {one.error for one in found.training[1:-1]} == {"not begun, the time was up"}


def test_a_batch_is_of_as_many_images_as_was_asked_for():
    options = Options(
        dataset=ranked_datasets()[0], network="pspnet-small", device="cpu", train_precision="fp32", batch_size=3
    )
    assert bench_switches(options, (36, 64), 1, compiles=False, **QUIET).batch_size == 3


@pytest.mark.parametrize("arch", ["pspnet-small", "fpn-tf_efficientnet_lite0"])
def test_a_folded_network_gives_the_same_logits(arch):
    torch.manual_seed(0)
    network = build_network(arch, 5, {}, initial=False).eval()
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
    made = folded(network)
    left = sum(isinstance(m, nn.BatchNorm2d) for m in made.modules())
    assert left < 0.1 * sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        expected, found = (each.segment(images).logits for each in (network, made))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_command(bench):
    typed = ("--network", "pspnet-small", "--size", "64x36", "--rounds", "1", "--device", "cpu", "--precision", "fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(switches, "check_compiler", _none)
        assert bench("bench", "switches", *typed) == 0, bench.err
    assert "training step" in bench.out and "times faster" in bench.out and "no compiler" in bench.out


def _none(device):
    raise BenchmarkError("--compile: no compiler")
