"""Methods on masks: closed forms, an independent computation in float64, orders between them, who may run them."""

import numpy as np
import pytest
import scipy.special
import torch
from benchmark.methods.eam import EAM
from benchmark.methods.mask2anomaly import Mask2Anomaly
from benchmark.methods.maskomaly import Maskomaly
from benchmark.methods.max_logit import MaxLogit
from benchmark.methods.rba import RbA
from benchmark.methods.uno import UNO
from method_toys import Given, make_batch

from benchmark.blocks import MASKS, QUERIES, Masks, over_windows
from benchmark.errors import BenchmarkError
from benchmark.networks import build_network
from benchmark.pool import networks_for
from benchmark.registry import METHODS

NAMES = ("road", "Building", "sky", "car")
HIGH = 40.0
"""A logit whose sigmoid or softmax float32 rounds to 1."""


def answer(method, masks, classes, names=NAMES):
    """Scores for mask logits (B, Q, H, W) and class logits (B, Q, K + 1) where the grid is the image's."""
    size, queries = tuple(masks.shape[-2:]), classes[:, :, None]
    logits = over_windows(masks, queries, size, Masks.marginal)
    given = Given(logits, taps=[{MASKS: masks, QUERIES: queries}], stride=1)
    given.class_names, given.channels = names, lambda tap: masks.shape[1]
    method.build({"base": given})
    return method.score(make_batch(len(masks), *size), {"base": given})


def random_masks(queries=13, classes=4, seed=0):
    """Masks and classes of which some are confident, some are no object."""
    generator = torch.Generator().manual_seed(seed)
    masks = 4 * torch.randn(2, queries, 6, 9, generator=generator)
    known = 3 * torch.randn(2, queries, classes + 1, generator=generator)
    known[:, :3] *= 4
    return masks, known


def one_query(label):
    """A single mask over everything of one class; 4 is no object."""
    classes = torch.zeros(1, 1, 5)
    classes[..., label] = HIGH
    return torch.full((1, 1, 3, 4), HIGH), classes


@pytest.mark.parametrize(
    ("method", "claimed", "rejected"),
    [
        (RbA(), -np.tanh(1), 0),
        (EAM(), 0, 1),
        (Mask2Anomaly(refine=False, mirror=False), 0, 1),
        (MaxLogit(), -1, 0),
        (Maskomaly(), 0, 0.6),
        (Maskomaly(found="0"), 0.4, 1),
        (Maskomaly(ground="0"), 0, 0),
    ],
)
def test_one_mask_over_everything(method, claimed, rejected):
    assert answer(method, *one_query(3)).numpy() == pytest.approx(claimed, abs=1e-6)
    assert answer(method, *one_query(4)).numpy() == pytest.approx(rejected, abs=1e-6)


def test_uno_is_the_margin_of_the_class_over_the_output_for_no_class():
    expected = {0: -1, 3: 1, 4: 0}  # output 3 is "out", 4 is no object
    for label, value in expected.items():
        assert answer(UNO(index=3), *one_query(label)).numpy() == pytest.approx(value, abs=1e-6)
        assert answer(UNO(), *one_query(label), names=NAMES[:3]).numpy() == pytest.approx(value, abs=1e-6)


def parts(masks, classes):
    """``G`` (B, Q, H, W) and ``P`` (B, Q, K + 1), float64."""
    return scipy.special.expit(masks.double().numpy()), scipy.special.softmax(classes.double().numpy(), axis=-1)


def rba(g, p):
    return -np.tanh((p[..., :-1, None, None] * g[:, :, None]).sum(1)).sum(1)


def eam(g, p):
    return 1 - (g * p[..., :-1].max(-1)[..., None, None]).sum(1)


def uno(g, p):
    return -(g * (np.delete(p, 2, -1)[..., :-1].max(-1) - p[..., 2])[..., None, None]).sum(1)


def mask2anomaly(g, p):
    base = 1 - (p[..., :-1, None, None] * g[:, :, None]).sum(1).max(1)
    for b, q in np.ndindex(*p.shape[:2]):
        if p[b, q].argmax() in (1, 2) and p[b, q].max() > 0.95:
            base[b][p[b, q].max() * g[b, q] >= 0.5] = 0
    return base


def maskomaly(g, p):
    rest, borders, found = np.ones(g[:, 0].shape), np.zeros(g[:, 0].shape), np.zeros(g[:, 0].shape)
    for b, q in np.ndindex(*p.shape[:2]):
        sure, thing = p[b, q].max(), p[b, q].argmax() != p.shape[-1] - 1
        if (thing and sure > 0.7) or q == 5:
            rest[b] = np.minimum(rest[b], 1 - sure * g[b, q])
        borders[b] += thing * (g[b, q] > 0.1)
        if q in (2, 11):
            found[b] = np.maximum(found[b], sure * g[b, q])
    return 0.6 * np.where(borders >= 2, 0, rest) + 0.4 * found


