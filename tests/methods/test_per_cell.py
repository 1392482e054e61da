"""Methods that score a cell from its features and logits, against float64 formulas on a network and its training."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmark.methods.fdbd import FDBD
from benchmark.methods.gradnorm import GradNorm
from benchmark.methods.nci import NCI
from benchmark.methods.nnguide import NNGuide
from benchmark.methods.pgn import PGN
from benchmark.methods.pnml import PNML, regret
from benchmark.methods.she import SHE
from method_toys import SPEC, TAP, Net, fit, make_batch, view_of

from benchmark.data import IGNORE
from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.pool import Pool
from benchmark.registry import METHODS

CLASSES = 3
ALL = {
    "pgn": PGN,
    "gradnorm": GradNorm,
    "nnguide": lambda: NNGuide(5, 60),
    "fdbd": FDBD,
    "nci": NCI,
    "she": SHE,
    "pnml": PNML,
}


def labelled(seed, kinds=(0, 1, 2, IGNORE)):
    cells = torch.tensor(kinds)[torch.randint(0, len(kinds), (2, 5, 7), generator=torch.Generator().manual_seed(seed))]
    return make_batch(seed=seed, labels=cells.to(torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2))


def network():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net = Net()
    with torch.no_grad():
        net.first.bias[0] += 3  # no cell is without a feature
    return net


class Trained:
    """A method fitted on three batches, and the same features as numpy's."""

    def __init__(self, method, net=None, kinds=(0, 1, 2, IGNORE)):
        net = net or network()
        self.method, self.batches = method, [labelled(seed, kinds) for seed in range(3)]
        self.networks = view_of(method, net)
        if method.fitted:
            fit(method, self.networks, self.batches)
        else:
            method.build(self.networks)
        self.w = net.last[1].weight.detach().flatten(1).double().numpy()
        self.b = net.last[1].bias.detach().double().numpy()
        features = np.concatenate([self.features(batch) for batch in self.batches])
        labels = np.concatenate([batch.labels[:, ::8, ::8].flatten().numpy() for batch in self.batches])
        self.f, self.y = features[labels != IGNORE], labels[labels != IGNORE]

    def features(self, batch):
        with torch.no_grad():
            (scale,) = self.networks["base"](batch).scales
        return scale.taps[TAP].permute(0, 2, 3, 1).flatten(0, 2).double().numpy()

    def logits(self, features):
        return features @ self.w.T + self.b

    def check(self, formula, rel=1e-4):
        """The method's scores are those of a formula of features and logits, upsampled."""
        batch = make_batch(seed=9)
        with torch.no_grad():
            found = self.method.score(batch, self.networks).double()
        f = self.features(batch)
        cells = torch.from_numpy(formula(f, self.logits(f))).view(2, 1, 5, 7)
        want = F.interpolate(cells, (40, 56), mode="bilinear", align_corners=False)[:, 0]
        torch.testing.assert_close(found, want, rtol=rel, atol=rel * want.abs().mean().item())


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def lse(z):
    return np.log(np.exp(z).sum(1))


def unit(f):
    return f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-12)


@pytest.mark.parametrize("call", ALL)
def test_a_cell_is_scored_at_its_place_and_scales_are_averaged(call):
    method = ALL[call]()
    Trained(method)
    batch, several = make_batch(seed=9), view_of(method, network(), dataclasses.replace(SPEC, scales=(40, 24)))
    with torch.no_grad():
        found = method.score(batch, several)
        outputs = several["base"](batch)
        want = 0
        for scale in outputs.scales:
            f, z = (x.permute(0, 2, 3, 1).flatten(0, 2) for x in (scale.taps[TAP], scale.logits))
            cells = method.score_cells(f, z).view(2, 1, *scale.logits.shape[-2:])
            want = want + F.interpolate(cells, (40, 56), mode="bilinear", align_corners=False)[:, 0] / 2
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normaliser", ["centred", "length"])
def test_fdbd_is_the_sum_of_distances_to_the_boundaries(normaliser):
    trained = Trained(FDBD(normaliser))

    def formula(f, z):
        best, total = z.argmax(1), np.zeros(len(z))
        for c in range(CLASSES):
            gap = np.linalg.norm(trained.w[best] - trained.w[c], axis=1)
            total += np.where(best == c, 0, (z.max(1) - z[:, c]) / np.where(best == c, 1, gap))
        origin = trained.f.mean(0) if normaliser == "centred" else 0
        return -total / np.linalg.norm(f - origin, axis=1)

    trained.check(formula)


def cells(method, weight, bias, features, mean=None):
    """Scores of features (N, D) under a last layer that is given."""
    method.head = SimpleNamespace(affine=lambda: (weight, bias))
    if mean is not None:
        method.mean = mean
    return method.score_cells(features, features @ weight.T + bias)


