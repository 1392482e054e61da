"""``--retrain``: the old weights serve until the new ones are whole, and nothing goes on from the training before."""

import torch

from benchmark.errors import BenchmarkError
from benchmark.run import workshop
from benchmark.training import Segmentation
from benchmark.weights.store import WeightsStore


def files(bench) -> dict[str, bytes]:
    """Every weights file and sidecar."""
    return {
        p.name: p.read_bytes() for p in (bench.runs / "weights").rglob("*") if p.suffix in (".safetensors", ".json")
    }


def states(bench) -> list[str]:
    return [p.name for p in (bench.runs / "weights").rglob("*.state*")]


def counted(monkeypatch, fail=lambda: None) -> list[int]:
    """Grows by one with every training step of a segmentation network."""
    steps, loss = [], Segmentation.loss

    def count(self, batch):
        steps.append(1)
        fail()
        return loss(self, batch)

    monkeypatch.setattr(Segmentation, "loss", count)
    return steps


def test_a_retraining_that_fails_or_is_interrupted_leaves_the_old_weights(bench, monkeypatch):
    assert bench("run", "--methods", "dicnet,msp") == 0
    old, record = files(bench), bench.record("msp")
    for error, code in ((KeyboardInterrupt(), 130), (RuntimeError("out of memory"), 1)):

        def fail(error=error):
            raise error

        with monkeypatch.context() as patch:
            assert not counted(patch, fail)
            assert bench("run", "--methods", "dicnet,msp", "--retrain") == code
            assert "  train pspnet-small on town" in bench.out and "  fit dicnet" in bench.out
        assert files(bench) == old and bench.record("msp") == record
        assert bench("run", "--methods", "dicnet,msp") == 0 and bench.out.count("current") == 2


def test_what_a_retraining_had_finished_before_the_disk_was_full_is_not_trained_again(bench, monkeypatch):
    assert bench("run", "--methods", "msp") == 0
    old, steps = files(bench), counted(monkeypatch)

    def full(*arguments):
        raise BenchmarkError("Cannot write the weights (the disk is full).")

    with monkeypatch.context() as patch:
        patch.setattr(WeightsStore, "save", full)
        assert bench("run", "--methods", "msp", "--retrain") == 2
    assert len(steps) == 1 and files(bench) == old
    assert bench("run", "--methods", "msp", "--retrain") == 0
    assert len(steps) == 1 and files(bench) != old, "the sidecar is a new one"
    assert not states(bench)


def test_a_state_that_a_finished_training_left_behind_is_not_gone_on_from(bench, monkeypatch):
    """A kill between the weights and the clearing up leaves the state of a training that is at its last step."""
    steps = counted(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(workshop, "clear_states", lambda stem: None)
        patch.setattr(WeightsStore, "sweep", lambda store: None)
        for trained in (1, 2, 3):
            assert bench("run", "--methods", "msp", "--retrain") == 0
            assert len(steps) == trained
    assert len(states(bench)) == 3
    assert bench("run", "--methods", "msp", "--retrain") == 0 and len(steps) == 4
    assert not states(bench)


def test_a_fit_to_weights_that_were_replaced_is_made_again(bench):
    assert bench("run", "--methods", "dicnet") == 0
    assert bench("run", "--methods", "dicnet", "--force") == 0 and "  fit " not in bench.out
    store = WeightsStore(bench.runs / "weights")
    (base,) = [entry for entry in store.entries() if "pspnet" in entry.key]
    changed = {name: value * torch.tensor(1.5).to(value.dtype) for name, value in store.load(base.key).items()}
    store.save(base.key, changed, {})
    assert bench("run", "--methods", "dicnet") == 0
    assert "the network's weights changed" in bench.out and "  fit dicnet" in bench.out
    assert bench("run", "--methods", "dicnet", "--force") == 0 and "  fit " not in bench.out
