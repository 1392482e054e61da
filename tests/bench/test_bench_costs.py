"""``bench costs``: real trainings, fits and scores cut short; what fails is named and the rest goes on."""

import json
from pathlib import Path

import pytest
import torch
from training.training_toys import Blobs, Tiny

from benchmark.bench import costs as bench_costs
from benchmark.bench import stand_in
from benchmark.bench.stand_in import SIZE, StandIn
from benchmark.bench.step_timer import StepTimer, reason
from benchmark.cost_meter import Clock, CostMeter, MemoryMeter
from benchmark.data import IGNORE
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.recipe import Recipe
from benchmark.registry import DATASETS
from benchmark.run.options import Options
from benchmark.run.setup import Setup
from benchmark.training import Segmentation

CPU = Machine(torch.device("cpu"), progress=False)
HAMLET = """
from dataclasses import replace
from benchmark.run.contract import Toy

class Hamlet(Toy):
    card = replace(Toy.card, title="Hamlet", sizes={"train": 6, "val": 2, "test": 3})
    policy = replace(
        Toy.policy,
        paper_scales=(24, 48),
        recipes={
            "segmentation": {"epochs": 2, "steps_per_epoch": 0, "batch_size": 2, "scales": (24, 48)},
            "distillation": {"epochs": 3, "steps_per_epoch": 5, "batch_size": 2},
        },
    )
"""
GREEDY = """
import torch
from benchmark.method import Method
from benchmark.recipe import Recipe
from benchmark.training import Segmentation

class Huge(Segmentation):
    def loss(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 99 GiB")

class Greedy(Method):
    recipes = {"hoard": Recipe(task="hoard", batch_size=4)}

    def fit(self, data, networks):
        data.train(Huge(networks["base"].untrained(), data.train_set.classes), data.recipes["hoard"])

    def score(self, batch, networks):
        raise ValueError("nothing was learned")
"""

BLIND = """
from benchmark.method import Method

class Blind(Method):
    def observe(self, batch, networks):
        raise ValueError("no statistics here")

    def score(self, batch, networks):
        return networks["base"](batch).logits()[:, 0]
"""


@pytest.fixture
def hamlet(bench, monkeypatch):
    """The command line with a dataset of 48x64 pixels, which is its full size here."""
    bench.plugin("hamlet", HAMLET)
    for module in (stand_in, bench_costs):
        monkeypatch.setattr(module, "SIZE", (48, 64))

    def run(methods, *rest):
        where = ["--dataset", "hamlet", "--size", "64x48", "--device", "cpu", "--batch-size", "2"]
        return bench("bench", "costs", *where, "--methods", methods, *rest)

    return run


def test_every_row_has_its_trainings_its_times_and_its_hours(hamlet, bench):
    calls = "msp,deep_ensemble:members=2,dicnet,sml"
    assert hamlet(calls, "--write", str(bench.folder / "results")) == 0
    (path,) = (bench.folder / "results" / "costs").glob("*.json")
    found = json.loads(path.read_text())
    trainings = {t["title"]: t for t in found["trainings"]}
    assert list(trainings) == ["pspnet-small", "dicnet distillation"]
    assert trainings["pspnet-small"]["steps"] == 2 * 3 and trainings["dicnet distillation"]["steps"] == 15
    assert trainings["pspnet-small"]["sizes"] == "short side 24, 48"
    assert all(t["seconds"] > 0 and t["memory_gib"] > 0.1 and not t["error"] for t in trainings.values())
    methods = {m["label"]: m for m in found["methods"]}
    assert list(methods) == calls.split(",")
    assert all(m["network_ms"] > 0 and m["method_ms"] > 0 and not m["error"] for m in methods.values())
    assert methods["deep_ensemble:members=2"]["trainings"] == ["pspnet-small"] * 2
    assert methods["deep_ensemble:members=2"]["network_ms"] > methods["msp"]["network_ms"]
    assert methods["dicnet"]["trainings"] == ["pspnet-small", "dicnet distillation"]
    assert methods["sml"]["statistics_ms"] > 0 and methods["msp"]["statistics_ms"] is None
    assert (
        found["reduced"] == "" and found["train_images"] == 6 and found["provenance"]["precision"] in ("fp32", "bf16")
    )
    table = bench.out.partition("Training step")[2]
    assert "SML" in table and "6 training images for statistics and 3 test images" in table and "–" not in table


def test_the_rows_that_train_most_run_at_a_reduced_size(bench):
    line = ["--device", "cpu", "--size", "96x64", "--images", "2", "--batch-size", "1", "--network", "pspnet-small"]
    few = [f"--recipe={task}.batch_size=2" for task in ("segmentation", "synthesis", "pans")]
    methods = "tradi:members=2:bn_images=2,synthcp,pans"
    assert bench("bench", "costs", *line, *few, "--recipe=segmentation.scales=32", "--methods", methods) == 0
    for title in (
        "pspnet-small ",
        "pspnet-small:head=cosine",
        "tradi:bn_images=2:members=2 seg",
        "synthcp synthesis",
        "40x40",
    ):
        assert title in bench.out
    assert "Reduced (96x64, network pspnet-small, 2 images, segmentation.batch_size=2" in bench.out
    assert not Path("results").exists()


def test_what_does_not_fit_or_fails_is_named_and_the_others_go_on(hamlet, bench):
    bench.plugin("greedy", GREEDY)
    assert hamlet("greedy,msp") == 1
    assert "does not fit into the memory (--recipe hoard.batch_size=2 takes about half of it)" in bench.out
    rows = bench.out.partition("\nMethod ")[2].splitlines()
    assert any("greedy: fit: does not fit into the memory; evaluation: ValueError: nothing was" in r for r in rows)
    assert any(row.startswith("MSP ") and row.count("–") == 0 for row in rows)


