"""The random walk against a dense float64 formula and its limits, and what the inner method sees of it."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from benchmark.methods import _walk
from benchmark.methods._walk import Walk
from benchmark.methods.rwpm import RWPM
from method_toys import SPEC, TAP, Net, fit, make_batch, prepared, view_of

from benchmark.errors import BenchmarkError
from benchmark.method import PENULTIMATE
from benchmark.networks import build_network
from benchmark.registry import METHODS

random = torch.Generator().manual_seed(0)
FEATURES = torch.randn(2, 6, 7, 9, generator=random)
VALUES = torch.randn(2, 4, 7, 9, generator=random)


def matrix(features, tau):
    """A of one part (D, h, w), in float64."""
    g = F.normalize(features.double().flatten(1).T, dim=1)
    return (g @ g.T / tau).fill_diagonal_(-torch.inf).softmax(dim=1)


def dense(features, values, alpha, tau, steps):
    a, start = matrix(features, tau), values.double().flatten(1).T
    current = start
    for _ in range(steps):
        current = alpha * (a @ current) + (1 - alpha) * start
    return current.T.view(values.shape)


@pytest.mark.parametrize("tau", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("parts", [1, 2])
def test_is_the_recursion_in_every_part(tau, parts):
    found = Walk(0.9, tau, 5, parts)(FEATURES, VALUES).double()
    rows, columns = ([slice(0, n)] if parts == 1 else [slice(0, n // 2), slice(n // 2, n)] for n in (7, 9))
    for image in range(2):
        for y in rows:
            for x in columns:
                place = (image, slice(None), y, x)
                want = dense(FEATURES[place], VALUES[place], 0.9, tau, 5)
                torch.testing.assert_close(found[place], want, rtol=1e-3, atol=1e-4)


def test_blocks_and_what_is_computed_anew_change_nothing(monkeypatch):
    whole = Walk(0.9, 0.1, 4, 1)(FEATURES, VALUES)
    monkeypatch.setattr(_walk, "BLOCK", 200)  # three rows of 63
    torch.testing.assert_close(Walk(0.9, 0.1, 4, 1)(FEATURES, VALUES), whole)
    monkeypatch.setattr(_walk, "KEPT", 0)
    torch.testing.assert_close(Walk(0.9, 0.1, 4, 1)(FEATURES, VALUES), whole)


def test_nothing_moves_without_alpha_and_a_constant_map_does_not_move():
    assert torch.equal(Walk(0, 0.1, 4, 2)(FEATURES, VALUES), VALUES)
    assert torch.equal(Walk(0.9, 0.1, 0, 2)(FEATURES, VALUES), VALUES)
    constant = torch.full_like(VALUES, 3.5)
    torch.testing.assert_close(Walk(0.99, 0.01, 20, 2)(FEATURES, constant), constant)


def test_walking_before_a_linear_layer_is_walking_behind_it():
    w, b = torch.randn(4, 6, generator=random), torch.randn(4, 1, 1, generator=random)
    walk = Walk(0.99, 0.05, 6, 2)
    layer = lambda f: torch.einsum("cd,bdhw->bchw", w, f) + b  # noqa: E731
    torch.testing.assert_close(layer(walk(FEATURES, FEATURES)), walk(FEATURES, layer(FEATURES)), rtol=1e-4, atol=1e-4)


def test_many_steps_reach_the_limit():
    found = Walk(0.8, 0.1, 150, 1)(FEATURES[:1], VALUES[:1])[0].double()
    inverse = torch.linalg.inv(torch.eye(63, dtype=torch.float64) - 0.8 * matrix(FEATURES[0], 0.1))
    want = (0.2 * inverse @ VALUES[0].double().flatten(1).T).T.view(4, 7, 9)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parts", [7, 50])
def test_parts_of_a_cell_stay_where_they_are(parts):
    values = Walk(0.9, 0.1, 3, parts)(FEATURES[..., :7], VALUES[..., :7])
    torch.testing.assert_close(values, VALUES[..., :7])


# -------------------------------------------------------------------------------------------------- the inner method


def network():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net()


def scores(call, net=None, scales=(), height=40, width=56):
    method = METHODS.create(call)
    networks = view_of(method, net or network(), dataclasses.replace(SPEC, scales=scales))
    if method.fitted:
        fit(method, networks, [make_batch(seed=seed) for seed in range(3)])
    else:
        method.build(networks)
    with torch.no_grad():
        return method.score(make_batch(2, height, width, seed=9), networks)


INNER = [
    "energy",
    "react",
    "vim",
    "msp",
    "kl_matching",
    "pgn",
    "she",
    "mahalanobis",
    "knn:k=3:bank=50",
    "sml",
    "mc_dropout:samples=2",
]


@pytest.mark.parametrize("inner", INNER)
def test_a_walk_of_no_step_is_the_inner_method(inner):
    torch.manual_seed(3)
    plain = scores(inner)
    torch.manual_seed(3)
    same = scores(f'rwpm:method="{inner}":alpha=0')
    torch.testing.assert_close(same, plain, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(scores(f'rwpm:method="{inner}":tau=0.1'), plain, rtol=1e-2, atol=1e-2)


def test_the_inner_method_sees_the_head_of_walked_features():
    net, batch = network().eval(), make_batch(2, seed=9)
    with torch.no_grad():
        scale = net.segment(batch.images, taps=(TAP,))
        logits = net.last(Walk(0.99, 0.1, 6, 2)(scale.taps[TAP], scale.taps[TAP]))
        want = -F.interpolate(logits, (40, 56), mode="bilinear", align_corners=False).logsumexp(1)
    torch.testing.assert_close(scores("rwpm:tau=0.1"), want, rtol=1e-4, atol=1e-4)


def test_the_fit_is_that_of_the_inner_method():
    method, inner = METHODS.create("rwpm:method=she"), METHODS.create("she")
    for each in (method, inner):
        fit(each, view_of(each, network()), [make_batch(seed=seed) for seed in range(3)])
    assert torch.equal(method.inner.patterns, inner.patterns)
    assert (method.observes, method.fitted) == (True, True)
    assert not METHODS.create("rwpm").observes and not METHODS.create("rwpm").fitted
    assert method.needs_classes and not METHODS.create("rwpm:method=fdbd").needs_classes


@pytest.mark.parametrize("scales", [(), (40, 24)])
def test_a_finished_score_walks_per_cell(scales):
    found = scores("rwpm:level=score:tau=0.1", scales=scales)
    energy, net, batch = scores("energy", scales=scales), network(), make_batch(2, seed=9)
    want = 0
    with torch.no_grad():
        for side in scales or (0,):
            scale = net.segment(batch.images, side, taps=(PENULTIMATE,))
            seen = F.interpolate(energy[:, None], scale.padded, mode="bilinear", align_corners=False)
            cells = Walk(0.99, 0.1, 6, 2)(scale.taps[PENULTIMATE], F.avg_pool2d(seen, 8))
            want = want + F.interpolate(cells, (40, 56), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(found, want / len(scales or (0,)), rtol=1e-4, atol=1e-4)


def test_a_finished_score_keeps_its_place_where_the_image_is_padded():
    """With one cell a part nothing walks, and what is left is the mean of every cell, upsampled."""
    walked, plain = (scores(call, height=45, width=59) for call in ("rwpm:level=score:parts=50", "energy"))
    assert walked.shape == (2, 45, 59)
    assert torch.corrcoef(torch.stack([walked.flatten(), plain.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("inner", ["deep_ensemble", "dicnet", "rwpm"])
def test_a_method_that_reads_more_is_refused(inner):
    method = METHODS.create(f'rwpm:method="{inner}"')
    with pytest.raises(BenchmarkError, match="take a method that reads nothing else"):
        method.needs(dataclasses.replace(SPEC, arch="pspnet-small"))


def test_a_method_that_runs_other_images_is_refused_where_features_walk():
    with pytest.raises(BenchmarkError, match="images of its own, which do not walk"):
        scores("rwpm:method=odin")
    assert scores("rwpm:method=odin:level=score").isfinite().all()


def test_logits_of_another_grid_cannot_walk():
    net = build_network("espnetv2-1.0", 3, {"native": True}).eval()
    with pytest.raises(BenchmarkError, match="another grid than logits"):
        scores("rwpm", net)
    assert scores("rwpm:level=score:steps=1", net).isfinite().all()


def test_the_source_of_the_inner_method_is_a_part_of_the_record(tmp_path):
    _, entry = prepared("rwpm:method=she", tmp_path)
    assert {"methods/rwpm.py", "methods/_walk.py", "methods/she.py", "methods/_moments.py"} <= set(entry.source)


def test_no_such_inner_method_or_level_is_said():
    with pytest.raises(BenchmarkError, match="no method 'enrgy'; did you mean energy"):
        METHODS.create("rwpm:method=enrgy")
    with pytest.raises(BenchmarkError, match="level is features or score, and tau is positive"):
        METHODS.create("rwpm:level=pixels")
    with pytest.raises(BenchmarkError, match="alpha"):
        METHODS.create("rwpm:alpha=2")
    label = RWPM(method="knn:k=3").label
    assert METHODS.create(label).label == label and METHODS.create(label).inner.k == 3
