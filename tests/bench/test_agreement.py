"""Methods on a device are held against the CPU. Without a GPU the CPU stands beside itself."""

import time

import pytest
import torch

from benchmark.bench.agreement import bench_agreement, gap, terminal
from benchmark.errors import BenchmarkError
from benchmark.registry import load_plugin

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")

HALF = """
import torch
from benchmark.method import Method

class Half(Method):
    def score(self, batch, networks):
        assert not torch.is_autocast_enabled("cpu"), "bfloat16 is too coarse"
        return networks["base"](batch).logits()[:, 0]
"""


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
    rows = bench_agreement(["sml", "half"], "cpu", ("fp32", "bf16"), said.append)
    sml, half = rows
    assert not sml.failed and sml.gaps["fp32"].absolute == 0 < sml.gaps["bf16"].absolute
    assert half.failed and half.gaps["fp32"].absolute == 0 and "too coarse" in half.errors["bf16"]
    assert said[0] == "sml: ok" and "half: bf16: AssertionError: bfloat16 is too coarse" in said[1]
    table = terminal(rows, "cpu")
    assert table.endswith("it does not, or something broke: half.") and table.count("fp32") == 2


@without_cuda
@pytest.mark.parametrize("line", [("bench", "device", "--device", "cuda"), ("check", "msp", "--device", "cuda")])
def test_without_a_gpu_there_is_nothing_to_compare(bench, line):
    assert bench(*line) == 2
    assert "finds no" in bench.err and len(bench.err.strip().splitlines()) == 1


def test_from_the_deadline_on_no_method_is_begun():
    assert bench_agreement(["msp"], "cpu", ("fp32",), print, deadline=time.monotonic() - 1) == []
