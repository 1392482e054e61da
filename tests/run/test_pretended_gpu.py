"""A run as a GPU has it, on a pretended one: its records are those of the CPU, and what it waits for is counted."""

from collections import Counter

import pytest
import torch
from harness import measured
from pretended_gpu import pretended_gpu

from benchmark.run import evaluate

METHODS = ("msp", "energy", "sml")
PROTOCOLS = ("per-image", "pooled", "calibration", "smiyc-obstacles")
PASSES = 2
LINE = ("--methods", ",".join(METHODS), "--protocols", ",".join(PROTOCOLS))

WAITS = {
    # Whether a method has written into what the next one reads must be known before that one's turn: one question for
    # everything that is sealed.
    ("benchmark/isolation/seals.py", "any_of", "_local_scalar_dense"): PASSES * len(METHODS),
}
"""Everything for which the thread that feeds the device waits per batch: no score, no metric and no clock."""
SCORES = 4 * len(METHODS)
FETCHED = (3 + 1 + 1 + (4 + 1 + 4 + 4) + SCORES) + (1 + SCORES)
"""Bytes of a pixel that leave the device: of the image, its label, the predicted class, what calibration reads, and the
scores; in the second pass the label and the scores."""


def test_records_on_a_gpu_are_those_of_the_cpu_and_its_batches_wait_for_little(bench, monkeypatch):
    monkeypatch.setattr(evaluate, "TIMED", 0)  # reading a clock waits

    def on_a_gpu(images):
        with pretended_gpu() as waits:
            line = (*LINE, "--limit", images, "--device", "cuda", "--force", "--workers", "2")
            assert bench("run", *line) == 0, bench.err
        return waits

    assert bench("run", *LINE) == 0, bench.err
    expected = [(measured(bench.record(name)), bench.rows(name)) for name in METHODS]
    four = on_a_gpu(4)
    assert [(measured(bench.record(name)), bench.rows(name)) for name in METHODS] == expected
    two = on_a_gpu(2)
    places = four.found | two.found
    per_batch = {place: (four.found[place] - two.found[place]) / 2 for place in places}
    assert {place: count for place, count in per_batch.items() if count} == WAITS
    assert (four.fetched - two.fetched) / 2 == FETCHED * 48 * 64


def test_the_pretended_gpu_tells_waits_from_what_is_only_queued():
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
