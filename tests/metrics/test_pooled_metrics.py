"""The pooled accumulator: accuracy, exact merging, bounded memory, resuming."""

import io
import itertools

import numpy as np
import pytest
from oracles import KINDS, RULES, roc_points, score_map
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelEvaluator, View, evaluate_scores
from benchmark.metrics.pooled import PooledHistogram


def maps_of(kind, images=6, shape=(150, 200), seed=0):
    rng = np.random.default_rng(seed)
    return [score_map(kind, rng, shape) for _ in range(images)]


def concatenated(maps):
    return (
        np.concatenate([labels.ravel() == 254 for _, labels in maps]),
        np.concatenate([scores.ravel() for scores, _ in maps]),
    )


def evaluated(maps, ids=None, **kwargs):
    evaluator = PixelEvaluator(["per-image", "pooled", "pooled-anomalous"], **kwargs)
    for i in range(len(maps)) if ids is None else ids:
        evaluator.update(View(f"{i:04}", *maps[i]))
    return evaluator


def first_ge(y, s):
    fpr, tpr, _ = roc_curve(y, s, drop_intermediate=False)
    return fpr[np.argmax(tpr >= 0.95)]


@pytest.mark.parametrize("kind", KINDS)
def test_pooled_values_against_scikit_learn_on_the_concatenation(kind):
    maps = maps_of(kind, images=3, shape=(360, 640))
    y, s = concatenated(maps)
    result = evaluated(maps).result("pooled")
    errors = (
        abs(result.auroc - roc_auc_score(y, s)),
        abs(result.aupr - average_precision_score(y, s)),
        abs(result.fpr95 - first_ge(y, s)),
    )
    assert errors[0] <= 1e-6 and errors[1] <= 2e-5 and errors[2] <= 2e-4
    bounds = result.quantisation
    for error, bound in zip(errors, (bounds.auroc, bounds.aupr, bounds.fpr95), strict=True):
        assert error <= bound + 1e-12
    assert result.prevalence == y.mean()


@pytest.mark.parametrize("kind", ["softmax", "heavy"])
def test_exact_pooling_equals_scikit_learn(kind):
    maps = maps_of(kind, images=3)
    y, s = concatenated(maps)
    result = evaluate_scores(*zip(*maps), "pooled", exact_pooled=True)
    assert result.auroc == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    assert result.aupr == pytest.approx(average_precision_score(y, s), abs=1e-12)
    assert result.fpr95 == pytest.approx(first_ge(y, s), abs=1e-12)
    assert s[(s >= result.threshold)].size / s.size < 1 and (s[y] >= result.threshold).mean() >= 0.95


def test_ties_stay_ties():
    rng = np.random.default_rng(0)
    maps = [(rng.integers(0, 7, (60, 60)).astype(np.float32), rng.choice([0, 254], (60, 60)).astype(np.uint8))] * 1
    y, s = concatenated(maps)
    result = evaluate_scores(*zip(*maps), "pooled")
    assert result.auroc == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    assert result.fpr95 == pytest.approx(RULES["first_ge"](roc_points(y, s)), abs=1e-12)


def test_constant_scores_and_infinities():
    labels = np.zeros((10, 10), np.uint8)
    labels[:2] = 254
    result = evaluate_scores([np.full((10, 10), -np.inf)] * 2, [labels] * 2, "pooled")
    assert (result.auroc, result.aupr, result.fpr95, result.threshold) == (0.5, 0.2, 1.0, -np.inf)
    perfect = np.where(labels == 254, np.inf, 0.0)
    result = evaluate_scores([perfect], [labels], "pooled")
    assert (result.auroc, result.aupr, result.fpr95, result.threshold) == (1.0, 1.0, 0.0, np.inf)


def same(a, b):
    """Bit-for-bit equality of everything an evaluator holds and says."""
    first, second = a.state(), b.state()
    assert first.keys() == second.keys()
    for key in first.keys() - {"header"}:
        assert first[key].dtype == second[key].dtype and np.array_equal(first[key], second[key]), key
    for name in ("per-image", "pooled", "pooled-anomalous"):
        assert repr(a.result(name)) == repr(b.result(name))
    for key in a.rows().columns:
        np.testing.assert_array_equal(a.rows()[key], b.rows()[key])


@pytest.mark.parametrize("exact", [False, True])
def test_seven_shards_in_any_order_equal_one_pass(exact):
    # Kinds of different ranges make the shards choose different resolutions on their own.
    maps = [
        maps_of(kind, 2, (90, 120), seed)[0] for seed in range(4) for kind in ("softmax", "heavy", "distance", "logit")
    ]
    maps.append((maps[0][0], np.zeros_like(maps[0][1])))
    whole = evaluated(maps, exact_pooled=exact)
    rng = np.random.default_rng(0)
    for _ in range(3):
        order = rng.permutation(len(maps))
        shards = [evaluated(maps, order[i::7], exact_pooled=exact) for i in rng.permutation(7)]
        total = shards[0]
        for shard in shards[1:]:
            total.merge(shard)
        same(whole, total)