CASES = [
    (RbA(), rba),
    (EAM(), eam),
    (UNO(index=2), uno),
    (Mask2Anomaly(mirror=False), mask2anomaly),
    (Maskomaly(found="2+11", ground="5"), maskomaly),
]


@pytest.mark.parametrize(("method", "formula"), CASES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("seed", range(3))
def test_is_the_formula_in_float64(method, formula, seed):
    masks, classes = random_masks(seed=seed)
    expected = formula(*parts(masks, classes))
    assert answer(method, masks, classes).numpy() == pytest.approx(expected, abs=2e-5)
    assert len(np.unique(expected)) > 10


def test_scores_keep_their_order_and_range():
    masks, classes = random_masks(seed=7)
    s = over_windows(masks, classes[:, :, None], (6, 9), Masks.marginal)
    base = answer(Mask2Anomaly(refine=False, mirror=False), masks, classes)
    assert torch.allclose(base, 1 - s.amax(1))
    assert (answer(EAM(), masks, classes) <= base + 1e-6).all()
    scores = answer(RbA(), masks, classes)
    assert (scores <= 0).all() and (scores >= -s.sum(1) - 1e-6).all()
    for method in (Maskomaly(), Maskomaly(found="1")):
        scores = answer(method, masks, classes)
        assert scores.min() >= 0 and scores.max() <= 1


def test_refinement_only_takes_away_and_only_under_confident_masks_of_stuff():
    masks, classes = random_masks(seed=7)
    masks, classes = masks - 3, classes.clone()
    classes[:, 0] = torch.tensor([0, 0, HIGH, 0, 0])  # a certain sky
    base = answer(Mask2Anomaly(refine=False, mirror=False), masks, classes)
    refined = answer(Mask2Anomaly(mirror=False), masks, classes)
    assert ((refined == base) | (refined == 0)).all() and (refined != base).any() and (refined == base).any()
    for label in (0, 4):  # a certain road, a certain nothing
        classes[:, 0] = HIGH * torch.eye(5)[label]
        classes[:, 1:] = classes[:, 1:].clamp(max=1)
        base = answer(Mask2Anomaly(refine=False, mirror=False), masks, classes)
        assert torch.equal(answer(Mask2Anomaly(mirror=False), masks, classes), base)


def test_uno_without_an_object_of_no_class_is_eam_less_one():
    masks, classes = random_masks(seed=2)
    classes[..., 3] = -80
    assert torch.allclose(answer(UNO(index=3), masks, classes), answer(EAM(), masks, classes) - 1, atol=1e-6)


def test_the_mirror_image_is_asked_as_well():
    torch.manual_seed(0)
    network = build_network("maskformer-small", 4).eval()
    method, batch = Mask2Anomaly(refine=False), make_batch(1, 40, 56)
    networks = networks_for(method, network)
    method.build(networks)
    with torch.no_grad():
        scores = method.score(batch, networks)
        s = [networks["base"].run(images).logits().amax(1) for images in (batch.images, batch.images.flip(-1))]
    assert torch.allclose(scores, 1 - (s[0] + s[1].flip(-1)) / 2, atol=1e-6)
    assert not torch.allclose(scores, 1 - s[0], atol=1e-3)


@pytest.mark.parametrize(
    ("call", "names", "sentence"),
    [
        ("uno", NAMES, "none of the 4 is known to be it"),
        ("uno", None, "none of the 4 is known to be it"),
        ("uno:index=4", NAMES, "no output 4 among 4"),
        ("mask2anomaly", ("a", "b"), "no class of the network is known as one of stuff"),
        ("maskomaly:found=12+13", NAMES, "no query 13; the network has 0 to 12"),
    ],
)
def test_what_the_network_does_not_have_is_refused(call, names, sentence):
    with pytest.raises(BenchmarkError, match=sentence):
        answer(METHODS.create(call), *random_masks(), names=names)


@pytest.mark.parametrize("call", ["uno:index=-2", "maskomaly:found=1+x", "maskomaly:ground=+"])
def test_an_option_that_makes_no_sense_is_refused(call):
    with pytest.raises(BenchmarkError, match="refuses"):
        METHODS.create(call)


def test_who_chooses_queries_by_anomalies_stands_apart():
    assert METHODS.create("maskomaly:found=1").auxiliary_data and not METHODS.create("maskomaly").auxiliary_data


@pytest.mark.parametrize("name", ["rba", "eam", "uno", "mask2anomaly", "maskomaly"])
def test_a_network_without_masks_is_refused_in_one_sentence(name):
    method = METHODS.create(name)
    network = build_network("pspnet-small", 4)
    with pytest.raises(
        BenchmarkError, match=r"needs the features masks, queries .* take a mask-classification network"
    ):
        networks_for(method, network)
