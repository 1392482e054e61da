"""Guided kNN: the filter against least squares in every window, and what it must leave as it is."""

import numpy as np
import pytest
import torch
from benchmark.methods.guided_knn import GuidedKNN, guided
from benchmark.methods.knn import KNN
from encoders import random_encoder
from method_toys import fit, make_batch, view_of

from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS
from benchmark.run.contract import check_method

BATCHES = [make_batch(3, seed=seed) for seed in range(3)]


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def ridge(values, image, radius, eps):
    """The guided filter by its definition, in float64: a ridge regression in every window, whose lines are averaged."""
    height, width = values.shape
    pixels, target = image.reshape(3, -1).T.double().numpy(), values.flatten().double().numpy()
    rows, columns = np.divmod(np.arange(height * width), width)
    total, count = np.zeros(height * width), np.zeros(height * width)
    for row in range(height):
        for column in range(width):
            inside = (abs(rows - row) <= radius) & (abs(columns - column) <= radius)
            x, y = pixels[inside], target[inside]
            centred = x - x.mean(0)
            slope = np.linalg.solve(centred.T @ centred + eps * len(x) * np.eye(3), centred.T @ (y - y.mean()))
            total[inside] += pixels[inside] @ slope + y.mean() - x.mean(0) @ slope
            count[inside] += 1
    return (total / count).reshape(height, width)


@pytest.mark.parametrize(("radius", "eps"), [(1, 1e-2), (3, 1e-4)])
def test_is_a_ridge_regression_in_every_window(radius, eps):
    values, images = draw(2, 9, 12), draw(2, 3, 9, 12, seed=1)
    found = guided(values, images, (9, 12), radius, eps)
    for each, image, result in zip(values, images, found, strict=True):
        np.testing.assert_allclose(result, ridge(each, image, radius, eps), atol=1e-4)


def test_what_the_colours_explain_stays():
    images = draw(2, 3, 24, 32)
    values = 3 * images[:, 0] - 2 * images[:, 2] + 5
    torch.testing.assert_close(guided(values, images, (24, 32), 2, 1e-9), values, atol=1e-3, rtol=0)


def test_where_no_colour_changes_it_is_a_mean_of_means():
    values = torch.zeros(1, 11, 13)
    values[0, 5, 6] = 1
    found = guided(values, torch.full((1, 3, 11, 13), 0.4), (11, 13), 1, 1e-4)
    hat = torch.tensor([1.0, 2, 3, 2, 1])
    want = torch.zeros(1, 11, 13)
    want[0, 3:8, 4:9] = hat[:, None] * hat / 81
    torch.testing.assert_close(found, want, atol=1e-5, rtol=0)


def test_a_score_that_fades_across_an_edge_falls_there():
    """As wide a slope as a cell of the encoder, and an edge in its middle."""
    image = torch.full((1, 3, 64, 64), 0.3)
    image[..., 32:] = 0.6
    values = ((torch.arange(64) - 24) / 16).clamp(0, 1).expand(1, 64, 64)
    steps = guided(values.contiguous(), image, (16, 16), 3, 1e-4)[0].diff(dim=1)
    assert steps[:, 31].min() > 4 * values.diff(dim=2).max()


def test_is_the_distance_of_knn_filtered():
    method, knn = GuidedKNN(encoder="", k=2, bank=100, radius=2, eps=1e-3), KNN("mean", 2, 100)
    networks = view_of(method)
    fit(method, networks, BATCHES), fit(knn, networks, BATCHES)
    batch = make_batch(2, seed=9)
    height, width = batch.size
    with torch.no_grad():
        distances = knn.score(batch, networks)
        want = guided(distances, batch.images.float() / 255, (height // 4, width // 4), 2, 1e-3)
        assert torch.equal(method.score(batch, networks), want) and not torch.equal(want, distances)
        method.radius = 0
        assert torch.equal(method.score(batch, networks), distances)


@pytest.mark.parametrize("options", [{"radius": -1}, {"eps": 0.0}, {"k": 9, "bank": 8}])
def test_impossible_options_are_refused(options):
    with pytest.raises(BenchmarkError, match=r"at (least|most)"):
        METHODS.create("guided_knn", **options)


def test_an_encoder_of_another_size_keeps_the_contract(tmp_path, monkeypatch):
    name = random_encoder("mobilenetv3_small_050", tmp_path / "weights", monkeypatch)
    findings = list(check_method(f"guided_knn:bank=200:encoder={name}-64:tap=16+8"))
    assert [f for f in findings if f.wrong] == [] and len(findings) >= 7
