"""SML: standardised per predicted class, boundaries suppressed, smoothed; against scipy's morphology and filters."""

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch
from benchmark.methods.sml import SML, smooth, suppress_boundaries
from hypothesis import given, settings
from hypothesis import strategies as st
from method_toys import Given, Net, fit, make_batch, view_of

from benchmark.data import Batch
from benchmark.errors import BenchmarkError

CROSS = ndi.generate_binary_structure(2, 1)


def plain():
    return SML(boundary=False, smoothing=False)


@pytest.fixture(scope="module")
def batches():
    return [make_batch(3, seed=s) for s in range(3)]


def by_class(networks, batches):
    pairs = [networks["base"](b).max_logits() for b in batches]
    values, classes = (torch.cat([p[i].flatten() for p in pairs]) for i in (0, 1))
    return values.detach().double(), classes


def test_training_pixels_have_mean_0_and_variance_1_per_predicted_class(batches):
    method = plain()
    networks = view_of(method)
    fit(method, networks, batches)
    scores = torch.cat([method.score(b, networks).flatten() for b in batches]).detach().double()
    _, classes = by_class(networks, batches)
    assert len(classes.unique()) == 3
    for c in range(3):
        assert scores[classes == c].mean().abs() < 1e-4
        assert scores[classes == c].var() == pytest.approx(1, abs=1e-4)


def test_statistics_do_not_depend_on_how_the_images_are_batched(batches):
    whole, other = plain(), plain()
    networks = view_of(whole)
    fit(whole, networks, batches)
    singles = [Batch((b.ids[i],), b.images[i : i + 1], b.labels[i : i + 1]) for b in batches for i in range(3)]
    fit(other, networks, singles[::-1])
    assert torch.allclose(whole.mean, other.mean, atol=1e-5) and torch.allclose(whole.std, other.std, atol=1e-5)


def test_a_class_that_is_never_predicted_has_the_statistics_of_all_pixels(batches):
    network = Net(classes=4)
    with torch.no_grad():
        network.last[1].bias[2] = -1e4
    method = plain()
    networks = view_of(method, network, spec=Given(torch.zeros(1, 4, 1, 1)).spec)
    fit(method, networks, batches)
    values, _ = by_class(networks, batches)
    assert method.mean[2] == pytest.approx(values.mean().item(), abs=1e-4)
    assert method.std[2] == pytest.approx(values.std().item(), abs=1e-4)


def test_a_class_predicted_in_one_pixel_has_the_statistics_of_all_pixels():
    z = torch.randn(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    z[:, 1] = -9
    z[0, 1, 2, 3] = 9
    method = plain()
    fit(method, {"base": Given(z, stride=1)}, [make_batch(1, 5, 7)])
    values = z.amax(1).double()
    assert method.mean[1] == pytest.approx(values.mean().item(), abs=1e-5)
    assert method.std[1] == pytest.approx(values.std().item(), abs=1e-5)
    assert method.mean[0] == pytest.approx(z[:, 0][z[:, 0] > z[:, 1]].mean().item(), abs=1e-5)


def test_constant_logits_give_finite_scores():
    constant = {"base": Given(torch.ones(1, 3, 5, 7))}
    method = fit(SML(), constant, [make_batch(1)])
    assert method.score(make_batch(1), constant).isfinite().all()


def test_without_images_there_is_a_sentence():
    with pytest.raises(BenchmarkError, match="no training images"):
        fit(SML(), view_of(SML()), [])


def reference_suppression(values, classes):
    """Pixel by pixel, as the paper words it."""
    dilated = ndi.grey_dilation(classes, footprint=CROSS, mode="nearest")
    edge = dilated != ndi.grey_erosion(classes, size=(3, 3), mode="nearest")
    for radius in (3, 2, 1, 0):
        wide = ndi.binary_dilation(edge, CROSS, iterations=radius) if radius else edge
        padded, outside = np.pad(values, 1, mode="edge"), np.pad(~wide, 1, mode="edge")
        result = values.copy()
        for i, j in np.argwhere(wide):
            window, use = padded[i : i + 3, j : j + 3], outside[i : i + 3, j : j + 3]
            if use.any():
                result[i, j] = window[use].mean()
        values = result
    return values


@settings(max_examples=30)
@given(st.integers(4, 24), st.integers(4, 24), st.integers(1, 6), st.integers(0, 999))
def test_boundary_suppression_equals_the_definition(height, width, patches, seed):
    random = np.random.default_rng(seed)
    classes = np.zeros((height, width), np.int64)
    for _ in range(patches):
        top, left = random.integers(height), random.integers(width)
        classes[top : top + random.integers(1, 12), left : left + random.integers(1, 12)] = random.integers(13)
    values = random.normal(size=(height, width))
    got = suppress_boundaries(torch.from_numpy(values)[None], torch.from_numpy(classes)[None])[0]
    assert got.numpy() == pytest.approx(reference_suppression(values, classes), abs=1e-5)


def test_far_from_a_boundary_nothing_changes_and_at_it_the_inside_wins():
    classes = torch.zeros(1, 30, 40, dtype=torch.int64)
    classes[:, :, 20:] = 1
    values = torch.full((1, 30, 40), 2.0)
    values[:, :, 16:24] = -5.0  # low max logits where classes meet
    # With one value inside each class's flank, all that lies in the boundary takes it.
    values[:, :, 18:22] = -9.0
    out = suppress_boundaries(values, classes)
    assert torch.equal(out[:, :, :16], values[:, :, :16]) and torch.equal(out[:, :, 24:], values[:, :, 24:])
    assert (out[:, :, 18:22] > -9).all()
    assert torch.equal(suppress_boundaries(values, torch.zeros_like(classes)), values)


def test_smoothing_equals_scipys_dilated_gaussian():
    values = torch.randn(2, 41, 53, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    taps = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    kernel = np.zeros((37, 37))
    kernel[::6, ::6] = np.outer(taps, taps) / taps.sum() ** 2
    want = np.stack([ndi.correlate(v, kernel, mode="nearest") for v in values.numpy()])
    assert smooth(values).numpy() == pytest.approx(want, abs=1e-10)


@pytest.mark.parametrize(("boundary", "smoothing"), [(True, False), (False, True), (True, True)])
def test_filters_work_on_the_standardised_map(boundary, smoothing, batches):
    method, simple = SML(boundary, smoothing), plain()
    networks = view_of(method)
    fit(method, networks, batches)
    fit(simple, networks, batches)
    batch = batches[0]
    want = -simple.score(batch, networks)
    classes = networks["base"](batch).max_logits()[1]
    want = suppress_boundaries(want, classes) if boundary else want
    want = smooth(want) if smoothing else want
    with torch.autocast("cpu", torch.bfloat16):
        got = method.score(batch, networks)
    assert torch.allclose(got, -want, atol=1e-5)


def test_several_scales_standardise_the_maximum_of_the_mean_logits():
    a, b = (3 * torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    networks = {"base": Given(a, b, stride=1)}
    method = fit(plain(), networks, [make_batch(2, 5, 7)])
    values, classes = ((a + b) / 2).max(1)
    want = -(values - method.mean[classes]) / method.std[classes]
    assert torch.allclose(method.score(make_batch(2, 5, 7), networks), want, atol=1e-5)
    assert want.mean().abs() < 1e-4
