"""Rates at thresholds that only normal pixels decide: against brute force, scikit-learn and closed forms."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score, roc_curve

from benchmark.errors import BenchmarkError
from benchmark.metrics import PROTOCOLS, FirstPass, View
from benchmark.metrics.fixed_fpr import FixedFprEvaluator, FixedFprPerImage
from benchmark.metrics.operating import OperatingEvaluator
from benchmark.metrics.pooled import PooledSketch
from benchmark.metrics.sorted_image import SortedImage
from benchmark.metrics.strata import Strata
from benchmark.metrics.thresholds import NormalEvaluator, quantile, threshold_at, tpr_error

CLASSES = ("road", "sky", "car")
scores = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=60)


def view(name, anomalous, normal):
    values = np.array([[*anomalous, *normal]], np.float32)
    return View(name, values, np.array([[254] * len(anomalous) + [0] * len(normal)], np.uint8))


def measure(name, *views):
    first = FirstPass([name], CLASSES)
    for each in views:
        first.update(each)
    return first.measurement()[name]


@given(anomalous=scores, normal=scores)
def test_the_two_rates_are_those_of_the_roc_curve(anomalous, normal):
    found = measure("tpr-fpr05", view("a", anomalous, normal)).extra
    fpr, tpr, _ = roc_curve([1] * len(anomalous) + [0] * len(normal), [*anomalous, *normal], drop_intermediate=False)
    assert found["tpr"] == pytest.approx(tpr[fpr <= 0.05].max())
    assert found["tpr_first_ge"] == pytest.approx(tpr[np.searchsorted(fpr, 0.05)])
    assert np.mean(np.array(normal) > found["threshold"]) <= 0.05
    assert np.mean(np.array(anomalous) > found["threshold"]) == found["tpr"]
    alone = measure("tpr-fpr05-per-image", view("a", anomalous, normal))
    assert alone.extra["tpr"] == found["tpr"]


def test_a_false_positive_rate_of_exactly_the_target_is_allowed_and_reached():
    """One of twenty normal pixels lies above 18.5, two lie above 17.5; 19 is the first threshold at which 5 % do."""
    found = measure("tpr-fpr05", view("a", [17.5, 18.5, 20.0], range(20))).extra
    assert (found["tpr"], found["tpr_first_ge"], found["threshold"]) == (2 / 3, 1 / 3, 18.0)


@pytest.mark.parametrize(("anomalous", "last_le", "first_ge"), [(0.0, 0, 1), (1.0, 1, 1), (-1.0, 0, 0)])
def test_constant_perfect_and_inverted_scores(anomalous, last_le, first_ge):
    found = measure("tpr-fpr05", view("a", [anomalous] * 5, [0.0] * 100)).extra
    assert (found["tpr"], found["tpr_first_ge"]) == (last_le, first_ge)


def test_every_image_has_its_own_threshold_and_images_of_one_kind_are_left_out():
    views = [view("a", [1, 2], range(-40, 0)), view("b", [101, 50], range(60, 100)), view("c", [], [1.0])]
    found = measure("tpr-fpr05-per-image", *views)
    assert (found.extra["tpr"], found.images, found.skipped) == (0.75, 2, 1)
    assert found.intervals["tpr"] == [0.5, 1.0]
    assert measure("tpr-fpr05", *views[:2]).extra["tpr"] == 0.25
    nothing = measure("tpr-fpr05-per-image", views[2])
    assert (nothing.extra["tpr"], nothing.images, nothing.skipped) == (None, 0, 1)
    assert nothing.missing["tpr"] == "no image holds both anomalous and normal pixels"


@given(normal=scores, target=st.sampled_from([0.05, 0.2, 0.5]))
def test_a_quantile_is_the_lowest_score_with_few_above(normal, target):
    values = np.array(normal, np.float32)
    expected = min(s for s in normal if np.mean(values > s) <= target)
    assert quantile(values, target) == expected
    evaluator = NormalEvaluator()
    evaluator.update(View("a", values[None], np.zeros((1, len(values)), np.uint8)))
    assert evaluator.threshold(target, "pooled") == expected


@pytest.mark.parametrize(("target", "pixels"), [(0.29, 100), (0.57, 100), (0.05, 140), (0.07, 300)])
def test_a_share_of_exactly_the_target_may_lie_above_however_it_is_rounded(target, pixels):
    values = np.arange(pixels, dtype=np.float32)
    evaluator = NormalEvaluator()
    evaluator.update(View("a", values[None], np.zeros((1, pixels), np.uint8)))
    assert quantile(values, target) == evaluator.threshold(target, "pooled") == pixels - 1 - round(target * pixels)


@given(images=st.lists(scores, min_size=1, max_size=12), target=st.sampled_from([0.1, 0.25, 0.5]))
def test_a_conformal_threshold_is_the_infimum_of_its_definition(images, target):
    evaluator = NormalEvaluator()
    for index, values in enumerate(images):
        evaluator.update(View(str(index), np.array([values], np.float32), np.zeros((1, len(values)), np.uint8)))
    n, a = len(images), Fraction(target).limit_denominator(100)

    def risk(t):
        return sum(Fraction(sum(v > t for v in values), len(values)) for values in images)

    candidates = [t for values in images for t in values if (risk(t) + 1) / (n + 1) <= a]
    assert evaluator.threshold(target, "conformal") == (min(candidates) if candidates else math.inf)


@pytest.mark.parametrize(("images", "promised"), [(18, False), (19, True)])
def test_five_per_cent_cannot_be_promised_with_fewer_than_nineteen_images(images, promised):
    evaluator = NormalEvaluator()
    for index in range(images):
        evaluator.update(View(str(index), np.full((1, 8), float(index)), np.zeros((1, 8), np.uint8)))
    assert evaluator.threshold(0.05, "conformal") == (18 if promised else math.inf)


def test_the_promise_holds_on_average_over_exchangeable_images():
    rng, rates = np.random.default_rng(0), []
    for _ in range(200):
        levels = rng.normal(size=31)
        values = levels[:, None] + rng.normal(size=(31, 40))
        evaluator = NormalEvaluator()
        for index, one in enumerate(values[:30].astype(np.float32)):
            evaluator.update(View(str(index), one[None], np.zeros((1, 40), np.uint8)))
        rates.append(np.mean(values[30] > evaluator.threshold(0.1, "conformal")))
    assert np.mean(rates) < 0.1 + 2 * np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) > 0.02, "and not by calling nothing anomalous"


def test_a_threshold_that_was_asked_for_is_that_of_the_images_so_far():
    evaluator, other = NormalEvaluator(), NormalEvaluator()
    other.update(view("c", [], range(90)))
    steps = (
        (lambda: evaluator.update(view("a", [], range(20))), 15),
        (lambda: evaluator.update(view("b", [], range(20, 60))), 47),
        (lambda: evaluator.merge(other), 59),  # 30 of c's above it, of 150
    )
    for step, expected in steps:
        step()
        assert evaluator.threshold(0.2, "pooled") == expected


def test_anomalous_and_ignored_validation_pixels_take_no_part():
    evaluator = NormalEvaluator()
    evaluator.update(View("a", np.array([[9.0, 8.0, 1.0, 0.0]]), np.array([[254, 255, 0, 3]], np.uint8)))
    assert evaluator.threshold(0.05, "pooled") == 1 and (evaluator.pixels, evaluator.with_pixels) == (2, 1)
    nothing = NormalEvaluator()
    nothing.update(View("a", np.zeros((2, 2)), np.full((2, 2), 255, np.uint8)))
    assert nothing.with_pixels == 0 and math.isnan(nothing.threshold(0.05, "pooled"))


RNG = np.random.default_rng(3)
LABELS = RNG.choice(np.array([0, 1, 2, 254, 255], np.uint8), (4, 20, 30))
SCORES = RNG.normal(size=LABELS.shape).astype(np.float32) + (LABELS == 254)
PREDICTIONS = np.where(RNG.random(LABELS.shape) < 0.7, np.minimum(LABELS, 2), RNG.integers(0, 3, LABELS.shape))


def at(threshold, name="open-set-fpr"):
    protocol = PROTOCOLS[name]
    evaluator = OperatingEvaluator(protocol, threshold, CLASSES if protocol.predictions else ())
    for index in range(4):
        evaluator.update(View(str(index), SCORES[index], LABELS[index], PREDICTIONS[index]))
    return evaluator.measurement()[name].extra


@pytest.mark.parametrize("threshold", [-math.inf, -0.5, 0.7, math.inf])
def test_open_miou_is_that_of_scikit_learn_with_the_anomaly_as_one_more_class(threshold):
    found, counted = at(threshold), LABELS != 255
    true = np.where(LABELS == 254, 3, LABELS)[counted]
    given_ = np.where(threshold < SCORES, 3, PREDICTIONS)[counted]
    iou = jaccard_score(true, given_, labels=[0, 1, 2, 3], average=None, zero_division=0)
    assert found["open_miou"] == pytest.approx(iou[:3].mean())
    assert found["anomaly_iou"] == pytest.approx(iou[3])
    assert found["fpr"] == np.mean((threshold < SCORES)[LABELS < 254])
    for rate, kind in (("tpr_per_image", LABELS == 254), ("fpr_per_image", LABELS < 254)):
        assert found[rate] == pytest.approx(np.mean([np.mean((SCORES[i] > threshold)[kind[i]]) for i in range(4)]))
    known = LABELS < 3
    closed = jaccard_score(LABELS[known], PREDICTIONS[known], average="macro")
    assert found["closed_miou"] == pytest.approx(closed)


def test_thresholds_at_the_ends_reject_everything_or_nothing():
    assert at(-math.inf)["open_miou"] == 0 and at(-math.inf)["tpr"] == 1
    assert at(math.inf)["tpr"] == at(math.inf)["fpr"] == 0
    assert at(0.7, "conformal")["fpr"] == at(0.7)["fpr"] and "open_miou" not in at(0.7, "conformal")


def test_a_class_that_is_not_there_counts_zero_only_over_all_classes():
    evaluator = OperatingEvaluator(PROTOCOLS["open-set-fpr"], 0.0, CLASSES)
    evaluator.update(View("a", np.array([[-1, -1, 1.0]]), np.array([[0, 1, 254]], np.uint8), np.array([[0, 1, 1]])))
    found = evaluator.measurement()["open-set-fpr"].extra
    assert found["open_miou"] == found["closed_miou"] == 1
    assert found["open_miou_all"] == found["closed_miou_all"] == pytest.approx(2 / 3)


def test_without_validation_images_the_reason_is_stated_and_nothing_is_measured():
    first = FirstPass(["conformal", "pooled"], CLASSES)
    first.update(view("a", [1.0], [0.0]))
    second = first.second_pass()
    found = second.measurement()["conformal"]
    assert not second.evaluators and found.images == 0
    assert "no scores of normal validation images" in found.missing["fpr_per_image"]
    assert FirstPass(["pooled", "open-set"], CLASSES).validation is None, "no cost where nobody asks"


def test_an_infinite_threshold_says_that_it_is_one():
    first = FirstPass(["conformal"], CLASSES)
    first.update(view("a", [1.0], [0.0]))
    first.validation.update(View("v", np.zeros((2, 2)), np.zeros((2, 2), np.uint8)))
    second = first.second_pass()
    second.update(view("a", [1.0], [0.0]))
    found = second.measurement()["conformal"]
    assert found.extra["threshold"] is None and found.missing["threshold"] == "infinite"
    assert found.extra["fpr_per_image"] == found.extra["tpr_per_image"] == 0


def test_a_prediction_is_asked_for_where_classes_are_segmented():
    with pytest.raises(BenchmarkError, match="there is no prediction"):
        OperatingEvaluator(PROTOCOLS["open-set-fpr"], 0.0, CLASSES).update(view("a", [1.0], [0.0]))


def test_the_rate_of_a_sample_is_within_its_bound():
    rng, misses, bounds = np.random.default_rng(1), 0, []
    strata = Strata.of([(255,)])
    for trial in range(20):
        sketch = PooledSketch(1, (400, 3000))
        everything = []
        for index in range(4):
            labels = np.where(rng.random((60, 60)) < 0.2, 254, 0).astype(np.uint8)
            values = (rng.normal(size=labels.shape) + 1.5 * (labels == 254)).astype(np.float32)
            everything.append((values, labels))
            sketch.add(f"{trial}/{index}", SortedImage(values, labels, strata, ""), [(0, 0)])
        assert not sketch.exact
        ranking, kept = sketch.ranking([0]), (list(sketch.parts([-1])), list(sketch.parts([0])))
        bound = tpr_error(*kept, ranking, 0.05)
        values, labels = (np.concatenate([pair[i].ravel() for pair in everything]) for i in (0, 1))
        exact = np.mean(values[labels == 254] > quantile(values[labels == 0], 0.05))
        misses += abs(ranking.tpr("last_le", 0.05) - exact) > bound
        bounds.append(bound)
        assert threshold_at(kept[1], 0.05) == pytest.approx(quantile(values[labels == 0], 0.05), abs=0.1)
    assert misses == 0 and max(bounds) < 0.5


def test_a_share_of_exactly_the_target_may_lie_above():
    evaluator = FixedFprEvaluator(FixedFprPerImage("x", 1, "", 0.2))
    evaluator.update(view("a", [1.0, 3.0], [0.0, 0.0, 0.0, 0.0, 2.0]))
    assert evaluator.measurement()["x"].extra["tpr"] == 1.0, "one in five may lie above"
