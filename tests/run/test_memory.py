"""Batches that do not fit into the memory are halved; what is measured is the same."""

import pytest
import torch
from harness import NUMBERED, measured

from benchmark.cost_meter import out_of_memory
from benchmark.data import Batch, Sample
from benchmark.network import NetworkSpec
from benchmark.pool import Pool
from benchmark.recipe import Recipe
from benchmark.run.entry import Entry
from benchmark.run.scoring import BatchSize

GREEDY = """
import torch
from benchmark.method import Method

class Greedy(Method):
    def __init__(self, most: int = 1, error: str = "cuda"):
        super().__init__()
        self.most, self.error = most, error

    def score(self, batch, networks):
        scores = -networks["base"](batch).logits().amax(dim=1)
        if len(batch) > self.most:
            raise {
                "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 99 GiB"),
                "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."),
            }[self.error]
        return scores
"""
OOM = torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("error", ["cuda", "cpu"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost_or_counted_twice(bench, error, workers, forwards):
    bench.plugin("numbered", NUMBERED)
    bench.plugin("greedy", GREEDY)
    methods = ["numbered", "msp", f"greedy:error={error}", "energy"]
    assert bench("run", "--methods", "numbered,msp,max_logit,energy", "--batch-size", "1") == 0
    labels = ("numbered", "msp", "max_logit", "energy")
    alone = [(measured(bench.record(label)), bench.rows(label)) for label in labels]
    forwards.clear()
    line = ["--methods", ",".join(methods), "--force", "--workers", workers]
    assert bench("run", *line, "--batch-size", "3") == 0, bench.err
    said = [line for line in bench.out.splitlines() if "Out of memory" in line]
    assert said == [
        "Out of memory with 3 images at a time; going on with 2.",
        "Out of memory with 2 images at a time; going on with 1.",
    ]
    assert forwards == [3, 2, 1, 1, 1, 1], "the batch, its halves, the halves of its first half, the last image"
    greedy = "greedy" if error == "cuda" else f"greedy+error={error}"  # whose scores are max-logit's
    found = [(measured(bench.record(label)), bench.rows(label)) for label in (*labels[:2], greedy, labels[3])]
    assert found[0] == alone[0], "scores that do not depend on the batch: not an image more or less, in order"
    for (record, _), (expected, _) in zip(found[1:], alone[1:], strict=True):
        assert record["dataset"] == expected["dataset"]
        assert record["metrics"]["pooled"]["auroc"] == pytest.approx(expected["metrics"]["pooled"]["auroc"], abs=1e-5)
    assert bench.record("msp")["cost"]["batch_size"] == 1


def test_what_does_not_fit_alone_is_left_out_and_the_others_go_on(bench):
    bench.plugin("greedy", GREEDY)
    assert bench("run", "--methods", "greedy:most=0,msp", "--batch-size", "4") == 1
    assert bench.records() == {"msp"}
    assert "OutOfMemoryError: CUDA out of memory. Tried to allocate 99 GiB" in bench.err and "toy/0" in bench.err


@pytest.mark.parametrize("workers", [0, 2])
def test_what_does_not_fit_while_the_images_are_counted_is_not_counted_twice(bench, monkeypatch, workers):
    """Of the first batch the full-size logits are looked at once more, for a hint."""
    import benchmark.run.evaluate as module

    assert bench("run", "--methods", "msp", "--batch-size", "3") == 0
    expected = bench.record("msp")

    def greedy(logits):
        if len(logits) > 2:
            raise OOM
        return False

    monkeypatch.setattr(module, "are_probabilities", greedy)
    assert bench("run", "--methods", "msp", "--batch-size", "3", "--force", "--workers", workers) == 0, bench.err
    assert "Out of memory with 3 images at a time; going on with 2." in bench.out
    found = bench.record("msp")
    assert (found["dataset"], found["segmentation"]) == (expected["dataset"], expected["segmentation"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OOM, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("the prototypes are gone"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_which_errors_are_of_memory(error, expected):
    assert out_of_memory(error) == expected


def test_the_error_of_the_cpus_allocator_is_one_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert out_of_memory(caught.value)


IMAGE = Sample("a", torch.zeros(3, 720, 1280, dtype=torch.uint8), torch.zeros(720, 1280, dtype=torch.uint8))
CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("free", "expected"),
    [(80, 9), (8, 4), (1, 1)],  # of which half is for 1 GiB an image; 9 images of this size are the most
)
def test_on_a_gpu_the_free_memory_decides_after_the_first_batch(monkeypatch, free, expected):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ((free - 1) << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 << 30)
    pool = Pool(lambda spec: None, CUDA)
    spec = NetworkSpec("x", "x", 2, Recipe())
    pool.memory_mib[spec], pool.latest_mib[spec] = 9000.0, 768.0  # the training images came in larger batches
    entries = [Entry(None, None, {}, {}, {}, "", {}, {}, "", memory_mib=mib) for mib in (None, 256.0, 128.0)]
    size = BatchSize(IMAGE, 0, CUDA)
    assert (size.images, size.most, size.cold) == (1, 9, True)
    size.warmed(pool, entries)
    assert size.images == expected and size.cold == (expected > 1)
    size.warmed(pool, entries)
    assert size.images == expected and not size.cold, "it grows once"


def test_elsewhere_the_size_is_what_was_asked_for_or_small():
    cpu = torch.device("cpu")
    assert (BatchSize(IMAGE, 0, cpu).images, BatchSize(IMAGE, 0, cpu).most) == (1, 1)
    assert (BatchSize(IMAGE, 5, CUDA).images, BatchSize(IMAGE, 5, CUDA).most) == (5, 5)
    size = BatchSize(IMAGE, 5, cpu)
    assert [size.halve(5), size.halve(3), size.halve(2)] == [3, 2, 1] and size.most == 1


def test_a_part_of_a_batch_is_of_its_samples():
    batch = Batch(("a", "b", "c"), torch.arange(36).view(3, 3, 2, 2), torch.arange(12).view(3, 2, 2))
    part = batch.part(1, 5)
    assert part.ids == ("b", "c") and torch.equal(part.labels, batch.labels[1:]) and batch.part(0, 3) is batch
