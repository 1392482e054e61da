"""Arithmetic of a device, and methods that are held against the CPU. Without a GPU the CPU stands beside itself."""

import pytest
import torch

from benchmark.bench.devices import bench_devices, gap, terminal
from benchmark.cost_meter import Clock
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine, arithmetic, products
from benchmark.registry import load_plugin
from benchmark.run.contract import check_method, check_network

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
with_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
CUDA = torch.device("cuda")

HALF = """
import torch
from benchmark.method import Method

class Half(Method):
    def score(self, batch, networks):
        assert not torch.is_autocast_enabled("cpu"), "bfloat16 is too coarse"
        return networks["base"](batch).logits()[:, 0]
"""


def allowed():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.deterministic


def test_tf32_is_on_where_it_was_asked_for_and_nowhere_else():
    before = allowed()
    with products(CUDA, "tf32", repeatable=True):
        assert allowed() == (True, True, True)
        with products(CUDA, "fp32"):
            assert allowed() == (False, False, True)
        with products(CUDA, "bf16"):
            assert allowed()[:2] == (False, False)
        assert allowed() == (True, True, True)
    with arithmetic(torch.device("cpu"), "bf16"):
        assert allowed() == before and torch.is_autocast_enabled("cpu")
    assert allowed() == before and not torch.is_autocast_enabled("cpu")


def test_a_cpu_has_no_tf32(bench):
    for option in ("--precision", "--train-precision"):
        assert bench("run", "--dataset", "minihazards", "--dry-run", "--device", "cpu", option, "tf32") == 2
        assert "tf32 is arithmetic of NVIDIA's GPUs, not of 'cpu'; take fp32." in bench.err
    with pytest.raises(BenchmarkError, match="no precision 'fp8'; it is auto, fp32, tf32, bf16"):
        Machine.choose("cpu", "fp8")


def test_the_clock_waits_for_its_own_device(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    Clock("cuda:1").now()
    Clock("cpu").now()
    assert waited == [torch.device("cuda:1")]


def test_a_gap_is_measured_in_values_order_and_auroc():
    labels = torch.tensor([[0, 0, 254, 1, 255]], dtype=torch.uint8)
    expected = torch.tensor([[0.0, 1.0, 2.0, 3.0, 9.0]])
    same = gap(expected, expected, labels)
    assert (same.absolute, same.relative, same.rank, same.auroc) == (0, 0, pytest.approx(1), 0)
    swapped = gap(expected, torch.tensor([[0.0, 1.0, 3.0, 2.0, -9.0]]), labels)
    assert swapped.absolute == 1 and swapped.relative == pytest.approx(1 / 3)
    assert swapped.rank == pytest.approx(0.8) and swapped.auroc == pytest.approx(100 / 3)
    with pytest.raises(BenchmarkError, match="NaN"):
        gap(expected, expected * float("nan"), labels)


def test_every_precision_is_compared_and_what_breaks_is_named(registries, tmp_path):
    (tmp_path / "half.py").write_text(HALF)
    load_plugin(tmp_path / "half.py")
    said = []
    rows = bench_devices(["sml", "half"], "cpu", ("fp32", "bf16"), said.append)
    sml, half = rows
    assert not sml.failed and sml.gaps["fp32"].absolute == 0 < sml.gaps["bf16"].absolute
    assert half.failed and half.gaps["fp32"].absolute == 0 and "too coarse" in half.errors["bf16"]
    assert said[0] == "sml: ok" and "half: bf16: AssertionError: bfloat16 is too coarse" in said[1]
    table = terminal(rows, "cpu")
    assert table.endswith("it does not, or something broke: half.") and table.count("fp32") == 2


@without_cuda
@pytest.mark.parametrize("line", [("bench", "devices"), ("check", "msp", "--device", "cuda")])
def test_without_a_gpu_there_is_nothing_to_compare(bench, line):
    assert bench(*line) == 2
    assert "finds no" in bench.err and len(bench.err.strip().splitlines()) == 1


@with_cuda
def test_a_gpu_gives_what_the_cpu_gives():
    found = [*check_method("dicnet", "cuda"), *check_network("pspnet-small", "cuda")]
    assert not [f for f in found if f.wrong] and sum("are those of the CPU" in f.clause for f in found) == 2
