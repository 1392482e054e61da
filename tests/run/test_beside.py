"""Metrics in threads beside the forwards: the same records, the same sentences, nothing lost."""

import threading
from pathlib import Path

import pytest
import torch
from harness import FAILING, measured

from benchmark.run.beside import Beside
from benchmark.run.scoring import to_cpu

REUSING = """
import torch
from benchmark.method import Method

class Reusing(Method):
    kept = None

    def score(self, batch, networks):
        found = -networks["base"](batch).logits().amax(dim=1)
        if self.kept is None:
            self.kept = torch.empty_like(found)
        return self.kept.copy_(found)
"""


@pytest.mark.parametrize("count", [1, 3])
def test_records_are_those_of_a_serial_pass(bench, count):
    """Of the first pass, of validation images and of the second pass."""
    bench.plugin("reusing", REUSING)
    methods = ["msp", "energy", "dicnet", "reusing"]
    line = ["--methods", ",".join(methods), "--protocols", "open-set-fpr,smiyc-obstacles,calibration-val"]
    found = []
    for number in (0, count):
        assert bench("run", *line, "--force", "--workers", number) == 0, bench.err
        found.append([(measured(bench.record(m)), bench.rows(m)) for m in methods])
    assert found[0] == found[1]


@pytest.mark.parametrize("how", ["hole", "raise"])
def test_who_fails_is_named_with_its_image_and_the_others_go_on(bench, how):
    bench.plugin("failing", FAILING)
    outs = []
    for number in (0, 2):
        bench("run", "--methods", f"msp,failing:how={how}", "--force", "--workers", number)
        assert bench.records() == {"msp"}
        outs.append(next(line for line in bench.err.splitlines() if line.startswith("failed")))
    assert outs[0] == outs[1] and "toy/2" in outs[1]


def test_a_damaged_image_loses_nothing_that_was_measured(bench, forwards):
    assert bench("run", "--methods", "msp,energy", "--workers", "0") == 0
    whole = measured(bench.record("msp"))
    mark = bench.data / "damaged"
    mark.write_text("3")
    assert bench("run", "--methods", "msp,energy", "--force", "--workers", "2") == 2
    mark.unlink()
    forwards.clear()
    assert bench("run", "--methods", "msp,energy", "--force", "--workers", "2") == 0
    assert len(forwards) == 1, "the three images before it are not measured again"
    assert measured(bench.record("msp")) == whole


def test_pieces_of_one_name_are_done_in_order_and_one_at_a_time():
    beside, seen, busy = Beside(4), {"a": [], "b": []}, {"a": threading.Lock(), "b": threading.Lock()}

    def work(name, index):
        assert busy[name].acquire(blocking=False)
        seen[name].append(index)
        busy[name].release()

    for index in range(200):
        for name in seen:
            assert beside.submit(name, lambda n=name, i=index: work(n, i), index) is None
    assert list(beside.settle()) == []
    beside.close()
    assert seen == {"a": list(range(200)), "b": list(range(200))}


def test_what_a_piece_raises_comes_back_with_its_context():
    beside = Beside(1)
    assert beside.submit("a", lambda: 1 / 0, "first") is None
    error, context = beside.submit("a", lambda: None, "second")
    assert isinstance(error, ZeroDivisionError) and context == "first"
    assert beside.submit("b", lambda: [][0], "third") is None
    [(name, error, context)] = beside.settle()
    assert (name, context) == ("b", "third") and isinstance(error, IndexError)
    beside.close()


def test_who_stops_waiting_for_a_piece_finds_it_again():
    """Ctrl-C comes while the main thread waits; the state that is kept then must not be of half a piece."""
    beside, goes = Beside(1), threading.Event()
    beside.submit("a", lambda: goes.wait(60) and 1 / 0, "first")
    future, _ = beside._pending["a"]
    exception = future.exception

    def interrupted():
        future.exception = exception
        raise KeyboardInterrupt

    future.exception = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(beside.settle())
    goes.set()
    [(name, error, context)] = beside.settle()
    assert (name, context) == ("a", "first") and isinstance(error, ZeroDivisionError)
    beside.close()


SEEN = """
from pathlib import Path
from benchmark.run.contract import Toy

class Seen(Toy):
    def __getitem__(self, index):
        if self.split == "test":
            Path(f"read {index}").touch()
        return super().__getitem__(index)
"""
PATIENT = """
import time
from pathlib import Path
from benchmark.method import Method

class Patient(Method):
    def score(self, batch, networks):
        until = time.monotonic() + (30 if Path("patience").exists() else 0)
        following = Path(f"read {int(batch.ids[0].removeprefix('toy/')) + 1}")
        while following.name != "read 4" and not following.exists():
            if time.monotonic() > until:
                raise RuntimeError(f"nobody has {following}")
            time.sleep(0.01)
        return -networks["base"](batch).logits().amax(dim=1)
"""


def test_an_image_is_read_while_the_one_before_is_scored(bench):
    """The method waits, while it scores an image, until the next one was read; without threads that never happens."""
    bench.plugin("seen", SEEN)
    bench.plugin("patient", PATIENT)
    line = ["--dataset", "seen", "--methods", "patient"]
    line += [f"--recipe=segmentation.{field}" for field in ("epochs=1", "steps_per_epoch=1", "batch_size=2")]
    assert bench("run", *line, "--workers", "0") == 1 and "nobody has read" in bench.err
    for mark in Path.cwd().glob("read *"):
        mark.unlink()
    Path("patience").touch()
    assert bench("run", *line, "--workers", "2") == 0, bench.err


def test_what_is_on_the_cpu_is_not_copied_and_nothing_stays_nothing():
    tensor = torch.arange(3)
    assert to_cpu(tensor)() is tensor and to_cpu(None)() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_copy_on_its_way_to_the_cpu_is_of_the_moment_when_it_was_sent():
    tensor = torch.zeros(1 << 24, device="cuda")
    product = torch.eye(4096, device="cuda")
    for _ in range(20):
        product = product @ product  # keeps the device busy, so that the copy is late
    tensor += product[0, 0]
    sent = to_cpu(tensor)
    tensor += 1
    assert sent().is_pinned() and bool((sent() == 1).all())
