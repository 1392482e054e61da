"""Mahalanobis distance against scikit-learn's and numpy's in float64."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmark.methods.mahalanobis import RIDGE, Mahalanobis
from method_toys import SPEC, TAP, Given, Net, fit, make_batch, view_of
from sklearn.covariance import EmpiricalCovariance

from benchmark.data import IGNORE, Batch
from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS

CLASSES, WIDTH = 4, 5


class Features:
    """Networks whose features and labels are drawn from one Gaussian per class, label 2 missing."""

    def __init__(self, batches=5, seed=0):
        random = torch.Generator().manual_seed(seed)
        self.mix = torch.randn(CLASSES, WIDTH, WIDTH, generator=random)
        self.centre = 3 * torch.randn(CLASSES, WIDTH, generator=random)
        self.batches, self.maps = [], {}
        for _ in range(batches):
            cells = torch.tensor([0, 1, 3, IGNORE])[torch.randint(0, 4, (2, 5, 7), generator=random)]
            kind = cells.clamp(max=CLASSES - 1)
            noise = torch.randn(2, 5, 7, WIDTH, 1, generator=random)
            values = self.centre[kind] + (self.mix[kind] @ noise)[..., 0]
            values[cells == IGNORE] = 1e3  # must not be seen
            labels = cells.to(torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)
            batch = make_batch(labels=labels, seed=len(self.batches))
            self.batches.append(batch)
            self.maps[batch.ids] = Given(torch.zeros(2, CLASSES, 5, 7), taps=[{TAP: values.permute(0, 3, 1, 2)}])
        known = [(self.rows(b), b.labels[:, ::8, ::8].flatten()) for b in self.batches]
        x, y = (torch.cat(t).numpy() for t in zip(*known))
        self.x, self.y = x[y != IGNORE].astype(np.float64), y[y != IGNORE]

    def rows(self, batch):
        return self.maps[batch.ids].maps[0].taps[TAP].permute(0, 2, 3, 1).flatten(0, 2)

    def fitted(self, **options):
        method = Mahalanobis(**options)
        return fit(method, {"base": self}, self.batches)

    def __call__(self, batch):
        return self.maps[batch.ids](batch)

    @property
    def spec(self):
        return next(iter(self.maps.values())).spec

    def channels(self, tap):
        return WIDTH


@pytest.fixture(scope="module")
def features():
    return Features()


def expected(features, queries, tied):
    x, y = features.x, features.y
    means = {c: x[y == c].mean(0) for c in (0, 1, 3)}
    centred = np.concatenate([x[y == c] - means[c] for c in means])
    ridge = RIDGE * np.trace(centred.T @ centred / (len(x) - 3)) / WIDTH * np.eye(WIDTH)
    distances = []
    for c, mean in means.items():
        own = centred if tied else x[y == c] - mean
        model = EmpiricalCovariance(assume_centered=True).fit(own)
        covariance = model.covariance_ * len(own) / (len(own) - (3 if tied else 1)) + ridge
        model._set_covariance(covariance)
        distances.append(model.mahalanobis(queries - mean))
    return np.min(distances, axis=0)


@pytest.mark.parametrize("covariance", ["tied", "class"])
def test_equals_scikit_learn(features, covariance):
    method = features.fitted(covariance=covariance)
    queries = 4 * torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(1))
    want = expected(features, queries.double().numpy(), covariance == "tied")
    assert method.distances(queries).numpy() == pytest.approx(want, rel=1e-3)
    assert method.present.tolist() == [True, True, False, True]


def test_zero_at_a_class_mean_and_chi_square_on_average(features):
    method = features.fitted(covariance="class")
    assert method.distances(method.means[method.present]).abs().max() < 1e-3
    # A class's own training features are D away on average, squared: trace of Sigma^-1 S / n.
    own = torch.from_numpy(features.x[features.y == 1]).float()
    whitened = (own - method.means[1]) @ method.whitening[1].T
    assert whitened.square().sum(1).mean() == pytest.approx(WIDTH, rel=0.05)


def test_does_not_depend_on_how_the_images_are_batched(features):
    whole = features.fitted()
    method = Mahalanobis()
    again = Features()
    singles = []
    for batch in again.batches:
        given = again.maps[batch.ids].maps[0]
        for i, name in enumerate(batch.ids):
            again.maps[(name,)] = Given(given.logits[i : i + 1], taps=[{TAP: given.taps[TAP][i : i + 1]}])
            singles.append(Batch((name,), batch.images[i : i + 1], batch.labels[i : i + 1]))
    fit(method, {"base": again}, singles[::-1])
    assert torch.allclose(method.means, whole.means) and torch.allclose(method.whitening, whole.whitening, rtol=1e-4)


def test_large_offsets_cost_no_digits(features):
    """Float64 sums: features far from the origin give the same distances."""
    queries = 4 * torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(1))
    near = features.fitted().distances(queries)
    moved = Features()
    for given in moved.maps.values():
        given.maps[0].taps[TAP].add_(512.0)
    far = moved.fitted().distances(queries + 512)
    assert torch.allclose(near, far, rtol=5e-3)


def test_score_is_the_upsampled_map_and_ignores_autocast():
    method, batch = Mahalanobis(), make_batch(2, 45, 59, labels=torch.randint(0, 3, (2, 45, 59)).to(torch.uint8))
    networks = view_of(method)
    fit(method, networks, [make_batch(3, 45, 59, seed=s, labels=batch.labels[[0, 1, 0]]) for s in range(4)])
    scale = networks["base"](batch).scales[0]
    low = method.distances(scale.taps[TAP].permute(0, 2, 3, 1).flatten(0, 2)).view(2, 1, 6, 8)
    assert torch.allclose(method.score(batch, networks), scale.upsample(low, (45, 59))[:, 0])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(method.distances(scale.taps[TAP].permute(0, 2, 3, 1).flatten(0, 2)), low.flatten())


def test_statistics_are_of_all_scales_and_distances_are_averaged():
    method = Mahalanobis()
    networks = view_of(method, spec=dataclasses.replace(SPEC, scales=(40, 24)))
    labels = torch.randint(0, 3, (3, 40, 56), dtype=torch.uint8)
    training, batch = [make_batch(3, seed=s, labels=labels.roll(s, 2)) for s in range(3)], make_batch(seed=9)
    fit(method, networks, training)

    def rows(scale):
        return scale.taps[TAP].permute(0, 2, 3, 1).flatten(0, 2)

    x, y = [], []
    for each in training:
        for scale in networks["base"](each).scales:
            x.append(rows(scale))
            y.append(
                F.interpolate(each.labels[:, None].float(), scale.logits.shape[-2:], mode="nearest-exact").flatten()
            )
    x, y = torch.cat(x), torch.cat(y)
    torch.testing.assert_close(method.means, torch.stack([x[y == c].mean(0) for c in range(3)]))
    outputs, maps = networks["base"](batch), []
    for scale in outputs.scales:
        low = method.distances(rows(scale)).view(2, 1, *scale.logits.shape[-2:])
        maps.append(F.interpolate(low, (40, 56), mode="bilinear", align_corners=False)[:, 0])
    assert len(maps) == 2
    torch.testing.assert_close(method.score(batch, networks), (maps[0] + maps[1]) / 2)


def test_without_labels_or_variation_there_is_a_sentence(features):
    ignored = [make_batch(labels=torch.full((2, 40, 56), IGNORE, dtype=torch.uint8))]
    with pytest.raises(BenchmarkError, match="no training pixel has a class"):
        fit(Mahalanobis(), view_of(Mahalanobis()), ignored)
    constant = Net()
    torch.nn.init.zeros_(constant.first.weight)
    with pytest.raises(BenchmarkError, match="do not vary"):
        fit(Mahalanobis(), view_of(Mahalanobis(), constant), [make_batch()])
    with pytest.raises(BenchmarkError, match="tied or class"):
        METHODS.create("mahalanobis:covariance=diagonal")
