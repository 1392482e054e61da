"""A run as a GPU has it, on a pretended one: its records are those of the CPU, and what it waits for is counted."""

from collections import Counter

import pytest
from harness import measured
from pretended_gpu import pretended_gpu

from benchmark.run import evaluate

METHODS = ("msp", "energy", "sml")
PROTOCOLS = ("per-image", "pooled", "calibration")

WAITS = {
    # Whether a method has written into what the next one reads must be known before that one's turn: one question for
    # everything that is sealed.
    ("benchmark/isolation/seals.py", "any_of", "_local_scalar_dense"): len(METHODS),
}
"""Everything for which the thread that feeds the device waits per batch: no score and no metric, and no clock."""


@pytest.fixture
def fed(bench, monkeypatch):
    """A function (images) that evaluates so many of them on the pretended GPU and gives what was waited for."""
    monkeypatch.setattr(evaluate, "TIMED", 0)  # reading a clock waits

    def run(images):
        with pretended_gpu() as waits:
            line = ("--methods", ",".join(METHODS), "--protocols", ",".join(PROTOCOLS), "--limit", images)
            assert bench("run", *line, "--device", "cuda", "--force", "--workers", "2") == 0, bench.err
        return waits.found

    line = ("--methods", ",".join(METHODS), "--protocols", ",".join(PROTOCOLS))
    assert bench("run", *line) == 0, bench.err
    return run


def test_records_on_a_gpu_are_those_of_the_cpu_and_a_batch_waits_for_nothing_but(bench, fed):
    expected = [(measured(bench.record(name)), bench.rows(name)) for name in METHODS]
    four = fed(4)
    assert [(measured(bench.record(name)), bench.rows(name)) for name in METHODS] == expected
    two = fed(2)
    assert {place: (four[place] - two[place]) / 2 for place in four | two if four[place] != two[place]} == WAITS


def test_the_pretended_gpu_tells_waits_from_what_is_only_queued():
    import torch

    with pretended_gpu() as waits, torch.no_grad():
        there = torch.arange(6, device="cuda").reshape(2, 3)
        there = (there + 1).float().sum(0)[:2].flip(0)
        pinned = torch.empty_like(there, device="cpu", pin_memory=True).copy_(there, non_blocking=True)
        assert there.is_cuda and not waits.found and pinned.tolist() == [7.0, 5.0]
        kinds = {
            "copy to the CPU": lambda: there.cpu(),
            "_local_scalar_dense": lambda: there.max().item(),
            "nonzero": lambda: there.nonzero(),
            "index by a mask": lambda: there[there > 1],
            "index_put_ by a mask": lambda: there.__setitem__(there > 9, 0),
            "copy to the GPU": lambda: torch.tensor([1.0, 2.0], device="cuda"),
            "synchronize": lambda: torch.cuda.synchronize(),
        }
        for what, ask in kinds.items():
            waits.found.clear()
            ask()
            assert waits.found == Counter({("", "", what): 1})
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(2)
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
