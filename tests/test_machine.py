"""Device, precision and threads: what was asked for is what is computed, and a record says it."""

import pytest
import torch
from training.training_toys import Blobs, Tiny

from benchmark.cost_meter import Clock
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine, arithmetic, caution, products
from benchmark.network import NetworkSpec
from benchmark.pool import Pool
from benchmark.recipe import Recipe
from benchmark.training import Segmentation
from benchmark.training.schedule import seed_step
from benchmark.training.state import identity

CUDA = torch.device("cuda")


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


def test_the_clock_waits_for_its_own_device_where_somebody_reads_it(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    pool = Pool(lambda spec: None, torch.device("cuda:1"))
    spec, other = (NetworkSpec(arch, "toy", 4, Recipe()) for arch in ("a", "b"))
    pool.clock(spec).now()
    Clock("cpu").now()
    assert waited == [torch.device("cuda:1")]
    pool.time(False)
    pool.clock(spec).now(), pool.clock(other).now()
    assert len(waited) == 1
    pool.time(True)
    pool.clock(spec).now(), pool.clock(other).now()
    assert waited == [torch.device("cuda:1")] * 3


def test_a_numbered_gpu_becomes_the_one_that_plugins_mean_and_is_seeded(monkeypatch):
    chosen, forked = [], []
    for name, value in (("is_available", True), ("device_count", 2), ("is_initialized", True)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: forked.append(seed))
    assert Machine.choose("cuda:1", "fp32").device == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]
    assert Machine.choose("cuda", "fp32").device == torch.device("cuda") and len(chosen) == 1
    with pytest.raises(BenchmarkError, match="'cuda:2': there are 2, from 0"):
        Machine.choose("cuda:2", "fp32")
    seed_step(Recipe(seed=3), 5)
    assert forked == [3 * 1_000_003 + 5], "the seed goes to every GPU, whichever computes"


def test_only_a_cpu_that_computes_bf16_natively_takes_it_by_itself(monkeypatch):
    cpu = torch.device("cpu")
    for found, precision in (({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert Machine.choose("cpu").precision == precision
        assert caution(cpu, "fp32") == "" and bool(caution(cpu, "bf16")) == (precision == "fp32")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert Machine.choose("cpu").precision == "fp32", "who knows nothing of the processor is careful"


def test_who_asks_a_cpu_for_emulated_bf16_is_told(bench, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    words = "Precision bf16 is emulated on this CPU"
    for options, times in (((), 0), (("--precision", "bf16"), 1), (("--train-precision", "bf16"), 1)):
        assert bench("run", "--methods", "msp", "--dry-run", *options) == 0
        assert bench.out.count(words) == times, options


def test_threads_beside_the_networks_take_the_cores_that_those_leave(monkeypatch):
    monkeypatch.setattr("benchmark.machine.cores", lambda: 6)
    for threads, workers in ((1, 5), (4, 2), (6, 0), (8, 0)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert Machine.choose("cpu").workers == workers
    monkeypatch.setattr("benchmark.machine.cores", lambda: 64)
    assert Machine.choose("cpu").workers == 8


def test_precision_is_part_of_what_is_measured_and_of_what_is_fitted(bench):
    """Another arithmetic is measured again; statistics gathered in another are gathered again, a training is not."""
    assert bench("run", "--methods", "sml,dicnet") == 0
    first = {label: bench.record(label) for label in ("sml", "dicnet")}
    assert bench("run", "--methods", "sml,dicnet", "--precision", "bf16") == 0
    assert bench.out.count("the arithmetic changed from fp32 to bf16") == 2
    second = {label: bench.record(label) for label in ("sml", "dicnet")}
    assert [r["provenance"]["precision"] for r in (*first.values(), *second.values())] == ["fp32"] * 2 + ["bf16"] * 2
    keys = {label: [each[label]["method"]["fit_key"] for each in (first, second)] for label in first}
    assert keys["sml"][0] != keys["sml"][1] and keys["dicnet"][0] == keys["dicnet"][1]
    assert second["sml"]["method"]["fit"]["precision"] == "bf16"


def test_a_training_goes_on_in_the_arithmetic_in_which_it_began():
    task, recipe = Segmentation(Tiny(), Blobs.card.classes), Recipe()
    marks = [identity(task, recipe, Blobs(), None, *more) for more in ((), ("fp32",), ("bf16",), ("tf32",))]
    assert marks[0] == marks[1] and len(set(marks)) == 3
