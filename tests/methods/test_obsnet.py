"""ObsNet: attacks stay in their place, the observer adds what it observes, and it learns the errors of a network."""

import math

import numpy as np
import pytest
import torch
from benchmark.methods.obsnet import UNIT, Observation, Observer, ObsNet, local_mask, places
from method_toys import TAP, Net, make_batch, prepared, view_of
from sklearn.metrics import log_loss, roc_auc_score

from benchmark.data import IGNORE, collate
from benchmark.errors import BenchmarkError
from benchmark.machine import Machine
from benchmark.networks import build_network
from benchmark.recipe import Recipe
from benchmark.registry import METHODS
from benchmark.run.contract import Toy
from benchmark.training import train


def observation(call, recipe=None, network=None):
    """The task of a method whose shared network is small."""
    method = METHODS.create(f"{call}:tap=penultimate")
    networks = view_of(method, network)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        method.build(networks)
    method.observer.requires_grad_(True)
    task = Observation(method, networks["base"])
    task.recipe = recipe or Recipe(label_size="feature")
    return task, method, networks


@pytest.mark.parametrize("size", [(360, 640), (90, 64)])
def test_an_attacked_place_is_shapes_in_a_window(size):
    unit, shares, places = min(size) / 360, {}, []
    for patch, (height, width) in {"large": (300, 360), "small": (128, 128)}.items():
        masks = [local_mask(np.random.default_rng(seed), size, patch) for seed in range(30)]
        for mask in masks:
            rows, columns = (mask.any(dim).nonzero().flatten() for dim in (1, 0))
            assert mask.shape == size
            assert (
                int(rows.max() - rows.min()) < height * unit + 1
                and int(columns.max() - columns.min()) < width * unit + 1
            )
            places.append((int(rows.min()), int(columns.min())))
        shares[patch] = float(torch.stack(masks).float().mean()) * size[0] * size[1] / (height * width * unit**2)
        assert torch.equal(masks[3], local_mask(np.random.default_rng(3), size, patch))
    assert len(set(places)) > 20
    assert all(0.4 < share < 1 for share in shares.values())  # what six to ten shapes fill of a window


@pytest.mark.parametrize("attack", ["max", "min"])
def test_the_attack_is_a_step_along_the_sign_of_the_gradient_within_its_place(attack):
    batch = make_batch(3, labels=torch.randint(0, 3, (3, 40, 56), dtype=torch.uint8))
    found = []
    for epsilon in (0, 0.2):
        task, _, networks = observation(f"obsnet:attack={attack}:patch=small:epsilon={epsilon}")
        network = networks["base"].module
        inputs = network.prepare(batch.images).inputs
        torch.manual_seed(7)
        found.append(task.changed(inputs, batch.labels))
    begun, moved = found
    inside = (begun != inputs).any(1, keepdim=True)
    assert 0.02 < inside.float().mean() < 0.4
    assert torch.equal(moved[~inside.expand_as(moved)], inputs[~inside.expand_as(moved)])
    low, high = (network.normalise(torch.full((1, 3, 1, 1), v)) for v in (0.0, 255.0))
    assert bool((moved >= low).all()) and bool((moved <= high).all())
    steps = []
    for target in range(3):
        x = begun.clone().requires_grad_(True)
        log_p = network(x)["logits"].log_softmax(1)
        if attack == "max":
            ascent = log_p[:, target].sum()
        else:
            labels = batch.labels.long()[:, 4::8, 4::8]
            ascent = -log_p.gather(1, labels[:, None]).sum()
        steps.append((0.2 * UNIT / network.std) * torch.autograd.grad(ascent, x)[0].sign() * inside)
    for index in range(3):  # one class for each image
        wanted = [(begun[index] + step[index]).clamp(low[0], high[0]) for step in steps]
        # The noise may be cut at the range of pixels before the step in one of the two and not in the other.
        free = ((begun[index] > low[0]) & (begun[index] < high[0])).expand_as(begun[index])
        assert any(torch.allclose(moved[index][free], want[free], atol=1e-5) for want in wanted)


@pytest.mark.parametrize("attack", ["max", "min"])
def test_a_training_in_bfloat16_attacks_and_judges_in_float32(attack):
    """The step of an attack is smaller than what bfloat16 can tell apart."""
    batch = make_batch(3, labels=torch.randint(0, 3, (3, 40, 56), dtype=torch.uint8))
    task, _, networks = observation(f"obsnet:attack={attack}:patch=small")
    inputs = networks["base"].module.prepare(batch.images).inputs
    found = []
    for enabled in (False, True):
        torch.manual_seed(7)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append((task.changed(inputs, batch.labels), *task.judged(inputs, batch.labels)[1:]))
    assert all(torch.equal(exact, rounded) for exact, rounded in zip(*found))


def test_no_attack_leaves_the_images():
    task, _, networks = observation("obsnet:attack=none")
    inputs = networks["base"].module.prepare(make_batch().images).inputs
    assert torch.equal(task.changed(inputs, make_batch().labels), inputs)


