"""kNN against scikit-learn's neighbours; a bank that depends on neither batches nor order."""

import pytest
import torch
import torch.nn.functional as F
from benchmark.methods import knn
from benchmark.methods.knn import KNN
from method_toys import TAP, Given, Net, fit, make_batch, view_of
from sklearn.neighbors import NearestNeighbors

from benchmark.data import ANOMALY, IGNORE, Batch
from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS


def labels(count=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    cells = torch.tensor([0, 1, 2, IGNORE, ANOMALY])[torch.randint(0, 5, (count, 5, 7), generator=random)]
    return cells.to(torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)


def training(images=4):
    return [make_batch(3, seed=s, labels=labels(seed=s)) for s in range(images)]


def bank_of(method):
    return method.bank[: int(method.size)]


def known_features(networks, batches):
    """Features of all cells with a known class, (N, D)."""
    rows = [networks["base"](b).scales[0].taps[TAP].permute(0, 2, 3, 1)[b.labels[:, ::8, ::8] < 3] for b in batches]
    return torch.cat(rows).detach()


def fitted(batches=None, network=None, **options):
    method = KNN(**options)
    networks = view_of(method, network)
    return fit(method, networks, batches or training()), networks


@pytest.mark.parametrize("k", [1, 7, 50])
@pytest.mark.parametrize("variant", ["knth", "mean"])
def test_equals_scikit_learn(variant, k, monkeypatch):
    monkeypatch.setattr(knn, "CHUNK", 1000)  # several chunks
    method, networks = fitted(variant=variant, k=k, bank=500)
    everything = known_features(networks, training())
    queries = known_features(networks, [make_batch(3, seed=99)])
    if variant == "knth":
        everything, queries = F.normalize(everything, dim=1), F.normalize(queries, dim=1)
    distances, _ = NearestNeighbors(n_neighbors=k).fit(everything.double().numpy()).kneighbors(queries.double().numpy())
    want = distances[:, -1] if variant == "knth" else distances.mean(1)
    assert method.distances(queries).numpy() == pytest.approx(
        want, abs=2e-5 * (1 + everything.norm(dim=1).max().item())
    )


@pytest.mark.parametrize("variant", ["knth", "mean"])
def test_a_training_feature_has_distance_zero_to_its_own_bank(variant):
    method, _ = fitted(variant=variant, k=1, bank=100)
    bank = bank_of(method)
    assert (method.distances(bank) == 0).all()
    assert (method.distances(bank + 0.01) > 0).all()


def test_defaults_are_the_papers():
    assert (KNN().k, KNN("mean").k) == (50, 3)
    assert METHODS.create("knn:k=5:variant=mean").label == "knn:k=5:variant=mean"


def test_bank_is_a_sample_of_the_cells_with_a_known_class():
    method, networks = fitted(variant="mean", bank=60)
    everything = known_features(networks, training())
    assert len(everything) > 120 and len(bank_of(method)) == 60
    gaps = torch.cdist(bank_of(method), everything, compute_mode="donot_use_mm_for_euclid_dist")
    assert (gaps.amin(1) < 1e-5).all() and len(gaps.argmin(1).unique()) == 60  # no cell twice


def test_every_image_has_its_share():
    batches = training(8)
    counts = []
    method, networks = fitted(batches, variant="mean", bank=150)
    for batch in batches:
        gaps = torch.cdist(
            bank_of(method), known_features(networks, [batch]), compute_mode="donot_use_mm_for_euclid_dist"
        )
        counts.append(int((gaps.amin(1) < 1e-6).sum()))
    assert min(counts) > 5  # 19 on average


def test_bank_does_not_depend_on_order_or_batches():
    whole, _ = fitted(bank=80)
    singles = [Batch((b.ids[i],), b.images[i : i + 1], b.labels[i : i + 1]) for b in training() for i in range(3)]
    other, _ = fitted(singles[::-1], bank=80)
    assert torch.allclose(bank_of(whole), bank_of(other), atol=1e-6)


def test_a_small_training_set_leaves_the_bank_part_empty_and_loads_again():
    method, networks = fitted(k=3, bank=10_000)
    assert 0 < int(method.size) < 10_000
    fresh = KNN(k=3, bank=10_000)
    fresh.build(networks)
    fresh.load_state_dict(method.state_dict())
    batch = make_batch(seed=5)
    assert torch.equal(fresh.score(batch, networks), method.score(batch, networks))


def test_score_averages_the_upsampled_maps_of_the_scales():
    method, _ = fitted(variant="mean", k=2, bank=100)
    random = torch.Generator().manual_seed(3)
    maps = [torch.rand(2, 6, *size, generator=random) for size in ((5, 7), (3, 4))]
    given = Given(*(torch.zeros(2, 3, *m.shape[-2:]) for m in maps), taps=[{TAP: m} for m in maps])
    low = [method.distances(m.permute(0, 2, 3, 1).flatten(0, 2)).view(2, 1, *m.shape[-2:]) for m in maps]
    want = sum(F.interpolate(d, (40, 56), mode="bilinear", align_corners=False)[:, 0] for d in low) / 2
    assert torch.allclose(method.score(make_batch(), {"base": given}), want, atol=1e-5)


def test_autocast_does_not_touch_the_search():
    method, networks = fitted(bank=200)
    queries = F.normalize(known_features(networks, [make_batch(seed=7)]), dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = method.distances(queries)
    assert torch.equal(inside, method.distances(queries))


def test_impossible_banks_are_refused():
    with pytest.raises(BenchmarkError, match="at most the size of the bank"):
        METHODS.create("knn:k=50:bank=20")
    few = make_batch(1, 16, 16, labels=torch.zeros(1, 16, 16, dtype=torch.uint8))
    with pytest.raises(BenchmarkError, match="have 4 labelled cells"):
        fitted([few], network=Net())
    method, networks = fitted([few], network=Net(), k=2)
    method.k = 5  # as one that was not fitted itself and loads the fit of another k
    with pytest.raises(BenchmarkError, match="have 4 labelled cells"):
        method.score(few, networks)
