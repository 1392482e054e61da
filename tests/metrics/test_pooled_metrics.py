"""The pooled sketch: accuracy, exact merging, bounded memory, resuming."""

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import KINDS, RULES, roc_points, score_map
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelEvaluator, PixelProtocol, View, evaluate_scores, read_curves, write_curves
from benchmark.metrics.pixel_protocols import FPR_RULES
from benchmark.metrics.ranking import Ranking
from benchmark.metrics.sampling import LEVELS, blocks, representatives, seed_of, sizes, thinned, weights
from benchmark.metrics.sampling_error import SamplingError
from benchmark.records.audit import curve_bounds


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


CROWDED = {
    "saturated": lambda z: 100 / (1 + np.exp(-6 * z)),
    "clipped": lambda z: np.clip(z, -1, 1),
    "far": lambda z: z + 1e6,
    "float16": lambda z: z.astype(np.float16),
    "integer": lambda z: np.round(5 * z),
    "constant": lambda z: 0 * z,
    "smooth": lambda z: z,
}


def crowded_maps(kind, images=12, shape=(60, 80), seed=0):
    """Score maps that crowd somewhere, with anomalies of very different sizes."""
    rng, maps = np.random.default_rng(seed), []
    for index in range(images):
        labels = np.zeros(shape, np.uint8)
        labels[: 2 + 3 * index, :40] = 254
        z = rng.normal(rng.normal(-1, 0.3), 1, shape) + 1.5 * (labels == 254)
        maps.append((CROWDED[kind](z).astype(np.float32), labels))
    return maps


def reference(maps):
    y, s = concatenated(maps)
    return np.array([roc_auc_score(y, s), average_precision_score(y, s), first_ge(y, s)])


def values(result):
    return np.array([result.auroc, result.aupr, result.fpr95])


def budget(monkeypatch, anomalous, normal):
    monkeypatch.setattr("benchmark.metrics.pixel.BUDGET", (anomalous, normal))


@pytest.mark.parametrize("kind", [*KINDS, *CROWDED])
def test_a_set_that_fits_is_exact_wherever_its_scores_crowd(kind):
    maps = maps_of(kind, images=3, shape=(360, 640)) if kind in KINDS else crowded_maps(kind)
    result = evaluated(maps).result("pooled")
    assert values(result) == pytest.approx(reference(maps), abs=1e-12)
    assert result.sampling == SamplingError(0, 0, 0)
    assert result.prevalence == concatenated(maps)[0].mean()


def test_percentages_of_steep_sigmoids_keep_their_average_precision():
    # A histogram of the values, however fine near 0 and 1, said 25.94 of such scores instead of 34.88.
    rng = np.random.default_rng(0)
    y = rng.random((10, 100_000)) < 0.02
    z = rng.normal(-1, 6, y.shape) + 12 * y
    maps = [
        (s.astype(np.float32)[None], np.where(t, 254, 0).astype(np.uint8)[None])
        for s, t in zip(100 / (1 + np.exp(-z)), y, strict=True)
    ]
    assert values(evaluated(maps).result("pooled")) == pytest.approx(reference(maps), abs=1e-12)