def test_the_observer_adds_what_the_network_has_to_its_own():
    torch.manual_seed(0)
    network = Net().eval()
    observer = Observer(network, (TAP,), "net").eval()
    inputs = network.prepare(make_batch().images).inputs
    features, logits = torch.randn(2, 6, 5, 7), torch.randn(2, 3, 5, 7)
    with torch.no_grad():
        own = network(inputs, (TAP,))
        plain = observer(inputs, [torch.zeros_like(features)], torch.zeros_like(logits))
        assert torch.equal(plain, observer.head(own["logits"]))
        with_both = observer(inputs, [features], logits)
        assert torch.allclose(with_both, observer.head(network.last(own[TAP] + features) + logits), atol=1e-6)
        assert torch.equal(observer(inputs, [torch.zeros_like(features)], torch.zeros_like(logits)), plain)


@pytest.mark.parametrize("arch", ["pspnet-small", "fpn-mobilenetv3_small_050", "tv-fcn_resnet50"])
def test_the_places_of_features_are_found_in_networks_of_every_kind(arch):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = build_network(arch, 4).eval()
    taps = [tap for tap in network.channels if "whitened" not in tap]
    inputs = network.prepare(make_batch(1, 64, 64).images).inputs
    with torch.no_grad():
        maps = network(inputs, taps)
        for tap, place in zip(taps, places(network, taps), strict=True):
            # In the way of the logits: without the module's output, there is nothing of the features behind it.
            hook = network.get_submodule(place).register_forward_hook(lambda *given: torch.zeros_like(given[-1]))
            assert not network(inputs, (tap,))[tap].any() and maps[tap].any()
            hook.remove()


def test_a_feature_that_no_layer_gives_is_refused():
    network = build_network("pspnet-small", 4).eval()
    with pytest.raises(BenchmarkError, match=r"gives 'conv_last.1.whitened', and pspnet-small has none"):
        Observer(network, ("conv_last.1.whitened",), "pspnet-small")
    with pytest.raises(ValueError, match="joined by"):
        ObsNet(tap="layer4+layer4")


@pytest.mark.parametrize("void", [False, True])
def test_the_loss_is_its_formula(void):
    labels = torch.tensor([0, 1, 2, IGNORE], dtype=torch.uint8)[torch.randint(4, (2, 5, 7))]
    batch = make_batch(labels=labels.repeat_interleave(8, 1).repeat_interleave(8, 2))
    task, method, networks = observation(f"obsnet:attack=none:weight=2.5:void={str(void).lower()}")
    assert bool(method.auxiliary_data) is void
    task.eval()
    with torch.no_grad():
        losses = task.loss(batch)
        (scale,) = networks["base"].run(batch.images, (TAP,)).scales
        inputs = networks["base"].module.prepare(batch.images).inputs
        odds = method.observer(inputs, [scale.taps[TAP]], scale.logits)[:, 0].double().numpy()
    wrong = (scale.logits.argmax(1) != labels).numpy()
    counts = np.ones_like(wrong) if void else (labels < 3).numpy()
    each = np.where(wrong, 2.5 * np.log1p(np.exp(-odds)), np.log1p(np.exp(odds)))
    assert float(losses["loss"]) == pytest.approx(each[counts].mean(), rel=1e-5)
    assert float(losses["errors"]) == pytest.approx(wrong[counts].mean())
    with torch.no_grad():
        told = task.validate([batch])
    p = 1 / (1 + 2.5 * np.exp(-odds[counts]))
    assert told["cross-entropy"] == pytest.approx(log_loss(wrong[counts], p), rel=1e-4)
    share = wrong[counts].mean()
    assert told["errors"] == pytest.approx(share)
    assert told["blind"] == pytest.approx(log_loss(wrong[counts], np.full(counts.sum(), share)), rel=1e-6)


def test_the_score_is_the_mean_of_the_scales_log_odds(tmp_path):
    workshop, entry = prepared("obsnet", tmp_path, scales=(40, 56))
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    method, base = entry.method, entry.networks["base"]
    assert method.label == "obsnet" and method.taps == ("layer4", "penultimate")
    with torch.no_grad():
        scores, total = method.score(batch, entry.networks), 0
        for side, scale in zip((40, 56), base(batch).scales, strict=True):
            inputs = base.module.prepare(batch.images, side).inputs
            odds = method.observer(inputs, [scale.taps["layer4"], scale.taps["penultimate"]], scale.logits)
            total = total + scale.upsample(odds, batch.size)[:, 0] / 2
    assert torch.allclose(scores, total, atol=1e-5)
    trained, frozen = method.observer.network.state_dict(), base.module.state_dict()
    assert not all(torch.equal(value, trained[name]) for name, value in frozen.items())


def test_it_learns_where_a_network_is_wrong(tmp_path):
    """The network calls everything ground: whatever else there is, is an error."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = Net(classes=4, width=16)
    with torch.no_grad():
        network.last[1].bias[0] = 100.0
    recipe = Recipe(
        "obsnet", 40, 2, 4, optimiser="adam", lr=0.02, weight_decay=0.0, schedule="cosine", label_size="full"
    )
    task, method, networks = observation("obsnet:attack=min", recipe, network)
    train_set, val_set, machine = Toy("train", tmp_path), Toy("val", tmp_path), Machine.choose("cpu", progress=False)
    report = train(task, recipe, train_set, val_set, machine, tmp_path / "state", "")
    told = report.validation
    assert told["cross-entropy"] < 0.7 * told["blind"] and 0 < told["errors"] < 1 and math.isfinite(told["blind"])
    (batch,) = collate([val_set[i] for i in range(4)])
    with torch.no_grad():
        scores = method.eval().score(batch, networks)
    assert roc_auc_score((batch.labels != 0).flatten(), scores.flatten()) > 0.9