def test_fdbd_of_two_classes_is_the_distance_to_the_boundary_and_no_scale_of_the_layer_changes_it():
    random = torch.Generator().manual_seed(0)
    w, b, f, mean = (torch.randn(*shape, generator=random) for shape in ((2, 6), (2,), (50, 6), (6,)))
    distance = ((f @ (w[0] - w[1])) + b[0] - b[1]).abs() / (w[0] - w[1]).norm()
    torch.testing.assert_close(cells(FDBD(), w, b, f, mean), -distance / (f - mean).norm(dim=1), rtol=1e-4, atol=1e-5)
    w, b = torch.randn(5, 6, generator=random), torch.randn(5, generator=random)
    torch.testing.assert_close(cells(FDBD(), 7 * w, 7 * b, f, mean), cells(FDBD(), w, b, f, mean), rtol=1e-4, atol=1e-5)
    twice = cells(FDBD(), torch.cat([w, w[:1]]), torch.cat([b, b[:1] - 1]), f, mean)
    assert twice.isfinite().all()  # two classes without a boundary
    assert cells(FDBD(), w, b, mean[None], mean).isfinite().all()


def test_nci_is_its_formula():
    trained = Trained(NCI(alpha=0.03))

    def formula(f, z):
        centred = f - trained.f.mean(0)
        along = (trained.w[z.argmax(1)] * centred).sum(1) / np.linalg.norm(centred, axis=1)
        return -(along + 0.03 * np.abs(f).sum(1))

    trained.check(formula)


def test_nci_without_the_norm_sees_only_the_direction_from_the_mean():
    random = torch.Generator().manual_seed(0)
    w, f, mean = (torch.randn(*shape, generator=random) for shape in ((4, 6), (50, 6), (6,)))
    b = -w @ mean  # the predicted class then depends on the direction alone, too
    near, far = (cells(NCI(0), w, b, mean + stretch * (f - mean), mean) for stretch in (1, 5))
    torch.testing.assert_close(near, far, rtol=1e-4, atol=1e-5)


METRICS = {
    "inner": lambda f, own: -(f * own).sum(1),
    "euclidean": lambda f, own: np.linalg.norm(f - own, axis=1),
    "cosine": lambda f, own: -(unit(f) * unit(own)).sum(1),
}


@pytest.mark.parametrize("metric", METRICS)
def test_she_compares_with_the_mean_of_what_is_labelled_and_predicted_so(metric):
    trained = Trained(SHE(metric))
    predicted = trained.logits(trained.f).argmax(1)
    right = [(trained.y == c) & (predicted == c) for c in range(CLASSES)]
    assert min(mask.sum() for mask in right) > 0
    patterns = np.stack([trained.f[mask].mean(0) for mask in right])
    trained.check(lambda f, z: METRICS[metric](f, patterns[z.argmax(1)]))


def test_she_without_a_right_cell_takes_those_of_the_label_then_of_the_prediction_then_all():
    net = network()
    with torch.no_grad():
        net.last[1].bias[0] = -1000  # nobody predicts 0; 1 is never a label
    trained = Trained(SHE(), net, kinds=(0, 2, IGNORE))
    predicted = trained.logits(trained.f).argmax(1)
    assert set(predicted) == {1, 2} and set(trained.y) == {0, 2}
    want = [trained.f[trained.y == 0], trained.f[predicted == 1], trained.f[(predicted == 2) & (trained.y == 2)]]
    for pattern, rows in zip(trained.method.patterns.numpy(), want, strict=True):
        assert pattern == pytest.approx(rows.mean(0), rel=1e-5)
    with torch.no_grad():
        net.last[1].bias[2] = 1000
    trained = Trained(SHE(), net, kinds=(0, IGNORE))
    assert trained.method.patterns[1].numpy() == pytest.approx(trained.f.mean(0), rel=1e-5)


def test_she_of_no_feature_is_0():
    method = SHE()
    method.patterns = torch.randn(4, 6)
    assert method.score_cells(torch.zeros(2, 6), torch.randn(2, 4)).abs().max() == 0


def test_nnguide_is_the_energy_times_the_mean_of_the_nearest():
    trained = Trained(NNGuide(k=7, bank=1000))
    bank = unit(trained.f) * lse(trained.logits(trained.f))[:, None]

    def formula(f, z):
        return -lse(z) * np.sort(unit(f) @ bank.T, axis=1)[:, -7:].mean(1)

    assert int(trained.method.size) == len(bank)
    trained.check(formula)


def test_nnguide_of_a_bank_that_is_the_query_is_the_energy_squared():
    method = NNGuide(k=1, bank=1)
    f, z = torch.randn(1, 6), torch.randn(1, 4)
    method.bank, method.size = F.normalize(f) * z.logsumexp(1), torch.tensor(1)
    torch.testing.assert_close(method.score_cells(f, z), -z.logsumexp(1).square())


