"""Batches that do not fit into the memory are halved; what is measured is the same."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from harness import NUMBERED, measured

from benchmark.cost_meter import out_of_memory
from benchmark.data import Batch, Sample, collate
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.maps.infer import batches_of
from benchmark.network import NetworkSpec
from benchmark.pool import Pool
from benchmark.recipe import Recipe
from benchmark.run.contract import toy_workshop
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
LATER = """
import torch
from benchmark.method import Method

class Later(Method):
    def __init__(self, fits: int = 99):
        super().__init__()
        self.fits, self.calls = fits, 0

    def score(self, batch, networks):
        self.calls += 1
        if self.calls > self.fits and len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        ramp = torch.linspace(0, 1, 64).expand(len(batch), 48, 64)
        return ramp + torch.tensor([10.0 * int(i.rpartition("/")[2]) for i in batch.ids]).view(-1, 1, 1)
"""
"""So many batches fit, and of the later ones single images."""
COUNTING = """
import torch
from benchmark.method import Method

class Counting(Method):
    def __init__(self, most: int = 99, seen: str = ""):
        super().__init__()
        self.most, self.seen = most, seen
        self.register_buffer("images", torch.zeros(99, dtype=torch.int64))
        self._sizes = []

    def observe(self, batch, networks):
        self._sizes.append(len(batch))
        for image_id in batch.ids:
            self.images[int(image_id.rpartition("/")[2])] += 1
        networks["base"](batch)
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def fit(self, data, networks):
        print(f"{self.label} took {self.images[self.images > 0].tolist()} in {self._sizes}.")

    def score(self, batch, networks):
        return -networks["base"](batch).logits().amax(dim=1)
