"""Metrics by the size of the anomaly: against scikit-learn on the pixels of each class, and worked out by hand."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmark.metrics import PROTOCOLS, FirstPass, View
from benchmark.metrics.sizes import SizeEvaluator, SizeProtocol

TWO = SizeProtocol("two", 1, "", (10,))


def scene(rng, shape=(80, 90)):
    """Squares of 3, 8 and 30 pixels a side that do not touch, some void, scores that overlap."""
    labels = np.zeros(shape, np.uint8)
    labels[2:5, 3:6] = labels[2:5, 20:23] = labels[40:70, 40:70] = labels[10:18, 60:68] = 254
    labels[75:] = 255
    scores = (np.round(rng.normal(size=shape) * 8) / 8 + 1.5 * (labels == 254)).astype(np.float32)
    return scores, labels


def measure(protocol, views, threshold=None):
    first = FirstPass([protocol])
    for view in views:
        first.update(view)
    second = first.second_pass()
    for view in views:
        second.update(view)
    return second.measurement()[protocol.name].extra


@pytest.mark.parametrize("name", ["sizes", "sizes-relative"])
def test_the_ranking_of_a_class_is_that_of_its_pixels_among_all_normal_ones(name):
    rng, protocol = np.random.default_rng(0), PROTOCOLS[name]
    pairs = [scene(rng, shape) for shape in ((80, 90), (80, 90), (80, 120))]
    found = measure(protocol, [View(str(i), *pair) for i, pair in enumerate(pairs)])
    positive = {kind: [] for kind in protocol.classes}
    counts = dict.fromkeys(protocol.classes, 0)
    for scores, labels in pairs:
        components, number = ndimage.label(labels == 254, structure=np.ones((3, 3)))
        for index in range(1, number + 1):
            size = (components == index).sum() / (labels.size if protocol.relative else 1)
            kind = protocol.classes[sum(size >= bound for bound in protocol.bounds)]
            positive[kind].append(scores[components == index])
            counts[kind] += 1
    normal = np.concatenate([scores[labels < 254] for scores, labels in pairs])
    occupied = [kind for kind in protocol.classes if counts[kind]]
    assert len(occupied) >= 2
    for kind in protocol.classes:
        assert found[f"components_{kind}"] == counts[kind]
        if kind not in occupied:
            assert f"aupr_{kind}" not in found
            continue
        mine = np.concatenate(positive[kind])
        y, s = np.repeat([1, 0], [len(mine), len(normal)]), np.concatenate((mine, normal))
        assert found[f"aupr_{kind}"] == pytest.approx(average_precision_score(y, s), abs=1e-12)
        assert found[f"auroc_{kind}"] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert found[f"constant_aupr_{kind}"] == len(mine) / len(y)
        threshold = np.sort(mine)[::-1][int(np.ceil(0.95 * len(mine) - 1e-9)) - 1]
        assert found[f"fpr95_{kind}"] == pytest.approx(np.mean(normal >= threshold))
    assert found["mean_aupr"] == pytest.approx(np.mean([found[f"aupr_{kind}"] for kind in occupied]))


def by_hand(mask, protocol=TWO):
    """Labels with an anomaly of 4 pixels and one of 20, and a score of 1 in a mask."""
    labels = np.zeros((12, 20), np.uint8)
    labels[1:3, 1:3] = labels[5:9, 5:10] = 254
    evaluator = SizeEvaluator(protocol, 0.5)
    evaluator.update(View("a", mask.astype(np.float32), labels))
    return evaluator.measurement()[protocol.name].extra, labels


def test_components_of_other_sizes_are_void():
    mask = np.zeros((12, 20), bool)
    mask[5:9, 5:10] = True  # exactly the large one
    found, _ = by_hand(mask)
    assert (found["siou_10+"], found["ppv_10+"], found["f1_10+"]) == (1, 1, 1)
    assert found["siou_0-10"] == 0, (
        "the small one is missed, and the large prediction is no false alarm among small ones"
    )
    assert found["ppv_0-10"] is None and found["f1_0-10"] == 0
    assert found["mean_f1"] == 0.5


def test_a_component_belongs_to_the_class_whose_lower_bound_it_reaches():
    found, _ = by_hand(np.zeros((12, 20), bool), SizeProtocol("exact", 1, "", (4, 20)))
    assert [found[f"components_{kind}"] for kind in ("0-4", "4-20", "20+")] == [0, 1, 1]


def test_predicted_components_count_from_half_the_lower_to_twice_the_upper_bound():
    found = {}
    for pixels in (4, 5, 20, 21):
        mask = np.zeros((12, 20), bool)
        mask[1:3, 1:3] = mask[5:9, 5:10] = True
        mask[11, :pixels] = True
        if pixels > 20:
            mask[10, 19] = True  # of one component with the row below
        values, _ = by_hand(mask)
        found[pixels] = values["ppv_0-10"], values["ppv_10+"]
    assert found == {4: (0.5, 1), 5: (0.5, 0.5), 20: (0.5, 0.5), 21: (1, 0.5)}


def test_names_of_the_classes_say_their_bounds():
    assert PROTOCOLS["sizes"].classes == ("0-49", "49-256", "256-2304", "2304-12544", "12544+")
    assert PROTOCOLS["sizes-relative"].classes == ("0-0.01%", "0.01%-0.1%", "0.1%-1%", "1%+")
    assert PROTOCOLS["sizes-relative"].limits(100_000)[1] == (10, 100)


def test_a_sample_of_the_pixels_has_bounds_that_hold(monkeypatch):
    import benchmark.metrics.sizes as sizes

    rng = np.random.default_rng(2)
    views = [View(str(i), *scene(rng)) for i in range(3)]
    views = [View(v.image, v.scores + rng.normal(0, 1e-3, v.scores.shape).astype(np.float32), v.labels) for v in views]
    exact = measure(TWO, views)
    monkeypatch.setattr(sizes, "BUDGET", (2000, 4000))
    sampled = measure(TWO, views)
    assert sampled != exact
    for kind in TWO.classes:
        for metric in ("auroc", "aupr", "fpr95"):
            bound = sampled[f"sampling_{metric}_{kind}"]
            assert abs(sampled[f"{metric}_{kind}"] - exact[f"{metric}_{kind}"]) <= bound < 0.5