def test_merging_trees_of_shards():
    maps = maps_of("heavy", 4, (60, 70))
    whole = evaluated(maps)
    for a, b, c, d in itertools.islice(itertools.permutations(range(4)), 0, 24, 7):
        left, right = evaluated(maps, [a]), evaluated(maps, [b])
        left.merge(evaluated(maps, [c]))
        right.merge(evaluated(maps, [d]))
        right.merge(left)
        same(whole, right)


@pytest.mark.parametrize("exact", [False, True])
def test_state_continues_where_it_was_saved(exact):
    maps = maps_of("distance", 5, (60, 70))
    stopped = evaluated(maps, range(3), exact_pooled=exact, classes=("road",), method="msp")
    file = io.BytesIO()
    np.savez(file, **stopped.state())
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        resumed = PixelEvaluator.from_state(archive)
    for i in (3, 4):
        resumed.update(View(f"{i:04}", *maps[i]))
    same(evaluated(maps, exact_pooled=exact), resumed)
    assert resumed.method == "msp"
    with pytest.raises(BenchmarkError, match="twice"):
        resumed.update(View("0001", *maps[1]))


def test_merging_refuses_what_does_not_belong_together():
    maps = maps_of("logit", 2, (40, 40))
    with pytest.raises(BenchmarkError, match="both"):
        evaluated(maps).merge(evaluated(maps, [1]))
    with pytest.raises(BenchmarkError, match="same"):
        evaluated(maps).merge(PixelEvaluator(["pooled"]))
    with pytest.raises(BenchmarkError, match="same"):
        evaluated(maps, [0]).merge(evaluated(maps, [1], exact_pooled=True))


class Keys:
    """Sorted keys as an image gives them."""

    def __init__(self, keys):
        self.keys = np.sort(keys.astype(np.uint32))

    def runs(self, row, fineness):
        return np.unique(fineness.floor(self.keys), return_counts=True)


def test_memory_is_bounded_and_resolution_never_below_twenty_bits_for_any_floats():
    histogram = PooledHistogram(2)
    rng = np.random.default_rng(0)
    for _ in range(4):
        keys = Keys(rng.integers(0x007FFFFF, 0xFF800001, 300_000))  # every exponent, both signs
        histogram.add(keys, [(0, 0), (0, 1)])
    assert histogram.resolution.bits == 20
    assert histogram.nbytes <= 32 * 2**20
    assert sum(histogram.occupied(0)[1]) == 1_200_000


def test_narrow_ranges_are_resolved_exactly_wherever_they_lie():
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 254], np.uint8), (100, 100))
    maps = [((1e6 + rng.random((100, 100))).astype(np.float32), labels) for _ in range(3)]
    result = evaluated(maps).result("pooled")
    y, s = concatenated(maps)
    assert result.auroc == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    assert result.quantisation.auroc == 0


def test_typical_memory():
    for kind in KINDS:
        assert evaluated(maps_of(kind))._pooled.nbytes < 32 * 2**20


def test_curves_are_points_of_the_full_curves_and_keep_their_area():
    maps = maps_of("distance", 4)
    y, s = concatenated(maps)
    curves = evaluated(maps).curves("pooled", points=400)
    assert 100 < len(curves.recall) < 900
    for i in range(0, len(curves.recall), 40):
        called = s >= curves.threshold[i]
        assert curves.recall[i] == pytest.approx((called & y).sum() / y.sum(), abs=1e-12)
        assert curves.fpr[i] == pytest.approx((called & ~y).sum() / (~y).sum(), abs=1e-12)
        assert curves.precision[i] == pytest.approx((called & y).sum() / called.sum(), abs=1e-12)
    auroc = auc(np.r_[0, curves.fpr, 1], np.r_[0, curves.recall, 1])
    aupr = auc(np.r_[0, curves.recall], np.r_[curves.precision[0], curves.precision])
    assert auroc == pytest.approx(roc_auc_score(y, s), abs=2e-3)
    assert aupr == pytest.approx(average_precision_score(y, s), abs=5e-3)
    assert curves.recall[-1] == 1
    assert curves.arrays().keys() == {"threshold", "recall", "precision", "fpr"}


def test_best_f1_threshold_is_the_best_of_all():
    maps = maps_of("logit", 2, (40, 50))
    y, s = concatenated(maps)

    def f1(t):
        return 2 * (s[y] >= t).sum() / ((s >= t).sum() + y.sum())

    assert f1(evaluated(maps).best_f1_threshold()) == max(map(f1, np.unique(s)))
