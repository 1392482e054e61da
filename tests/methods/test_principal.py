"""ViM and NECO against numpy in float64 and by closed forms."""

import dataclasses

import numpy as np
import pytest
import scipy.special
import torch
import torch.nn.functional as F
from benchmark.methods.neco import NECO
from benchmark.methods.vim import ViM
from method_toys import SPEC, TAP, Net, fit, make_batch, view_of
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from test_rectified import BATCHES, TEST, known, parts

from benchmark.data import IGNORE, Batch
from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS

WIDTH = 12


def network(signed=False, bias=4.0):
    """Logits that are above 0 on nearly every cell; `signed` is without the ReLU, so that features vary in all ways."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        made = Net(width=WIDTH)
        torch.nn.init.normal_(made.first.bias)
        torch.nn.init.normal_(made.last[1].bias, mean=bias)
    if signed:
        made.forward = lambda inputs, taps=(): _signed(made, inputs, taps)
    return made


def _signed(made, inputs, taps):
    features = made.first(inputs)
    return {"logits": made.last(features), **({TAP: features} if TAP in taps else {})}


def fitted(method, made=None):
    networks = view_of(method, made or network(), SPEC)
    return fit(method, networks, BATCHES), networks


def on_cells(method, networks, batch=TEST):
    """Scores at the cells (N,): the map is upsampled from these."""
    with torch.no_grad():
        return method._cells(networks["base"](batch).scales[0].taps[TAP]).flatten().double().numpy()


def rows(networks, batch=TEST):
    features, weight, bias = (t.numpy() for t in parts(networks, batch))
    features = features.transpose(0, 2, 3, 1).reshape(-1, WIDTH)
    return features, weight, bias, features @ weight.T + bias


def test_maps_are_those_of_the_cells_upsampled_and_averaged():
    for method in (ViM(), NECO()):
        networks = view_of(method, network(), dataclasses.replace(SPEC, scales=(40, 24)))
        fit(method, networks, BATCHES)
        with torch.no_grad():
            cells = [method._cells(scale.taps[TAP])[:, None] for scale in networks["base"](TEST).scales]
            first, second = (F.interpolate(c, (40, 56), mode="bilinear", align_corners=False)[:, 0] for c in cells)
            torch.testing.assert_close(method.score(TEST, networks), (first + second) / 2)


@pytest.mark.parametrize("call", ["vim:dim=2", "neco:dim=2", "neco:factor=none", "neco:explained=0.5:factor=energy"])
def test_options_are_of_the_score_and_share_one_fit(call):
    method, networks = fitted(METHODS.create(call))
    default, _ = fitted(METHODS.create(call.partition(":")[0]))
    other = METHODS.create(call)
    other.build(networks)
    other.load_state_dict(default.state_dict())
    assert (on_cells(other, networks) == on_cells(method, networks)).all()
    assert not np.allclose(on_cells(default, networks), on_cells(method, networks))


@pytest.mark.parametrize("name", ["vim", "neco"])
def test_fits_depend_on_no_order_or_batches(name):
    whole, networks = fitted(METHODS.create(name))
    singles = [Batch((b.ids[i],), b.images[i : i + 1], b.labels[i : i + 1]) for b in BATCHES[::-1] for i in range(3)]
    other = fit(METHODS.create(name), networks, singles)
    assert on_cells(other, networks) == pytest.approx(on_cells(whole, networks), abs=1e-4)


@pytest.mark.parametrize("name", ["vim", "neco"])
def test_images_without_a_known_class_are_refused(name):
    method = METHODS.create(name)
    networks = view_of(method, network(), SPEC)
    void = make_batch(labels=torch.full((2, 40, 56), IGNORE, dtype=torch.uint8))
    with pytest.raises(BenchmarkError, match="no training pixel has a class"):
        fit(method, networks, [void])


# ----------------------------------------------------------------------------------------------------------------- ViM


@pytest.mark.parametrize("dim", [1, 4, 6, 11])
def test_vim_is_numpys(dim):
    method, networks = fitted(ViM(dim))
    features, weight, bias, logits = rows(networks)
    training = known(networks)
    origin = -np.linalg.pinv(weight) @ bias
    assert weight @ origin + bias == pytest.approx(0, abs=1e-6)
    second = (training - origin).T @ (training - origin) / len(training)
    values, vectors = np.linalg.eigh(second)
    rest = vectors[:, np.argsort(-values)[dim:]]
    residual = np.linalg.norm((training - origin) @ rest, axis=1)
    alpha = (training @ weight.T + bias).max(1).mean() / residual.mean()
    want = alpha * np.linalg.norm((features - origin) @ rest, axis=1) - scipy.special.logsumexp(logits, axis=1)
    assert on_cells(method, networks) == pytest.approx(want, rel=1e-3, abs=1e-3)


def test_vim_of_what_lies_in_the_normal_space_is_the_energy_of_the_cells():
    method, networks = fitted(ViM(4))
    combinations = torch.randn(2, 5, 7, 4, generator=torch.Generator().manual_seed(0))
    inside = (combinations @ method.axes[:, :4].T + method.origin).permute(0, 3, 1, 2)
    found = method._cells(inside).detach()
    energy = -torch.logsumexp(networks["base"].module.last(inside), dim=1)
    torch.testing.assert_close(found, energy, rtol=1e-4, atol=1e-4)
    outside = inside + method.axes[:, 7].view(1, -1, 1, 1)
    assert (method._cells(outside) + torch.logsumexp(networks["base"].module.last(outside), dim=1) > 0.01).all()


def test_vims_residuals_have_the_mean_of_the_largest_logits():
    method, networks = fitted(ViM(5))
    features = torch.from_numpy(known(networks)).float().T[None, :, :, None]
    logits = networks["base"].module.last(features)
    scaled = method._cells(features) + torch.logsumexp(logits, dim=1)
    assert float(scaled.mean()) == pytest.approx(float(logits.amax(dim=1).mean()), rel=1e-4)


def test_vim_refuses_spaces_without_a_rest_and_logits_without_a_scale():
    with pytest.raises(BenchmarkError, match="there are 12 channels"):
        fitted(ViM(12))
    flat = network()
    with torch.no_grad():
        flat.first.weight[6:], flat.first.bias[6:] = flat.first.weight[:6], flat.first.bias[:6]
        flat.last[1].weight[:, 6:] = flat.last[1].weight[:, :6]  # so that the origin lies in their space, too
    method, networks = fitted(ViM(8), flat)
    with pytest.raises(BenchmarkError, match="no more than 8 dimensions"):
        method.score(TEST, networks)
    with pytest.raises(BenchmarkError, match="largest logit is below 0"):
        fitted(ViM(), network(bias=-100))


def test_vims_default_is_half_of_the_channels():
    default, networks = fitted(ViM())
    assert (on_cells(default, networks) == on_cells(fitted(ViM(6))[0], networks)).all()


# ---------------------------------------------------------------------------------------------------------------- NECO


@pytest.mark.parametrize("dim", [1, 5, 11])
@pytest.mark.parametrize("factor", ["max_logit", "energy", "none"])
def test_neco_is_scikit_learns(factor, dim):
    method, networks = fitted(NECO(factor, dim=dim))
    features, _, _, logits = rows(networks)
    scaler = StandardScaler().fit(known(networks))
    axes = PCA(dim).fit(scaler.transform(known(networks))).components_
    x = scaler.transform(features)
    ratio = np.linalg.norm(x @ axes.T, axis=1) / np.linalg.norm(x, axis=1)
    factors = {"max_logit": logits.max(1), "energy": scipy.special.logsumexp(logits, axis=1), "none": 1}
    assert on_cells(method, networks) == pytest.approx(-ratio * factors[factor], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("explained", [0.3, 0.9, 0.999])
def test_neco_takes_the_fewest_axes_that_explain_the_share(explained):
    _, networks = fitted(NECO())
    pca = PCA().fit(StandardScaler().fit_transform(known(networks)))
    dim = int(np.searchsorted(pca.explained_variance_ratio_.cumsum(), explained)) + 1
    found, want = (fitted(method)[0] for method in (NECO(explained=explained), NECO(dim=dim)))
    assert (on_cells(found, networks) == on_cells(want, networks)).all()


def test_neco_with_every_axis_is_max_logit():
    method, networks = fitted(NECO(dim=WIDTH), network(signed=True))
    wanted = -networks["base"](TEST).scales[0].logits.amax(dim=1).flatten()
    assert on_cells(method, networks) == pytest.approx(wanted.double().numpy(), rel=1e-4, abs=1e-4)


def test_necos_ratio_lies_between_0_and_1_and_knows_no_distance_from_the_mean():
    method, networks = fitted(NECO("none", dim=4))
    features = torch.from_numpy(rows(networks)[0]).float()
    ratio = method.ratio(features)
    assert (ratio >= 0).all() and (ratio <= 1 + 1e-5).all() and ratio.std() > 0.01
    torch.testing.assert_close(method.ratio(method.mean + 3 * (features - method.mean)), ratio, rtol=1e-4, atol=1e-5)
    assert method.ratio(method.mean[None]).item() == 0


def test_a_channel_that_never_varies_does_no_harm():
    made = network()
    with torch.no_grad():
        made.first.weight[3], made.first.bias[3] = 0, -1
        made.first.weight[4], made.first.bias[4] = 0, 0.7
    method, networks = fitted(NECO(), made)
    assert method.std[3] == method.std[4] == 1 and np.isfinite(on_cells(method, networks)).all()


def test_neco_refuses_a_factor_below_zero():
    method, networks = fitted(NECO(), network(bias=-100))
    with pytest.raises(BenchmarkError, match="of the training cells the factor max_logit is below 0; take factor=none"):
        method.score(TEST, networks)
    method, networks = fitted(NECO("none"), network(bias=-100))
    assert method.score(TEST, networks).isfinite().all()
    with pytest.raises(BenchmarkError, match="there are 12 channels"):
        fitted(NECO(dim=13))