@pytest.mark.parametrize("kind", CROWDED)
def test_a_sample_stays_within_its_bound_and_is_unbiased(kind, monkeypatch):
    maps = crowded_maps(kind)
    y, _ = concatenated(maps)
    exact, errors = reference(maps), []
    budget(monkeypatch, y.sum() // 3, (~y).sum() // 8)
    for trial in range(60):
        evaluator = PixelEvaluator(["pooled"])
        for index, each in enumerate(maps):
            evaluator.update(View(f"{trial}/{index}", *each))
        result = evaluator.result("pooled")
        errors.append(values(result) - exact)
        bound = result.sampling
        assert (np.abs(errors[-1]) <= np.array([bound.auroc, bound.aupr, bound.fpr95]) + 1e-12).all()
        assert result.prevalence == y.mean()
    mean, spread = np.mean(errors, axis=0), np.std(errors, axis=0, ddof=1) / np.sqrt(len(errors))
    assert (np.abs(mean) <= 4 * spread + 1e-12).all()
    assert np.abs(errors).max() < 0.02


READ = {rule: PixelProtocol(f"pooled-{rule}", 1, "", "pooled", rule) for rule in FPR_RULES}


@settings(max_examples=60)
@given(
    st.sampled_from([*CROWDED, "rounded"]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.sampled_from([0.005, 0.1, 0.6]),
    st.sampled_from([0.02, 0.3, 2]),
    st.sampled_from([0.003, 0.05, 0.5]),
)
def test_no_error_is_larger_than_its_bound_however_small_the_budget(kind, seed, images, share, anomalous, normal):
    """Few blocks, blocks larger than the images, ties between what was sampled, recalls of exactly .95."""
    rng, maps = np.random.default_rng(seed), []
    shape = tuple(rng.integers(3, 40, 2))
    for _ in range(images):
        labels = np.where(rng.random(shape) < share * rng.random(), 254, 0).astype(np.uint8)
        z = rng.normal(rng.normal(0, 0.5), 1, shape) + rng.choice([0, 1, 4]) * (labels == 254)
        maps.append((CROWDED.get(kind, lambda z: np.round(40 * z))(z).astype(np.float32), labels))
    maps[0][1][0, :2] = 254, 0
    y, s = concatenated(maps)
    limits = [max(1, int(part * pixels)) for part, pixels in ((anomalous, y.sum()), (normal, (~y).sum()))]
    evaluator = PixelEvaluator([*READ.values()], budget=limits)
    for index, each in enumerate(maps):
        evaluator.update(View(f"{index}", *each))
    exact, points = reference(maps), roc_points(y, s)
    for rule, protocol in READ.items():
        result = evaluator.result(protocol)
        errors = np.abs(values(result) - [*exact[:2], RULES[rule](points)])
        bound = result.sampling
        assert (errors <= np.array([bound.auroc, bound.aupr, bound.fpr95]) + 1e-12).all(), (rule, errors, bound)


def test_a_sample_passes_a_recall_that_it_reaches_exactly():
    """19 of 20 are found at the upper of two samples, each of which stands for one and its neighbours."""
    keys, counts = np.array([5, 7], np.uint32), np.array([3, 18])
    ranking = Ranking(keys, counts - [0, 1], np.array([0, 100]), np.array([50, 150]), 200, np.array([1.0, 0.0]))
    assert ranking.anomalous == 20 and ranking.recall.tolist() == [0.95, 0.85]
    assert ranking.false_positives("first_ge") == 200
    moved = Ranking(keys, np.array([1, 19]), ranking.below, ranking.at_or_below, 200, np.array([0.5, 0.0]))
    assert moved.recall.tolist() == [0.975, 0.95]
    assert moved.false_positives("first_ge") == 100 < moved.false_positives("first_gt") == 200


def test_a_sample_of_many_images_is_closer_than_the_tolerances_scaled_to_their_number(monkeypatch):
    # 60 images of a 50th of the pixels of a large one; at 1500 large ones, the errors are about 30 times smaller.
    maps = crowded_maps("saturated", 60, (120, 160))
    y, _ = concatenated(maps)
    budget(monkeypatch, int(0.55 * y.sum()), (~y).sum() // 20)
    evaluator = evaluated(maps)
    assert not evaluator._pooled.exact
    errors = np.abs(values(evaluator.result("pooled")) - reference(maps))
    assert (errors < (1e-4, 1e-3, 2e-3)).all()


@given(st.integers(0, 40_000), st.integers(0, LEVELS - 2), st.booleans(), st.integers(0, 2**64 - 1))
def test_what_stands_for_a_block_was_among_what_stood_for_its_halves(count, level, uniform, seed):
    seed = np.uint64(seed)
    fine, coarse = (representatives(*blocks(count, at, uniform), count, seed) for at in (level, level + 1))
    assert np.array_equal(fine[thinned(count, level, uniform, seed)], coarse)
    starts, exponents = blocks(count, level, uniform)
    weight = weights(starts, exponents, count)
    assert weight.sum() == count and len(starts) == sizes(count, uniform)[level]
    first = starts.astype(np.int64)
    assert ((first <= fine) & (fine < first + weight)).all()
    if not level:
        assert np.array_equal(fine, np.arange(count))


@pytest.mark.parametrize("count", [1, 5, 6, 7, 8, 13])
def test_every_rank_of_a_block_is_as_likely_as_any_other(count):
    draws = 4000
    found = [representatives(*blocks(count, 4, True), count, seed_of(f"{i}", 0)) for i in range(draws)]
    counts = np.bincount(np.concatenate(found), minlength=count)
    assert np.abs(counts - draws / count).max() <= 5 * np.sqrt(draws / count)


@pytest.mark.parametrize("kind", ["softmax", "heavy"])
def test_exact_pooling_equals_scikit_learn(kind):
    maps = maps_of(kind, images=3)
    y, s = concatenated(maps)
    result = evaluate_scores(*zip(*maps, strict=True), "pooled", exact_pooled=True)
    assert result.auroc == pytest.approx(roc_auc_score(y, s), abs=1e-12)
    assert result.aupr == pytest.approx(average_precision_score(y, s), abs=1e-12)
    assert result.fpr95 == pytest.approx(first_ge(y, s), abs=1e-12)
    assert s[(s >= result.threshold)].size / s.size < 1 and (s[y] >= result.threshold).mean() >= 0.95


def test_ties_stay_ties():
    rng = np.random.default_rng(0)
    maps = [(rng.integers(0, 7, (60, 60)).astype(np.float32), rng.choice([0, 254], (60, 60)).astype(np.uint8))] * 1
    y, s = concatenated(maps)
    result = evaluate_scores(*zip(*maps, strict=True), "pooled")
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


@settings(max_examples=12)
@given(st.data(), st.sampled_from([(10**9, 10**9), (800, 3000), (150, 300)]))
def test_any_shards_merged_in_any_order_equal_one_pass(data, limits):
    maps = [crowded_maps(kind, 1, (50, 60), seed)[0] for seed in (1, 2) for kind in CROWDED]
    maps.append((maps[0][0], np.zeros_like(maps[0][1])))
    with pytest.MonkeyPatch.context() as monkeypatch:
        budget(monkeypatch, *limits)
        whole = evaluated(maps)
        order = data.draw(st.permutations(range(len(maps))))
        count = data.draw(st.integers(1, 5))
        shards = [evaluated(maps, order[i::count]) for i in range(count)]
        while len(shards) > 1:
            other = shards.pop(data.draw(st.integers(0, len(shards) - 1)))
            shards[data.draw(st.integers(0, len(shards) - 1))].merge(other)
        same(whole, shards[0])


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


def test_what_was_asked_in_between_changes_nothing():
    maps = crowded_maps("integer", 3)
    asked = evaluated(maps, [])
    for i in (0, 1):
        asked.update(View(f"{i:04}", *maps[i]))
        asked.result("pooled")
    asked.merge(evaluated(maps, [2]))
    same(evaluated(maps), asked)


def test_merging_refuses_what_does_not_belong_together():
    maps = maps_of("logit", 2, (40, 40))
    with pytest.raises(BenchmarkError, match="both"):
        evaluated(maps).merge(evaluated(maps, [1]))
    with pytest.raises(BenchmarkError, match="same"):
        evaluated(maps).merge(PixelEvaluator(["pooled"]))
    with pytest.raises(BenchmarkError, match="same"):
        evaluated(maps, [0]).merge(evaluated(maps, [1], exact_pooled=True))


def test_a_budget_holds_for_any_floats(monkeypatch):
    budget(monkeypatch, 2000, 9000)
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(10_000) < 900, 254, np.where(np.arange(10_000) < 2000, 255, 0)).astype(np.uint8)
    evaluator = PixelEvaluator(["pooled", "pooled-anomalous"])
    for index in range(30):
        scores = rng.integers(0, 0x7F800000, 10_000).astype(np.uint32).view(np.float32)  # every exponent
        evaluator.update(View(f"{index}", scores[None], labels[None]))
        assert evaluator.pooled_bytes <= 4 * 11_000
    assert evaluator.ranking("pooled").anomalous == 27_000 and evaluator.ranking("pooled").normal == 240_000


@pytest.mark.parametrize("kind", ["smooth", "saturated", "integer"])
def test_curves_are_points_of_the_full_curves_and_leave_little_open(kind, tmp_path):
    maps = crowded_maps(kind, 20)
    y, s = concatenated(maps)
    result, curves = evaluated(maps).result("pooled"), evaluated(maps).curves("pooled")
    assert len(curves.tp) < 2500
    for i in [*range(0, len(curves.tp), 40), len(curves.tp) - 1]:
        called = s >= curves.threshold[i]
        assert (curves.tp[i], curves.fp[i]) == ((called & y).sum(), (called & ~y).sum())
        assert curves.precision[i] == pytest.approx(y[called].mean() if called.any() else 1, abs=1e-12)
    assert result.threshold in curves.threshold
    write_curves(tmp_path / "a.curves.csv.gz", curves)
    again = read_curves(tmp_path / "a.curves.csv.gz")
    assert all(np.array_equal(getattr(curves, n), getattr(again, n)) for n in ("threshold", "tp", "fp", "scores"))
    assert (tmp_path / "a.curves.csv.gz").stat().st_size <= 20_000
    for value, (low, high) in zip(reference(maps), curve_bounds(again).values(), strict=True):
        assert low - 1e-9 <= value <= high + 1e-9 and high - low <= 1e-3
    assert curves.arrays().keys() == {"threshold", "recall", "precision", "fpr"}


def test_of_equally_good_thresholds_the_highest_is_taken():
    """F1 is 2/3 at 3, where one of two anomalies is found, and at 1, where both are, and two normal pixels."""
    evaluator = PixelEvaluator(["pooled"])
    evaluator.update(View("a", np.array([[3, 2.5, 2, 1]]), np.array([[254, 0, 0, 254]], np.uint8)))
    assert evaluator.best_f1_threshold() == 3


def test_best_f1_threshold_is_the_best_of_all():
    maps = maps_of("logit", 2, (40, 50))
    y, s = concatenated(maps)

    def f1(t):
        return 2 * (s[y] >= t).sum() / ((s >= t).sum() + y.sum())

    assert f1(evaluated(maps).best_f1_threshold()) == max(map(f1, np.unique(s)))
