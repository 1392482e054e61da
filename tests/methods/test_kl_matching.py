"""KL-matching against scipy's divergence from the mean predictions of the training images."""

import math

import pytest
import scipy.special
import torch
from benchmark.methods.kl_matching import KLMatching
from method_toys import Given, fit, make_batch

from benchmark.errors import BenchmarkError
from benchmark.registry import METHODS

CLASSES = 4


def given(*seeds, spread=2.0, stride=8):
    """Networks by the ids of their batches, in which class 2 never leads."""
    made = {}
    for seed in seeds:
        z = spread * torch.randn(2, CLASSES, 5, 7, generator=torch.Generator().manual_seed(seed))
        z[:, 2] = z.amin(dim=1) - 1
        made[make_batch(seed=seed, height=5 * stride, width=7 * stride).ids] = Given(z, stride=stride)
    return Several(made)


class Several:
    """A handle that gives each batch its own outputs."""

    def __init__(self, by_ids):
        self.by_ids = by_ids
        self.spec = next(iter(by_ids.values())).spec

    def __call__(self, batch):
        return self.by_ids[batch.ids](batch)


def fitted(networks, seeds, **options):
    return fit(KLMatching(**options), {"base": networks}, [make_batch(seed=seed) for seed in seeds])


def typical(networks, seeds):
    """Mean softmax by predicted class at the pixels 4, 12, 20, ..., in float64; NaN where no pixel is."""
    seen = [networks(make_batch(seed=seed)).logits()[..., 4::8, 4::8] for seed in seeds]
    p = torch.cat(seen).permute(0, 2, 3, 1).flatten(0, 2).double().softmax(1)
    return torch.stack([p[p.argmax(1) == c].mean(0) for c in range(CLASSES)])


@pytest.mark.parametrize("match", ["min", "predicted"])
def test_is_the_divergence_from_the_typical_prediction(match):
    seeds = range(4)
    networks, batch = given(*seeds, 9), make_batch(seed=9)
    method = fitted(networks, seeds, match=match)
    d = typical(networks, seeds)
    assert method.present.tolist() == [True, True, False, True] == (~d[:, 0].isnan()).tolist()
    p = networks(batch).logits().double().softmax(1)
    every = torch.stack(
        [torch.from_numpy(scipy.special.rel_entr(p.numpy(), d[c].view(-1, 1, 1).numpy())).sum(1) for c in (0, 1, 3)]
    )
    own = torch.tensor([0, 1, 9, 2])[p.argmax(1)]
    want = every.amin(0) if match == "min" else every.gather(0, own[None])[0]
    found = method.score(batch, {"base": networks})
    torch.testing.assert_close(found.double(), want, rtol=1e-4, atol=1e-5)
    assert found.min() > -1e-6


def test_a_typical_prediction_scores_0_and_a_sure_one_its_distance_from_one_hot():
    networks = given(0, 1, 2)
    method = fitted(networks, range(3))
    d = typical(networks, range(3))
    probes = torch.stack([d[0].log().float(), torch.tensor([60.0, 0, 0, 0]), torch.zeros(CLASSES)])[..., None, None]
    scores = method.score(make_batch(3, 8, 8), {"base": Given(probes)})[:, 0, 0]
    assert scores[0] == pytest.approx(0, abs=1e-6)
    assert scores[1] == pytest.approx(-math.log(d[0, 0]), rel=1e-5)
    assert scores[2] > 0


def test_with_uniform_typical_predictions_it_is_log_c_minus_the_entropy():
    networks = given(0, spread=1e-6)
    networks.by_ids = {ids: Given(torch.zeros(2, CLASSES, 5, 7)) for ids in networks.by_ids}
    method = fitted(networks, [0])
    z = 2 * torch.randn(2, CLASSES, 5, 7, generator=torch.Generator().manual_seed(3))
    entropy = torch.special.entr(z.double().softmax(1)).sum(1)
    found = method.score(make_batch(2, 5, 7), {"base": Given(z, stride=1)})
    torch.testing.assert_close(found.double(), math.log(CLASSES) - entropy, rtol=1e-4, atol=1e-6)


def test_one_that_is_predicted_as_no_training_pixel_was_takes_the_nearest():
    networks = given(0, 1)
    z = torch.tensor([0.0, 0, 5, 0]).view(1, CLASSES, 1, 1)
    values = [
        fitted(networks, range(2), match=match).score(make_batch(1, 8, 8), {"base": Given(z)})
        for match in ("min", "predicted")
    ]
    assert torch.equal(*values) and values[0].isfinite().all()


def test_does_not_depend_on_how_the_images_are_batched():
    networks = given(0, 1, 2)
    forwards, backwards = fitted(networks, range(3)), fitted(networks, range(2, -1, -1))
    torch.testing.assert_close(forwards.log_typical, backwards.log_typical)


def test_no_image_and_no_such_match_are_said():
    with pytest.raises(BenchmarkError, match="no typical predictions"):
        fitted(given(0), [])
    with pytest.raises(BenchmarkError, match="match is min or predicted"):
        METHODS.create("kl_matching:match=label")
