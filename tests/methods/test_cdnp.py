"""cDNP: the sum of kNN's distance and the energy, each on the scale that the training images give it."""

import pytest
import torch
from benchmark.methods.cdnp import CDNP
from benchmark.methods.energy import Energy
from benchmark.methods.knn import KNN
from encoders import random_encoder
from method_toys import fit, make_batch, view_of
from sklearn.neighbors import NearestNeighbors

from benchmark.errors import BenchmarkError
from benchmark.run.contract import check_method

BATCHES = [make_batch(3, seed=seed) for seed in range(3)]


def test_is_the_sum_of_both_on_the_scales_of_the_training_images():
    method = CDNP(k=2, bank=100)
    networks = view_of(method)
    fit(method, networks, BATCHES)
    knn = fit(KNN("mean", 2, 100), networks, BATCHES)
    with torch.no_grad():
        energies = torch.cat([Energy().score(batch, networks) for batch in BATCHES])
        bank = knn.bank[: int(knn.size)].double().numpy()
        distances, _ = NearestNeighbors(n_neighbors=3).fit(bank).kneighbors(bank)
        furthest = distances[:, 1:].mean(1).max()
        batch = make_batch(2, seed=9)
        energy, distance = Energy().score(batch, networks), knn.score(batch, networks)
        want = (energy - energies.min()) / (energies.max() - energies.min()) + distance / furthest
        assert torch.allclose(method.score(batch, networks), want, rtol=1e-4, atol=1e-4)


def test_a_bank_of_k_features_has_no_largest_distance():
    few = make_batch(1, 16, 16)  # four cells
    method = CDNP(k=4, bank=100)
    with pytest.raises(BenchmarkError, match="have 4 labelled cells; give a smaller k"):
        fit(method, view_of(method), [few])


def test_a_frozen_encoder_keeps_the_contract(tmp_path, monkeypatch):
    name = random_encoder("mobilenetv3_small_050", tmp_path / "weights", monkeypatch)
    findings = list(check_method(f"cdnp:bank=200:encoder={name}:tap=16+8"))
    assert [f for f in findings if f.wrong] == [] and len(findings) >= 7
