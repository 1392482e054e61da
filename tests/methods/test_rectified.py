"""ReAct, VRA, ASH, SCALE and DICE: energies of changed features, against numpy in float64 and by closed forms."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.special
import torch
import torch.nn.functional as F
from benchmark.methods.ash import ASH
from benchmark.methods.dice import DICE
from benchmark.methods.energy import Energy
from benchmark.methods.react import ReAct
from benchmark.methods.scale import Scale
from benchmark.methods.vra import VRA
from method_toys import SPEC, TAP, Net, fit, make_batch, view_of

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError
from benchmark.isolation.seals import any_of
from benchmark.networks import build_network
from benchmark.registry import METHODS

WIDTH = 20


def labels(seed):
    cells = torch.tensor([0, 1, IGNORE, ANOMALY])[
        torch.randint(0, 4, (3, 5, 7), generator=torch.Generator().manual_seed(seed))
    ]
    return cells.to(torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)


BATCHES = [make_batch(3, seed=seed, labels=labels(seed)) for seed in range(4)]
TEST = make_batch(2, seed=99)


def network(bias=True, positive=False):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        made = Net(width=WIDTH)
        torch.nn.init.normal_(made.first.bias)
    with torch.no_grad():
        made.last[1].bias *= bias
        if positive:
            made.last[1].weight.abs_()
    return made


def fitted(method, made=None, spec=SPEC):
    networks = view_of(method, made or network(), spec)
    return fit(method, networks, BATCHES) if method.fitted else built(method, networks), networks


def built(method, networks):
    method.build(networks)
    return method


def scored(method, made=None, batch=TEST, spec=SPEC):
    method, networks = fitted(method, made, spec)
    with torch.no_grad():
        return method.score(batch, networks)


def parts(networks, batch=TEST):
    """Features (B, D, h, w), W and b in float64."""
    convolution = networks["base"].module.last[1]
    features = networks["base"](batch).scales[0].taps[TAP]
    return features.double(), convolution.weight[:, :, 0, 0].double(), convolution.bias.double()


def known(networks):
    """All features of training cells with a known class, (N, D)."""
    rows = [parts(networks, b)[0].permute(0, 2, 3, 1)[b.labels[:, ::8, ::8] < 200] for b in BATCHES]
    return torch.cat(rows).numpy()


def energy(features, weight, bias):
    """``-logsumexp`` of logits upsampled to the image, in float64."""
    logits = torch.einsum("cd,ndhw->nchw", weight, features) + bias[:, None, None]
    size = tuple(8 * side for side in features.shape[-2:])
    logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return -scipy.special.logsumexp(logits.numpy(), axis=1)


def close(found, wanted):
    assert found.double().numpy() == pytest.approx(wanted, rel=1e-4, abs=1e-3)


# ------------------------------------------------------------------------------------------------- switched off: energy


@pytest.mark.parametrize(
    ("method", "batch"),
    [
        (ReAct(percentile=1), BATCHES[1]),  # of training images nothing is clipped, wherever all cells take part
        (VRA(low=0, high=1), BATCHES[1]),
        (ASH("p", percentile=0), TEST),
        (DICE(percentile=0), TEST),
    ],
    ids=lambda value: getattr(value, "label", ""),
)
@pytest.mark.parametrize("scales", [(), (40, 64)], ids=["native", "two scales"])
@pytest.mark.parametrize("arch", ["net", "pspnet-small"])
def test_a_modification_that_is_switched_off_is_the_energy_bit_for_bit(method, batch, scales, arch):
    made = network() if arch == "net" else build_network(arch, 3)
    spec = dataclasses.replace(SPEC, scales=scales)
    networks = view_of(method, made.eval(), spec)
    everywhere = [dataclasses.replace(b, labels=torch.zeros_like(b.labels)) for b in BATCHES]
    fit(method, networks, everywhere) if method.fitted else method.build(networks)
    with torch.no_grad():
        assert torch.equal(method.score(batch, networks), Energy().score(batch, networks))


@pytest.mark.parametrize("call", ["react", "vra", "ash", "ash:variant=b", "ash:variant=p", "scale", "dice"])
def test_scoring_writes_into_no_features_and_is_not_the_energy(call):
    method, networks = fitted(METHODS.create(call))
    outputs = networks["base"](TEST)
    outputs.seal(whole=True)
    with torch.no_grad():
        scores = method.score(TEST, networks)
    assert not any_of(outputs.verdicts()) and scores.isfinite().all()
    assert not torch.allclose(scores, Energy().score(TEST, networks))


@pytest.mark.parametrize("call", ["react:percentile=0.7", "vra:high=0.7", "dice:percentile=0.3"])
def test_a_sweep_shares_one_fit(call):
    method, networks = fitted(METHODS.create(call))
    default, _ = fitted(METHODS.create(call.partition(":")[0]))
    other = built(METHODS.create(call), networks)
    other.load_state_dict(default.state_dict())
    with torch.no_grad():
        assert torch.equal(other.score(TEST, networks), method.score(TEST, networks))
        assert not torch.equal(default.score(TEST, networks), method.score(TEST, networks))


@pytest.mark.parametrize("method", [ReAct(), VRA(), DICE()], ids=lambda m: m.label)
def test_images_without_a_known_class_are_refused(method):
    networks = view_of(method, network())
    void = dataclasses.replace(TEST, labels=torch.full_like(TEST.labels, IGNORE))
    with pytest.raises(BenchmarkError, match="no training pixel has a class"):
        fit(method, networks, [void])


# ---------------------------------------------------------------------------------------------------------- ReAct, VRA


@pytest.mark.parametrize("q", [0.8, 0.9, 0.99])
def test_react_clips_at_a_quantile_of_all_values(q):
    method, networks = fitted(ReAct(q))
    features, weight, bias = parts(networks)
    exact, threshold = np.quantile(known(networks), q, method="inverted_cdf"), method.sketch.quantile(q)
    assert exact <= threshold <= exact * (1 + 1 / 1024)
    close(method.score(TEST, networks).detach(), energy(features.clamp(max=threshold), weight, bias))


def test_react_on_weights_above_zero_never_falls_when_the_threshold_does():
    scores = [scored(ReAct(q), network(positive=True)) for q in (1, 0.95, 0.9, 0.8)]
    for less, more in pairwise(scores):
        assert (more >= less - 1e-5).all() and not torch.equal(more, less)


def test_react_refuses_a_threshold_that_leaves_nothing():
    zeros = (known(fitted(ReAct())[1]) == 0).mean()
    assert 0.2 < zeros < 0.8
    with pytest.raises(BenchmarkError, match=r"of the training features are 0 or less.*larger percentile"):
        scored(ReAct(zeros - 0.02))
    scored(ReAct(zeros + 0.02))
    with pytest.raises(BenchmarkError, match="percentile is a number above 0 up to 1"):
        METHODS.create("react:percentile=0")


@pytest.mark.parametrize("below", ["zero", "clip"])
def test_vra_takes_quantiles_of_every_channel(below):
    method, networks = fitted(VRA(low=0.6, high=0.9, below=below))
    features, weight, bias = parts(networks)
    low, high = (
        torch.from_numpy(np.quantile(known(networks), q, axis=0, method="inverted_cdf"))[:, None, None]
        for q in (0.6, 0.9)
    )
    assert (low > 0).sum() > 3 and (low < high).any()
    rectified = features.minimum(high)
    rectified = rectified.maximum(low) if below == "clip" else torch.where(features < low, 0, rectified)
    close(method.score(TEST, networks).detach(), energy(rectified, weight, bias))


def test_vra_of_identical_channels_without_a_lower_threshold_is_react():
    made = network()
    with torch.no_grad():
        made.first.weight[:] = made.first.weight[:1]
        made.first.bias[:] = 1
    found, wanted = scored(VRA(low=0, high=0.9), made), scored(ReAct(0.9), made)
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=1e-3)


def test_vra_refuses_thresholds_in_disorder():
    with pytest.raises(BenchmarkError, match="low is a share below high"):
        METHODS.create("vra:low=0.5:high=0.4")


# ---------------------------------------------------------------------------------------------------------- ASH, SCALE


def by_hand(features, q, variant):
    """Numpy, one cell after the other."""
    shaped = np.zeros_like(features)
    k = WIDTH - round(q * WIDTH)
    for place in np.ndindex(features.shape[0], *features.shape[2:]):
        cell = features[place[0], :, place[1], place[2]]
        top = [i for i in np.argsort(-cell)[:k] if cell[i] > 0]
        if variant == "scale":
            r = math.exp(cell.sum() / cell[top].sum()) if top else math.e
            shaped[place[0], :, place[1], place[2]] = r * cell
        elif top:
            survivors = {
                "p": cell[top],
                "b": cell.sum() / len(top),
                "s": cell[top] * math.exp(cell.sum() / cell[top].sum()),
            }[variant]
            shaped[place[0], top, place[1], place[2]] = survivors
    return torch.from_numpy(shaped)


@pytest.mark.parametrize("q", [0, 0.35, 0.65, 0.9, 0.999])
@pytest.mark.parametrize("variant", ["p", "b", "s", "scale"])
def test_ash_and_scale_are_numpys_cell_by_cell(variant, q):
    method, networks = fitted(Scale(q) if variant == "scale" else ASH(variant, q))
    features, weight, bias = parts(networks)
    close(
        method.score(TEST, networks).detach(),
        energy(by_hand(features.numpy(), min(q, 0.95), variant), weight, bias),
    )


def test_scale_at_percentile_0_is_the_energy_of_e_times_the_features():
    method, networks = fitted(Scale(0))
    features, weight, bias = parts(networks)
    close(method.score(TEST, networks).detach(), energy(features * math.e, weight, bias))
    torch.testing.assert_close(scored(ASH("s", 0)), scored(Scale(0)), rtol=1e-5, atol=1e-5)


def test_scale_of_equal_channels_has_its_largest_factor_and_lengths_do_not_matter():
    method, _ = fitted(Scale(0.75))
    even = torch.full((1, WIDTH, 2, 3), 0.7)
    torch.testing.assert_close(method.factor(even), torch.full((1, 1, 2, 3), math.exp(4)))
    features = torch.rand(2, WIDTH, 4, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(method.factor(features), method.factor(3 * features))
    assert (method.factor(features) >= math.e - 1e-4).all() and (method.factor(features) <= math.exp(4) + 1e-3).all()
    assert method.factor(torch.zeros(1, WIDTH, 1, 1)).item() == pytest.approx(math.e)


@pytest.mark.parametrize("q", [0.3, 0.9])
def test_ash_b_keeps_the_sum_of_every_cell(q):
    method, networks = fitted(ASH("b", q))
    features = parts(networks)[0].float()
    shaped = method.shaped(features)
    torch.testing.assert_close(shaped.sum(dim=1), features.sum(dim=1), rtol=1e-5, atol=1e-5)
    assert shaped.amax(dim=1).gt(0).any() and (method.shaped(torch.zeros(1, WIDTH, 2, 2)) == 0).all()


@pytest.mark.parametrize("variant", ["p", "b", "s"])
def test_ash_knows_no_order_of_channels_even_among_equals(variant):
    method, _ = fitted(ASH(variant, 0.6))
    features = torch.randint(0, 4, (2, WIDTH, 4, 5), generator=torch.Generator().manual_seed(2)).float()
    order = torch.randperm(WIDTH, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(method.shaped(features[:, order]), method.shaped(features)[:, order])


@pytest.mark.parametrize("call", ["ash:percentile=1", "scale:percentile=1", "scale:percentile=-0.1"])
def test_shares_that_leave_no_channel_are_refused(call):
    with pytest.raises(BenchmarkError, match="share from 0 and below 1"):
        METHODS.create(call)


# ---------------------------------------------------------------------------------------------------------------- DICE


@pytest.mark.parametrize("q", [0.1, 0.5, 0.7, 0.9])
def test_dice_keeps_the_weights_of_the_largest_contributions(q):
    method, networks = fitted(DICE(q))
    features, weight, bias = parts(networks)
    contributions = weight.numpy() * known(networks).mean(axis=0)
    kept = math.ceil(round((1 - q) * weight.numel(), 9))
    mask = np.zeros(weight.numel(), bool)
    mask[np.argsort(-contributions.flatten())[:kept]] = True
    assert method.mask(weight.float()).sum() == kept
    masked = torch.from_numpy(np.where(mask.reshape(weight.shape), weight.numpy(), 0))
    close(method.score(TEST, networks).detach(), energy(features, masked, bias))


def test_dice_without_weights_is_the_energy_of_the_biases():
    method, networks = fitted(DICE(1))
    constant = -scipy.special.logsumexp(parts(networks)[2].numpy())
    close(method.score(TEST, networks).detach(), np.full((2, 40, 56), constant))