"""
"""Takes a batch into account, and then runs out of memory."""


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


def out_of_memory_lines(bench):
    return [line for line in bench.out.splitlines() if line.startswith("Out of memory")]


@pytest.mark.parametrize(("fits", "said"), [(99, 0), (2, 1), (1, 1)])
def test_in_the_second_pass_and_on_validation_images_it_is_the_same(bench, forwards, fits, said):
    """The test images once, the validation images, and the test images once more, in batches of three and one."""
    bench.plugin("later", LATER)
    wanted = ["--protocols", "open-set-fpr,calibration-val", "--methods"]
    assert bench("run", *wanted, "later", "--batch-size", "1") == 0, bench.err
    alone = measured(bench.record("later"))
    forwards.clear()
    assert bench("run", *wanted, f"msp,later:fits={2 * fits},energy", "--batch-size", "3") == 0, bench.err
    assert len(out_of_memory_lines(bench)) == 2 * said
    label = f"later+fits={2 * fits}"
    found = measured(bench.record(label))
    for name in ("open-set-fpr", "pooled", "per-image"):
        assert found["metrics"][name] == alone["metrics"][name], "not an image more or less"
    validated = alone["metrics"]["calibration-val"]["extra"]
    assert found["metrics"]["calibration-val"]["extra"] == pytest.approx(validated, rel=1e-4)
    assert bench.record("energy")["metrics"]["open-set-fpr"]["extra"]["validation_images"] == 4


def test_who_fails_in_the_second_pass_with_a_single_image_is_dropped(bench):
    bench.plugin("later", LATER.replace("and len(batch) > 1", ""))
    assert bench("run", "--protocols", "open-set-fpr", "--methods", "msp,later:fits=5", "--batch-size", "2") == 1
    assert bench.records() == {"msp"} and "OutOfMemoryError: CUDA out of memory" in bench.err


def test_infer_and_the_threshold_of_masks_go_on_with_fewer_images(bench):
    bench.plugin("later", LATER)
    assert bench("train", "--methods", "later") == 0
    masks = ["--threshold", "fpr=5", "--batch-size"]
    assert bench("infer", "--methods", "later", "--to", "alone", *masks, "1") == 0, bench.err
    assert bench("infer", "--methods", "msp,later:fits=1", "--to", "together", *masks, "3") == 0, bench.err
    assert len(out_of_memory_lines(bench)) == 2, "of the normal images; the four that are scored fit, or are one"
    made = [
        [path.read_bytes() for part in (label, f"masks/{label}") for path in sorted(Path(folder, part).rglob("*.*"))]
        for folder, label in (("alone", "later"), ("together", "later+fits=1"))
    ]
    assert len(made[0]) == 4 + 4 and made[1] == made[0], "maps and masks"
    assert bench("infer", "--methods", "later:fits=0", "--to", "together", "--batch-size", "4") == 0
    assert len(out_of_memory_lines(bench)) == 2 and "4 score maps written" in bench.out


@pytest.mark.parametrize("most", [1, 2])
def test_no_statistics_hold_an_image_twice(bench, most):
    """Who has run out of memory half-way begins again with smaller batches, whoever else observes beside it."""
    bench.plugin("counting", COUNTING)
    assert bench("train", "--methods", f"counting:most={most},counting:seen=all,sml") == 0, bench.err
    sizes = [1] * 4 if most == 1 else [2, 2]
    assert f"counting:most={most} took [1, 1, 1, 1] in {sizes}." in bench.out
    assert "counting:seen=all took [1, 1, 1, 1] in [4]." in bench.out
    assert [line for line in bench.out.splitlines() if line.startswith(("Out of memory", "Statistics"))] == [
        f"Statistics of the training images for counting:most={most}, counting:seen=all, sml",
        *(
            "Out of memory with 4 images at a time; going on with 2.",
            f"Statistics of the training images for counting:most={most}",
        ),
        *(
            (
                "Out of memory with 2 images at a time; going on with 1.",
                f"Statistics of the training images for counting:most={most}",
            )
            if most == 1
            else ()
        ),
    ]


@pytest.mark.parametrize("memory", [True, False])
def test_where_another_process_runs_out_of_memory_this_one_begins_again_too(tmp_path, monkeypatch, memory):
    """Both processes gather statistics of the same images, so that neither goes on alone."""
    workshop, entry = toy_workshop(tmp_path, ()), Entry(None, None, {}, {}, {}, "", {}, {}, "")
    monkeypatch.setattr(Entry, "label", "sml")
    monkeypatch.setattr("benchmark.run.workshop.agreed", lambda own: BenchmarkError("what the other one says"))
    monkeypatch.setattr("benchmark.run.workshop.gathered", lambda own: [own, memory])
    assert workshop.guard([entry], "observe()", lambda: None, again=True) is memory
    assert entry.error == ("" if memory else "what the other one says")


def test_what_cannot_even_observe_one_image_is_left_out(bench):
    bench.plugin("counting", COUNTING)
    assert bench("run", "--methods", "counting:most=0,sml") == 1
    assert bench.records() == {"sml"} and "OutOfMemoryError: CUDA out of memory" in bench.err


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OOM, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
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
    size = BatchSize.chosen(IMAGE, 0, CUDA)
    assert (size.images, size.most, size.cold) == (1, 9, True)
    size.warmed(pool, entries)
    assert size.images == expected and size.cold == (expected > 1)
    size.warmed(pool, entries)
    assert size.images == expected and not size.cold, "it grows once"


def test_elsewhere_the_size_is_what_was_asked_for_or_small():
    cpu, chosen = torch.device("cpu"), BatchSize.chosen
    assert (chosen(IMAGE, 0, cpu).images, chosen(IMAGE, 0, cpu).most) == (1, 1)
    assert (chosen(IMAGE, 5, CUDA).images, chosen(IMAGE, 5, CUDA).most) == (5, 5)


def blank(image_id, height, width):
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    return Sample(image_id, image, torch.zeros(height, width, dtype=torch.uint8))


def test_of_larger_images_fewer_go_through_at_a_time():
    """A batch holds 2^19 pixels: 4 images of 256x512, 2 of 512x512, 1 of any larger ones."""
    first = blank("a", 256, 512)
    batches = {height: collate([blank(str(i), height, 512) for i in range(4)])[0] for height in (128, 256, 512, 2048)}
    for device in (torch.device("cpu"), CUDA):
        size = BatchSize.chosen(first, 0, device)
        assert [len(next(size.parts(batch))) for batch in batches.values()] == [4, 4, 2, 1]
    assert [part.ids for part in BatchSize.chosen(first, 0, CUDA).parts(batches[512])] == [("0", "1"), ("2", "3")]
    assert [len(next(BatchSize.chosen(first, 3, CUDA).parts(batch))) for batch in batches.values()] == [3, 3, 3, 3]
    later = BatchSize.chosen(first, 0, CUDA, before=2)
    assert [len(next(later.parts(batch))) for batch in batches.values()] == [2, 2, 1, 1] and later.most == 2


def test_photos_of_any_sizes_come_in_batches_of_one_size_which_fit():
    sizes = [64, 64, 64, 64, 128, 128, 128, 64, 256]
    photos = [blank(str(index), height, 64) for index, height in enumerate(sizes)]
    workshop = SimpleNamespace(setup=SimpleNamespace(machine=Machine(torch.device("cpu"), "fp32", 0)))
    size = BatchSize(3, pixels=64 * 64)
    found = [(tried, batch.ids, len(digests)) for tried, batch, digests in batches_of(workshop, photos, [], size)]
    assert [ids for _, ids, _ in found] == [("0", "1", "2"), ("3",), ("4",), ("5",), ("6",), ("7",), ("8",)]
    assert [count for *_, count in found] == [3, 1, 1, 1, 1, 1, 1] and found[-1][0] == len(sizes)
    assert [tried for tried, *_ in found] == sorted(tried for tried, *_ in found)


def test_every_size_is_given_up_once_and_said_once():
    said, pool = [], Pool(lambda spec: None, torch.device("cpu"))
    size = BatchSize(5, most=9)
    for images in (5, 5, 3, 2, 2):
        size.halve(images, pool, said.append)
    assert (size.images, size.most) == (1, 1)
    assert [re.findall(r"\d+", line) for line in said] == [["5", "3"], ["3", "2"], ["2", "1"]]


def test_a_part_of_a_batch_is_of_its_samples():
    batch = Batch(("a", "b", "c"), torch.arange(36).view(3, 3, 2, 2), torch.arange(12).view(3, 2, 2))
    part = batch.part(1, 5)
    assert part.ids == ("b", "c") and torch.equal(part.labels, batch.labels[1:]) and batch.part(0, 3) is batch
