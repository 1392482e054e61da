"""The relative distance and Mahalanobis++ against float64 formulas, and against what they must not change by."""

import numpy as np
import pytest
import torch
from benchmark.methods.mahalanobis import RIDGE, Mahalanobis
from benchmark.methods.mahalanobis_pp import MahalanobisPP
from benchmark.methods.rmds import RMDS
from encoders import random_encoder
from method_toys import TAP, Given, fit, make_batch

from benchmark.data import IGNORE
from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS
from benchmark.run.contract import check_method

CLASSES, WIDTH, GRID = 3, 6, (12, 14)


class Cloud:
    """A network whose features of one batch are drawn from a Gaussian per class; some cells are ignored."""

    def __init__(self, labels=(0, 1, 2, IGNORE), change=lambda f: f):
        random = torch.Generator().manual_seed(0)
        cells = torch.tensor(labels)[torch.randint(0, len(labels), (2, *GRID), generator=random)]
        centre, mix = 3 + torch.randn(CLASSES, WIDTH, generator=random), torch.randn(WIDTH, WIDTH, generator=random)
        noise = torch.randn(2, *GRID, WIDTH, generator=random) @ mix
        self.features = change(centre[cells.clamp(max=CLASSES - 1)] + noise)
        self.given = Given(torch.zeros(2, CLASSES, *GRID), taps=[{TAP: self.features.permute(0, 3, 1, 2)}], stride=1)
        self.batch = make_batch(2, *GRID, labels=cells.to(torch.uint8))
        self.x = self.features.flatten(0, 2).double().numpy()
        self.y = cells.flatten().numpy()

    def scores(self, method):
        fit(method, {"base": self}, [self.batch])
        return method.score(self.batch, {"base": self}).double().flatten().numpy()

    def __call__(self, batch):
        return self.given(batch)

    @property
    def spec(self):
        return self.given.spec

    def channels(self, tap):
        return WIDTH


def distance(x, mean, scatter, degrees):
    """Squared, under a scatter matrix with the suite's ridge, by numpy in float64."""
    covariance = scatter / degrees
    covariance += RIDGE * np.trace(covariance) / WIDTH * np.eye(WIDTH)
    gap = x - mean
    return np.einsum("nd,de,ne->n", gap, np.linalg.inv(covariance), gap)


def nearest_and_whole(x, y):
    seen, kinds = x[y != IGNORE], y[y != IGNORE]
    means = {c: seen[kinds == c].mean(0) for c in np.unique(kinds)}
    centred = seen - np.stack([means[c] for c in kinds])
    near = [distance(x, m, centred.T @ centred, len(seen) - len(means)) for m in means.values()]
    around = seen - seen.mean(0)
    return np.min(near, axis=0), distance(x, seen.mean(0), around.T @ around, len(seen) - 1)


@pytest.mark.parametrize("normalise", [False, True])
def test_is_the_difference_of_two_distances(normalise):
    cloud = Cloud()
    x = cloud.x / np.linalg.norm(cloud.x, axis=1, keepdims=True) if normalise else cloud.x
    near, whole = nearest_and_whole(x, cloud.y)
    assert cloud.scores(RMDS(normalise)) == pytest.approx(near - whole, rel=1e-3, abs=2e-3)
    assert cloud.scores((MahalanobisPP if normalise else Mahalanobis)()) == pytest.approx(near, rel=1e-3)


def test_with_one_class_there_is_nothing_to_be_relative_to():
    values = Cloud(labels=(1, IGNORE)).scores(RMDS())
    assert np.abs(values).max() == 0


@pytest.mark.parametrize("method", [MahalanobisPP, lambda: RMDS(normalise=True)])
def test_the_length_of_a_feature_does_not_count(method):
    lengths = 0.1 + 9 * torch.rand(2, *GRID, 1, generator=torch.Generator().manual_seed(5))
    stretched = Cloud(change=lambda f: f * lengths).scores(method())
    assert stretched == pytest.approx(Cloud().scores(method()), rel=2e-3, abs=5e-3)


def test_is_mahalanobis_of_features_that_are_normalised_beforehand():
    unit = Cloud(change=lambda f: f / f.norm(dim=-1, keepdim=True))
    assert Cloud().scores(MahalanobisPP()) == pytest.approx(unit.scores(Mahalanobis()), rel=1e-3)
    cells = Cloud().scores(MahalanobisPP("class"))
    assert cells == pytest.approx(unit.scores(Mahalanobis("class")), rel=1e-3)


def test_a_cell_without_any_feature_has_a_score():
    dark = Cloud(change=lambda f: f * (torch.arange(GRID[1]) > 0).view(-1, 1))
    assert np.isfinite(dark.scores(MahalanobisPP())).all()


def test_a_single_mean_is_no_class_to_be_relative_to():
    with pytest.raises(BenchmarkError, match="labels or predicted"):
        METHODS.create("rmds:classes=one")
    assert not METHODS.create("rmds:classes=predicted").needs_classes and METHODS.create("rmds").needs_classes


@pytest.mark.parametrize("call", ["rmds:normalise=true", "mahalanobis_pp:covariance=class"])
def test_a_frozen_encoder_keeps_the_contract(call, tmp_path, monkeypatch):
    name = random_encoder("mobilenetv3_small_050", tmp_path / "weights", monkeypatch)
    findings = list(check_method(f"{call}:encoder={name}:tap=16+8:classes=predicted"))
    assert [f for f in findings if f.wrong] == [] and len(findings) >= 7
