"""Metrics in threads beside the forwards: the same records, the same sentences, nothing lost."""

import threading

import pytest
from harness import FAILING, measured

from benchmark.run import evaluate as module
from benchmark.run.beside import Beside


@pytest.fixture
def threads(monkeypatch):
    """Sets the number of threads for the metrics."""
    return lambda count: monkeypatch.setattr(module, "metric_threads", lambda device: count)


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
def test_records_are_those_of_a_serial_pass(bench, threads, count):
    bench.plugin("reusing", REUSING)
    methods = ["msp", "energy", "dicnet", "reusing"]
    found = []
    for number in (0, count):
        threads(number)
        assert bench("run", "--methods", ",".join(methods), "--force") == 0
        found.append([(measured(bench.record(m)), bench.rows(m)) for m in methods])
    assert found[0] == found[1]


@pytest.mark.parametrize("how", ["hole", "raise"])
def test_who_fails_is_named_with_its_image_and_the_others_go_on(bench, threads, how):
    bench.plugin("failing", FAILING)
    outs = []
    for number in (0, 2):
        threads(number)
        bench("run", "--methods", f"msp,failing:how={how}", "--force")
        assert bench.records() == {"msp"}
        outs.append(next(line for line in bench.err.splitlines() if line.startswith("failed")))
    assert outs[0] == outs[1] and "toy/2" in outs[1]


def test_a_damaged_image_loses_nothing_that_was_measured(bench, threads, forwards):
    threads(0)
    assert bench("run", "--methods", "msp,energy") == 0
    whole = measured(bench.record("msp"))
    threads(2)
    mark = bench.data / "damaged"
    mark.write_text("3")
    assert bench("run", "--methods", "msp,energy", "--force") == 2
    mark.unlink()
    forwards.clear()
    assert bench("run", "--methods", "msp,energy", "--force") == 0
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
