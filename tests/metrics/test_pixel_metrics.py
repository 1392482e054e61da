"""Exact per-image metrics against scikit-learn, plain implementations and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracles import RULES, labels_of, nearest, ranks, roc_points, score_map
from sklearn import config_context
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmark.errors import BenchmarkError
from benchmark.metrics import FPR_RULES, PixelEvaluator, PixelProtocol, View, evaluate_scores, select_rows


def rows_of(cases):
    """The row of every case (scores, is anomaly), each an image of one line."""
    evaluator = PixelEvaluator(["per-image"])
    for index, (s, y) in enumerate(cases):
        evaluator.update(View(f"{index:06}", np.asarray(s, np.float32)[None], labels_of(y)))
    return evaluator.rows().to_dict("records")


def row_of(s, y):
    return rows_of([(s, y)])[0]


def check_areas(row, s, y):
    order = ranks(np.asarray(s, np.float32))
    assert row["auroc"] == pytest.approx(roc_auc_score(y, order), abs=1e-12)
    assert row["aupr"] == pytest.approx(average_precision_score(y, order), abs=1e-12)


def check_rules(row, s, y):
    points = roc_points(y, np.asarray(s, np.float32))
    for rule in FPR_RULES:
        assert row[f"fpr95_{rule}"] == pytest.approx(RULES[rule](points), abs=1e-12), rule
    assert row["threshold"] == nearest(points)[2]


def random_case(rng):
    n = int(rng.integers(2, 120))
    y = rng.random(n) < rng.choice([0.02, 0.1, 0.5, 0.95])
    if rng.random() < 0.2:
        y[:] = rng.random() < 0.5
        y[rng.integers(n)] ^= True  # one positive, or one negative
    y[0], y[-1] = True, False
    s = rng.normal(size=n) + y * rng.choice([0, 1, 4, -2])
    kind = rng.integers(8)
    if kind == 0:
        s = np.round(s)  # ties
    elif kind == 1:
        s = np.full(n, s[0])
    elif kind == 2:
        s = np.where(rng.random(n) < 0.2, rng.choice([np.inf, -np.inf], n), s)
    elif kind == 3:
        s = s * 1e-44  # denormal float32
    elif kind == 4:
        s = s * 1e6
    elif kind == 5:
        s = np.repeat(np.round(s * 20) / 20, 2)[:n]
    elif kind == 6:
        s = np.where(rng.random(n) < 0.5, 0.0, np.where(rng.random(n) < 0.5, -0.0, s))
    return s.astype(np.float32), y


def test_thousands_of_cases_equal_scikit_learn():
    rng = np.random.default_rng(0)
    cases = [random_case(rng) for _ in range(2000)]
    with config_context(assume_finite=True, skip_parameter_validation=True):  # twice as fast
        for row, case in zip(rows_of(cases), cases, strict=True):
            check_areas(row, *case)


def test_the_four_rules_equal_plain_implementations():
    rng = np.random.default_rng(1)
    cases = [random_case(rng) for _ in range(1000)]
    for row, case in zip(rows_of(cases), cases, strict=True):
        check_rules(row, *case)


@settings(max_examples=100)
@given(
    arrays(np.float32, st.integers(2, 60), elements=st.floats(width=32, allow_nan=False)),
    st.randoms(use_true_random=False),
)
def test_any_floats(s, random):
    y = np.array([random.random() < 0.4 for _ in s])
    y[0], y[-1] = True, False
    row = row_of(s, y)
    check_areas(row, s, y)
    check_rules(row, s, y)


@pytest.mark.parametrize("kind", ["softmax", "distance", "heavy", "float16"])
def test_score_maps_equal_scikit_learn(kind):
    s, labels = score_map(kind, np.random.default_rng(3), (60, 80))
    result = evaluate_scores([s], [labels], "per-image")
    assert result.auroc == pytest.approx(roc_auc_score(labels.ravel() == 254, s.ravel()), abs=1e-12)
    assert result.aupr == pytest.approx(average_precision_score(labels.ravel() == 254, s.ravel()), abs=1e-12)


@pytest.mark.parametrize(("anomalous", "recall"), [(20, 0.95), (10, 0.9), (5, 1.0), (1, 1.0)])
def test_the_nearest_rule_has_the_references_float_quirks(anomalous, recall):
    # Anomalies and normal pixels alternate downwards, so that the false positives tell the recall that was picked.
    s = -np.arange(2 * anomalous, dtype=np.float32)
    y = np.arange(2 * anomalous) % 2 == 0
    picked = round(recall * anomalous)
    # Of all thresholds with this recall the lowest; at full recall the one that reaches it.
    expected = picked if picked < anomalous else picked - 1
    assert row_of(s, y)["fpr95_nearest"] == expected / anomalous
    assert nearest(roc_points(y, s))[:2] == (recall, expected / anomalous)


def test_constant_perfect_and_inverted_scores():
    y = np.arange(200) < 30
    constant = row_of(np.full(200, 3.5), y)
    assert (constant["auroc"], constant["aupr"]) == (0.5, pytest.approx(0.15, abs=1e-15))
    assert all(constant[f"fpr95_{rule}"] == 1 for rule in FPR_RULES if rule != "interpolated")
    assert constant["fpr95_interpolated"] == pytest.approx(0.95)
    perfect, inverted = row_of(y, y), row_of(~y, y)
    assert (perfect["auroc"], perfect["aupr"]) == (1, 1)
    assert all(perfect[f"fpr95_{rule}"] == 0 for rule in FPR_RULES)
    assert inverted["auroc"] == 0
    assert all(inverted[f"fpr95_{rule}"] == 1 for rule in FPR_RULES)


def test_monotone_maps_change_nothing_per_image():
    s, labels = score_map("logit", np.random.default_rng(0), (40, 50))
    s = np.round(s, 1)
    plain = evaluate_scores([s], [labels])
    for mapped in (s * 8 - 3, np.exp(s.astype(np.float64)), ranks(s).reshape(s.shape)):
        assert evaluate_scores([mapped], [labels]) == plain


def test_shifts_per_image_change_pooled_values_and_only_those():
    rng = np.random.default_rng(0)
    maps = [score_map("logit", rng, (40, 50)) for _ in range(4)]
    labels = [m[1] for m in maps]
    shifted = [np.float32(16 * i) + np.round(m[0] * 256) / 256 for i, m in enumerate(maps)]
    plain = [np.round(m[0] * 256) / 256 for m in maps]
    assert evaluate_scores(plain, labels) == evaluate_scores(shifted, labels)
    before, after = (evaluate_scores(s, labels, "pooled") for s in (plain, shifted))
    assert abs(before.auroc - after.auroc) > 0.01


def test_images_with_one_kind_of_pixels_are_skipped_and_counted():
    rng = np.random.default_rng(0)
    s, labels = score_map("logit", rng, (20, 20))
    blank = np.zeros_like(labels)
    alone = evaluate_scores([s], [labels], "per-image")
    several = evaluate_scores([s, s, s], [labels, blank, blank + np.uint8(254)], "per-image")
    assert (several.images, several.skipped) == (1, 2)
    assert (several.auroc, several.aupr, several.prevalence) == (alone.auroc, alone.aupr, alone.prevalence)
    assert np.isnan(evaluate_scores([s], [blank], "per-image").auroc)


@pytest.mark.parametrize(("protocol", "expected"), [("per-image", (0.5 + 0.05) / 2), ("pooled", 70 / 500)])
def test_the_aupr_of_a_constant_is_aggregated_as_the_protocol_says(protocol, expected):
    small, large = (np.where(np.arange(side**2) < count, 254, 0) for side, count in ((10, 50), (20, 20)))
    labels = [each.astype(np.uint8).reshape(-1, 10) for each in (small, large)]
    found = evaluate_scores([np.ones(each.shape) for each in labels], labels, protocol)
    assert found.prevalence == pytest.approx(expected) == found.aupr


def test_pure_images_are_pooled_unless_the_protocol_excludes_them():
    rng = np.random.default_rng(0)
    s, labels = score_map("logit", rng, (20, 20))
    t = rng.normal(size=s.shape).astype(np.float32)
    included = evaluate_scores([s, t], [labels, np.zeros_like(labels)], "pooled")
    excluded = evaluate_scores([s, t], [labels, np.zeros_like(labels)], "pooled-anomalous")
    assert (included.images, excluded.images, excluded.skipped) == (2, 1, 1)
    y, both = labels.ravel() == 254, np.concatenate([s.ravel(), t.ravel()])
    assert included.auroc == pytest.approx(roc_auc_score(np.concatenate([y, np.zeros(400, bool)]), both), abs=1e-12)
    assert excluded.auroc == pytest.approx(roc_auc_score(y, s.ravel()), abs=1e-12)


def test_protocols_differ_in_void_and_in_ignored_classes():
    rng = np.random.default_rng(0)
    s = rng.normal(size=(30, 30)).astype(np.float32)
    labels = rng.choice(np.array([0, 1, 2, 254, 255], np.uint8), size=s.shape)
    protocols = ["streethazards", "per-image", "densehybrid", "pooled"]
    evaluator = PixelEvaluator(protocols, classes=("road", "other", "sky"), exact_pooled=True)
    evaluator.update(View("a", s, labels))
    for name, left_out in zip(protocols, [(), (255,), (1, 255), (255,)], strict=True):
        used = ~np.isin(labels, left_out)
        expected = average_precision_score(labels[used] == 254, s[used])
        assert evaluator.result(name).aupr == pytest.approx(expected, abs=1e-12), name
    rows = evaluator.rows()
    assert select_rows(rows, "streethazards")["ignored"][0] == 0
    assert select_rows(rows, "densehybrid")["ignored"][0] == np.isin(labels, (1, 255)).sum()


def test_the_threshold_is_the_lowest_score_of_the_pixels_that_count():
    """The nearest rule finds 19 of the anomalies at 1, 2, ..., 20; so does every threshold above 1."""
    evaluator = PixelEvaluator(["streethazards", "per-image"])
    labels = np.array([[254] * 20 + [255, 0]], np.uint8)
    evaluator.update(View("a", np.array([[*range(1, 21), 1.5, 1.75]], np.float32), labels))
    found = [select_rows(evaluator.rows(), name)["threshold"][0] for name in ("streethazards", "per-image")]
    assert found == [1.5, 1.75]


def test_an_ignored_class_that_the_dataset_lacks_changes_nothing():
    s, labels = score_map("logit", np.random.default_rng(0), (20, 20))
    evaluator = PixelEvaluator(["per-image", "densehybrid"], classes=("road", "sky"))
    evaluator.update(View("a", s, labels))
    assert len(evaluator.rows()) == 1
    first, second = (select_rows(evaluator.rows(), name)["aupr"] for name in ("densehybrid", "per-image"))
    assert list(first) == list(second)


@pytest.mark.parametrize("void", ["negative", "ignored"])
def test_failure_split_divides_false_positives_by_correctness(void):
    """Void pixels that count as normal are wrong."""
    protocol = PixelProtocol("split", 1, "", "per-image", "nearest", void, split=True)
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 1, 254, 255], np.uint8), size=(20, 30))
    prediction = rng.integers(0, 2, labels.shape)
    s = rng.normal(size=labels.shape).astype(np.float32)
    evaluator = PixelEvaluator([protocol, "streethazards"])
    evaluator.update(View("a", s, labels, prediction))
    used = labels != 255 if void == "ignored" else np.ones_like(labels, bool)
    threshold = nearest(roc_points(labels[used] == 254, s[used]))[2]
    correct = labels == prediction
    wrong = used & (labels != 254) & ~correct
    result = evaluator.result(protocol)
    assert result.cfpr == pytest.approx((s > threshold)[correct].mean(), abs=1e-15)
    assert result.efpr == pytest.approx((s > threshold)[wrong].mean(), abs=1e-15)
    assert evaluator.result("streethazards").efpr is None


def test_failure_split_leaves_out_images_where_everything_is_correct():
    s, labels = score_map("logit", np.random.default_rng(0), (20, 20))
    evaluator = PixelEvaluator(["failure-split"])
    evaluator.update(View("right", s, labels, np.zeros_like(labels)))
    evaluator.update(View("wrong", s, labels, np.ones_like(labels)))
    assert np.isnan(evaluator.rows()["efpr"]).tolist() == [True, False]
    result = evaluator.result("failure-split")
    assert result.efpr == result.cfpr == evaluator.rows()["efpr"][1]


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        (np.array([[1, np.nan]], np.float32), np.array([[254, 0]], np.uint8), "NaN"),
        (np.array([[1, -np.nan]], np.float32), np.array([[254, 255]], np.uint8), "NaN"),
        (np.ones((2, 3), np.float32), np.ones((3, 2), np.uint8), r"\(2, 3\)"),
        (np.ones((1, 2, 3), np.float32), np.ones((1, 2, 3), np.uint8), r"\(H, W\)"),
        (np.ones((2, 3), np.float32), np.ones((2, 3), np.int64), "uint8"),
        (np.full((1, 2), 1e300), np.ones((1, 2), np.uint8), "float32"),
    ],
)
def test_errors_name_method_and_image(scores, labels, words):
    evaluator = PixelEvaluator(method="msp")
    with pytest.raises(BenchmarkError, match=words) as error:
        evaluator.update(View("t5/12", scores, labels))
    assert "msp" in str(error.value) and "t5/12" in str(error.value)


def test_an_image_counts_once_and_unknown_protocols_suggest():
    s, labels = score_map("logit", np.random.default_rng(0), (20, 20))
    evaluator = PixelEvaluator(method="msp")
    evaluator.update(View("a", s, labels))
    with pytest.raises(BenchmarkError, match="twice"):
        evaluator.update(View("a", s, labels))
    with pytest.raises(BenchmarkError, match="did you mean 'pooled'"):
        evaluator.result("poled")
    with pytest.raises(BenchmarkError, match="not evaluated"):
        evaluator.result("densehybrid")
    with pytest.raises(BenchmarkError, match="more label maps"):
        evaluate_scores([s], [labels, labels])
    with pytest.raises(BenchmarkError, match="more score maps"):
        evaluate_scores([s, s], [labels])


def test_the_package_imports_nothing_heavy():
    import subprocess
    import sys

    heavy = "{'torch', 'cv2', 'pandas', 'scipy', 'sklearn', 'matplotlib'}"
    code = f"import sys, benchmark.metrics; found = {heavy} & set(sys.modules); sys.exit(', '.join(found) or None)"
    subprocess.run([sys.executable, "-c", code], check=True)