def test_statistics_that_fail_leave_those_of_the_others(hamlet, bench):
    bench.plugin("blind", BLIND)
    assert hamlet("sml,blind") == 1
    assert "blind statistics: ValueError: no statistics here" in bench.out
    (row,) = [line for line in bench.out.partition("\nMethod ")[2].splitlines() if line.startswith("SML ")]
    assert "–" not in row


def test_a_dataset_that_publishes_no_number_of_images_is_refused(bench):
    assert bench("bench", "costs", "--dataset", "town", "--size", "64x48") == 2
    assert "town publishes no number of test images" in bench.err
    assert bench("bench", "costs", "--size", "big") == 2 and "write WIDTHxHEIGHT" in bench.err


def test_a_trial_is_not_stored_and_says_so_before_it_begins(bench):
    assert bench("bench", "costs", "--size", "64x48", "--write", "results") == 2
    assert "A reduced measurement (64x48) enters no table" in bench.err and not bench.out


class Paced(Segmentation):
    """Steps of known lengths, on a clock of their own."""

    def __init__(self, lengths=()):
        super().__init__(Tiny(), Blobs.card.classes)
        self.lengths, self.clock = list(lengths), 0.0

    def loss(self, batch):
        self.clock += self.lengths.pop(0)
        return super().loss(batch)


def test_steps_are_timed_after_the_warm_up_at_every_scale(tmp_path, monkeypatch):
    setup = Setup(Options(), "blobs", Blobs(), Blobs(), Blobs(), None, CPU)
    said = []
    timer = StepTimer(setup, 100, warm=2, steps=3, folder=tmp_path, say=said.append)
    recipe = Recipe(epochs=7, steps_per_epoch=0, batch_size=4, scales=(16, 32))
    task = Paced([9, 9, 1, 2, 3, 9, 9, 4, 5, 6])
    monkeypatch.setattr("benchmark.bench.step_timer.now", lambda device: task.clock)
    timer.measure(task, recipe, "blobs")
    cost = timer.costs["blobs"]
    assert cost.steps == 7 * 25 and not task.lengths and "after_step" not in vars(task)
    assert cost.seconds == pytest.approx((2 + 5) / 2), "the mean over the scales of the steps that were timed"
    assert not list(tmp_path.iterdir()) and said


def test_a_failing_training_keeps_its_reason(tmp_path):
    setup = Setup(Options(), "blobs", Blobs(), Blobs(), Blobs(), None, CPU)
    timer = StepTimer(setup, 100, 0, 1, tmp_path, print)
    with pytest.raises(BenchmarkError):
        timer.measure(Paced(), Recipe(optimiser="lion", batch_size=2, steps_per_epoch=1), "blobs")
    assert "optimiser 'lion' does not exist" in timer.costs["blobs"].error and timer.costs["blobs"].seconds is None
    assert reason(MemoryError(), CPU.device) == "does not fit into the memory"


def test_a_stand_in_has_sizes_classes_and_recipes_of_its_dataset():
    like = DATASETS.get("streethazards")
    full, small = StandIn(like, "train", (72, 128)), StandIn(like, "val", (72, 128), images=3)
    assert len(full) == 5125 and len(small) == 3 and full.card is like.card
    assert full.policy.paper_scales == (30, 38, 45, 52, 60) and full.policy.paper_max_size == 100
    assert full.policy.recipes["segmentation"] == {"scales": (30, 38, 45, 52, 60), "max_size": 100}
    assert full.policy.recipes["pans"] == {"crop": (45, 45)} and full.policy.recipes["distillation"] == {}
    sample = full[4997].checked(13)
    assert sample.image.shape == (3, 72, 128) and len(sample.labels.unique()) > 3
    assert torch.equal(sample.image, full[4997 % 4].image) and not torch.equal(sample.image, full[0].image)
    assert not (sample.labels == IGNORE).any() and full.fingerprint() != small.fingerprint()
    assert SIZE == (720, 1280) and StandIn(like, "test", SIZE, 1).policy is like.policy


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel keeps its high-water mark")
def test_memory_is_that_of_the_piece_of_work():
    def peak(elements):
        with CostMeter(CPU.device) as meter:
            torch.ones(elements).sum()
        return meter.memory_gib

    low, high, again = peak(1), peak(100_000_000), peak(1)
    assert high - low == pytest.approx(0.3725, abs=0.05) and again - low == pytest.approx(0, abs=0.05)


def test_on_the_cpu_no_memory_of_a_method_is_stated():
    with MemoryMeter(CPU.device) as meter:
        torch.ones(1000).sum()
    assert meter.mib is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_of_a_method_is_its_own_whoever_comes_first():
    """16 MiB before, 32 of its own at once, 64 shared and 128 in between that others share; a later 8 MiB."""
    device, clock = torch.device("cuda"), Clock("cuda")

    def taken(mib):
        return torch.empty(mib << 18, device=device)

    before = taken(16)
    with MemoryMeter(device) as first:
        own = [taken(8), taken(24)]
        with clock.shared():
            shared = taken(64)
            passing = taken(128)
            del passing
        own.pop()
        own.append(taken(12))
    with MemoryMeter(device) as second:
        taken(8)
    assert (first.mib, second.mib) == (32, 8)
    assert len(before) + len(shared) and len(own) == 2
