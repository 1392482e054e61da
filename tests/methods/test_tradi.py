"""TRADI: its members, a training that is tracked, and the score."""

import copy

import pytest
import torch
from benchmark.methods.tradi.sampling import batch_norms, reestimate, sample_network
from benchmark.methods.tradi.task import TrackedSegmentation
from benchmark.methods.tradi.tracker import WeightTracker, sampled_parameters
from method_toys import view_of
from torch import nn

from benchmark.data import collate
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.networks import build_network
from benchmark.recipe import Recipe
from benchmark.registry import METHODS
from benchmark.run.contract import Toy, check_method, toy_workshop
from benchmark.training import Report, Segmentation, seeded, train

CPU = Machine(torch.device("cpu"), progress=False, save_every=-1)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A fitted TRADI on toy images: workshop and entry."""
    workshop = toy_workshop(tmp_path_factory.mktemp("toy"), ())
    entry = workshop.entry(METHODS.create("tradi:members=3:bn_images=4:lr_floor=0"))
    workshop.prepare([entry])
    assert not entry.error
    list(entry.method.ensemble())  # drawn and kept before a test replaces a part of that
    return workshop, entry


def test_a_member_is_its_seed(toy):
    method = toy[1].method
    method.variances.get_buffer("conv_last/4/weight").fill_(0.01)
    one, same, other = (sample_network(method.network, method.variances, seed) for seed in (5, 5, 6))
    weights = [n.conv_last[4].weight for n in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert (weights[0] - weights[2]).std() > 0.05
    assert torch.equal(one.conv_last[1].weight, method.network.conv_last[1].weight)  # a normalisation's


def test_reestimated_statistics_are_those_of_the_training_images(toy):
    workshop, entry = toy
    network = copy.deepcopy(entry.method.network)
    before = network.cbr_deepsup[1].running_mean.clone()
    batches = [collate([workshop.setup.train[i] for i in pair])[0] for pair in ((0, 1), (2, 3))]
    with torch.no_grad():
        reestimate([network], batches, ())
        inputs = network.prepare(torch.cat([b.images for b in batches])).inputs
        first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
        torch.testing.assert_close(batch_norms(network)[0].running_mean, first(inputs).mean((0, 2, 3)))
    assert not network.training and not any(n.training or n.momentum is None for n in batch_norms(network))
    assert torch.equal(network.cbr_deepsup[1].running_mean, before)  # not computed in testing, so not estimated


# Training


class Interrupted(Exception):
    pass


def tracked_training(folder, stop=None, lr_floor=0.0, displacement="actual"):
    """Six steps on toy images with a resume state after each; `stop` is the step in which it is killed."""
    recipe = Recipe(epochs=2, steps_per_epoch=3, batch_size=2, lr=0.05, seed=7)
    with seeded(recipe):
        network = build_network("pspnet-small", len(Toy.card.classes))
    tracker = WeightTracker(network, displacement)
    task = TrackedSegmentation(network, Toy.card.classes, tracker, lr_floor)
    update = tracker.update
    rates = []

    def watched(lr):
        if len(rates) == stop:
            raise Interrupted
        rates.append(lr)
        update(lr)

    tracker.update = watched
    try:
        train(task, recipe, Toy("train", folder), None, CPU, folder / "a.state", "toy")
    except Interrupted:
        return None, rates
    return task, rates


@pytest.mark.parametrize("displacement", ["actual", "gradient"])
def test_a_killed_training_goes_on_to_the_same_statistics(tmp_path, displacement):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, _ = tracked_training(tmp_path / "whole", displacement=displacement)
    assert tracked_training(tmp_path / "killed", stop=4, displacement=displacement)[0] is None
    resumed, rates = tracked_training(tmp_path / "killed", displacement=displacement)
    assert 0 < len(rates) < 6
    first, second = whole.state_dict(), resumed.state_dict()
    assert first.keys() == second.keys() and "tracker._extra_state" in first
    assert all(torch.equal(v, second[k]) if torch.is_tensor(v) else v == second[k] for k, v in first.items())
    assert any(v.any() for k, v in first.items() if k.startswith("tracker.variances"))


def test_tracking_changes_nothing_in_the_training_and_the_mean_is_its_end(tmp_path):
    recipe = Recipe(epochs=2, steps_per_epoch=3, batch_size=2, lr=0.05, seed=7)
    with seeded(recipe):
        plain = Segmentation(build_network("pspnet-small", len(Toy.card.classes)), Toy.card.classes)
    train(plain, recipe, Toy("train", tmp_path), None, CPU, tmp_path / "plain.state", "toy")
    task, _ = tracked_training(tmp_path)
    assert all(torch.equal(p, q) for p, q in zip(plain.network.parameters(), task.network.parameters()))
    for name, weight in sampled_parameters(task.network).items():
        torch.testing.assert_close(task.tracker.means[name], weight.detach(), atol=1e-6, rtol=1e-5)


def test_the_learning_rate_does_not_fall_below_its_floor(tmp_path):
    _, rates = tracked_training(tmp_path, lr_floor=0.5)
    assert rates == pytest.approx([0.05 * max(0.5, (1 - s / 6) ** 0.9) for s in range(6)])
    assert rates[-1] == 0.025


def test_the_tracked_training_is_the_shared_networks(toy):
    workshop, entry = toy
    assert entry.recipes["segmentation"] == workshop.setup.base.recipe
    shared = workshop.pool.network(workshop.setup.base)
    for name, weight in sampled_parameters(shared).items():
        torch.testing.assert_close(entry.method.network.get_parameter(name), weight, atol=1e-6, rtol=1e-5)


def test_members_are_measured_and_reported(toy):
    workshop, entry = toy
    (report,) = workshop.store.sidecar(entry.fit_key)["reports"]
    values = entry.method.member_miou
    assert values.shape == (3,) and (values > 0).all()
    assert report["validation"]["mIoU of the worst member"] == pytest.approx(float(values.min()))
    assert report["validation"]["mIoU of the mean network"] == pytest.approx(float(entry.method.mean_miou))


def test_a_collapsed_member_is_warned_of(toy, monkeypatch):
    workshop, entry = toy
    values, said = iter([0.6, 0.58, 0.5, 0.56]), []
    monkeypatch.setattr("benchmark.methods.tradi.method.say", lambda text, machine: said.append(text))
    monkeypatch.setattr(Segmentation, "validate", lambda task, batches: {"mIoU": next(values)})
    data = workshop.fit_data(entry)
    data.reports = [Report(1, 1, 0.0, 0.0, {}, (), 0)]
    copy.deepcopy(entry.method)._measure(data, entry.recipes["segmentation"])
    assert len(said) == 1 and "2 of 3 members" in said[0]  # 0.95 of 0.6 is 0.57


# The score


def test_the_score_is_minus_the_log_of_the_largest_mean_probability(toy):
    workshop, entry = toy
    method, (batch,) = entry.method, collate([workshop.setup.test[0]])
    with torch.no_grad():
        members = [m.segment(batch.images) for m in method.ensemble()]
        logits = torch.stack([m.upsample(m.logits, batch.size) for m in members])
        score = method.score(batch, entry.networks)
        torch.testing.assert_close(score, -logits.softmax(2).mean(0).amax(1).log())
        method.aggregate = "logits"
        torch.testing.assert_close(
            method.score(batch, entry.networks), -logits.mean(0).log_softmax(1).amax(1), atol=1e-5, rtol=1e-5
        )
        method.aggregate = "probabilities"


def test_members_beyond_the_memory_budget_are_drawn_anew_to_the_same_bits(toy, monkeypatch):
    workshop, entry = toy
    (batch,) = collate([workshop.setup.test[0]])
    method = entry.method
    size = sum(tensor.nbytes for tensor in method.network.state_dict().values())
    with torch.no_grad():
        kept, score = list(method.ensemble()), method.score(batch, entry.networks)
        assert all(a is b for a, b in zip(kept, method.ensemble()))
        monkeypatch.setattr("benchmark.methods.tradi.sampling.KEPT_BYTES", 2 * size)
        loaded = workshop.entry(METHODS.create("tradi:members=3:bn_images=4:lr_floor=0"))
        workshop.prepare([loaded])
        drawn = [list(loaded.method.ensemble()) for _ in range(2)]
        assert [a is b for a, b in zip(*drawn)] == [True, True, False]
        for ours, theirs in zip(kept, drawn[1]):
            assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
        assert torch.equal(loaded.method.score(batch, loaded.networks), score)


def test_a_fit_in_groups_of_members_is_the_fit_of_all_at_once(toy, monkeypatch, tmp_path):
    monkeypatch.setattr("benchmark.methods.tradi.sampling.KEPT_BYTES", 1)
    workshop = toy_workshop(tmp_path, ())
    entry = workshop.entry(METHODS.create("tradi:members=3:bn_images=4:lr_floor=0"))
    entry.keeps_made = True
    workshop.prepare([entry])
    assert not entry.error and len(entry.made._kept) == 1
    whole, parts = (one.store.load(entry.fit_key) for one in (toy[0], workshop))
    assert whole.keys() == parts.keys() and all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_other_options_keep_the_contract_of_methods():
    call = "tradi:members=2:shared_phase=true:displacement=gradient:start=paper:aggregate=logits"
    assert [f for f in check_method(call) if f.wrong] == []


def test_a_network_without_normalisation_is_refused_in_a_sentence():
    method = METHODS.create("tradi")
    with pytest.raises(BenchmarkError, match="net has none; take another network"):
        method.build(view_of(method))