def test_nnguide_says_where_there_are_too_few_neighbours_or_no_confidence():
    with pytest.raises(BenchmarkError, match="labelled cells; give a k of at most that"):
        trained = Trained(NNGuide(k=900, bank=1000))
        trained.method.score(make_batch(), trained.networks)
    net = network()
    with torch.no_grad():
        net.last[1].bias -= 100
    with pytest.raises(BenchmarkError, match="negative on known pixels"):
        Trained(NNGuide(k=5, bank=1000), net)


def direct(p, a):
    """The regret as the paper states it, in float64."""
    return np.log((p / (p + (1 - p) * p ** a[:, None])).sum(1)) / math.log(p.shape[1])


@pytest.mark.parametrize("dead", [False, True])
def test_pnml_is_the_regret_of_the_leverage(dead):
    net = network()
    if dead:  # a channel that no training feature has
        with torch.no_grad():
            net.first.weight[2], net.first.bias[2] = 0, -1
    trained = Trained(PNML(), net)
    x = np.hstack([np.ones((len(trained.f), 1)), unit(trained.f)])
    inverse = np.linalg.pinv(x.T @ x, rcond=1e-10, hermitian=True)
    beyond = np.eye(len(inverse)) - inverse @ (x.T @ x)

    def formula(f, z):
        rows = np.hstack([np.ones((len(f), 1)), unit(f)])
        within = np.einsum("nd,de,ne->n", rows, inverse, rows)
        return direct(softmax(z), np.maximum(np.einsum("nd,de,ne->n", rows, beyond, rows), within / (1 + within)))

    trained.check(formula, rel=1e-3)
    if dead:  # one that has it is as far out as can be
        other = torch.zeros(1, 6)
        other[0, 2] = 5
        scores = trained.method.score_cells(
            torch.cat([torch.from_numpy(trained.f[:1]).float(), other]), torch.zeros(2, 3)
        )
        assert scores[1] > 10 * scores[0]


def test_regret_is_0_without_leverage_grows_with_it_and_keeps_its_digits():
    random = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(40, 13, generator=random)
    z[:5] *= 60  # sure beyond float32's 1
    log_p = z.log_softmax(1)
    assert regret(log_p, torch.zeros(40)).abs().max() == 0
    values = torch.stack([regret(log_p, torch.full((40,), a)) for a in (1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0)])
    assert (values.diff(dim=0)[:, 5:] > 0).all() and (values >= 0).all() and (values <= 1).all()
    p, a = softmax(z[5:].double().numpy()), np.full(35, 1e-3)
    assert values[1, 5:].double().numpy() == pytest.approx(direct(p, a), rel=1e-4)
    limit = 1e-6 * (p * (1 - p) * -np.log(p)).sum(1) / math.log(13)  # where float64 loses the sum in rounding
    assert values[0, 5:].double().numpy() == pytest.approx(limit, rel=1e-3)
    uniform = torch.full((2, 13), -math.log(13))
    assert regret(uniform, torch.tensor([0.5, 1.0])).tolist() == pytest.approx([0.428779, 0.745053], abs=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("fdbd:normaliser=none_", "centred or length"),
        ("nci:alpha=-1", "alpha must not be negative"),
        ("she:metric=manhattan", "inner, euclidean or cosine"),
        ("nnguide:k=30:bank=20", "at most the size of the bank"),
    ],
)
def test_options_that_make_no_sense_are_refused(call, words):
    with pytest.raises(BenchmarkError, match=words):
        METHODS.create(call)


@pytest.mark.parametrize("call", ["fdbd", "nci", "she", "pnml"])
def test_images_without_a_label_are_said(call):
    with pytest.raises(BenchmarkError, match="no training pixel has a class"):
        Trained(ALL[call](), kinds=(IGNORE,))


@pytest.mark.parametrize("arch", ["pspnet-small", "fpn-mobilenetv3_small_050", "espnetv2-1.0"])
def test_every_one_runs_on_networks_of_any_make(arch):
    """ESPNetv2 enlarges what its last layer gives, and has an output more than there are classes."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net = build_network(arch, 19, {"native": True} if "espnet" in arch else {}).eval().requires_grad_(False)
    batches = [make_batch(2, 64, 80, seed=seed, labels=torch.randint(0, 19, (2, 64, 80)).byte()) for seed in range(2)]
    spec = dataclasses.replace(SPEC, arch=arch, classes=19)
    pool = Pool(lambda _: net, torch.device("cpu"))
    for make in ALL.values():
        method = make()
        networks = pool.view(method.needs(spec))
        if method.fitted:
            fit(method, networks, batches)
        else:
            method.build(networks)
        with torch.no_grad():
            scores = method.score(batches[0], networks)
        assert scores.shape == (2, 64, 80) and scores.isfinite().all() and len(scores.unique()) > 1000


def test_a_cosine_classifier_is_refused():
    net = build_network("pspnet-small", 3, {"head": "cosine"}).eval()
    for make in ALL.values():
        with pytest.raises(BenchmarkError, match="plain 1x1 convolution"):
            make().build(view_of(make(), net))
