"""What every protocol and every evaluator must do, whatever its family."""

import dataclasses
import io
from functools import cache

import numpy as np
import pytest
from oracles import score_map
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmark.errors import BenchmarkError
from benchmark.metrics import (
    PROTOCOLS,
    Evaluator,
    FirstPass,
    FoldEvaluator,
    Measurement,
    PixelEvaluator,
    Protocol,
    SegmentationEvaluator,
    View,
)
from benchmark.metrics.pixel_protocols import PIXEL_PROTOCOLS, POOLED
from benchmark.metrics.thresholds import NormalEvaluator

CLASSES = ("road", "other", "sky")
NAMES = [name for name, protocol in PROTOCOLS.items() if not protocol.of_network]


def views_of(kind="logit", images=6, change=lambda s: s) -> list[View]:
    """Images of three towns with anomalies of some 1,000 pixels (one has none), ignored pixels and predictions."""
    rng, views = np.random.default_rng(4), []
    for index in range(images):
        scores, labels = score_map(kind, rng, (60, 72))
        labels[20:50, 10:45] = 254
        labels[:4] = 255
        labels[4:20] = rng.integers(0, 3, (16, 72))
        if index == 3:
            labels[labels == 254] = 2
        scores = change(np.round(scores * 4) / 4 + 3 * (labels == 254)).astype(np.float32)
        views.append(View(f"t{index % 3}/{index}", scores, labels, rng.integers(0, 3, labels.shape)))
    return views


def normal_views(change=lambda s: s, images=24) -> list[View]:
    """Small images without an anomaly, some pixels of which are ignored."""
    rng, views = np.random.default_rng(7), []
    for index in range(images):
        labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), (12, 16))
        views.append(
            View(f"v/{index}", change(np.round(rng.normal(-9, 3, (12, 16)) * 4) / 4).astype(np.float32), labels)
        )
    return views


def completed_first(protocols, views, classes=CLASSES, method="msp", change=lambda s: s) -> FirstPass:
    """A first pass with its images, and with normal ones where a protocol takes a threshold from them."""
    first = filled(FirstPass(protocols, classes, method), views)
    if first.validation is not None:
        filled(first.validation, normal_views(change))
    return first


def evaluators(protocol: Protocol, views, classes=CLASSES):
    """Two functions that make an empty evaluator: of the first pass, and of the second or None."""
    first = completed_first([protocol], views, classes)
    return lambda: FirstPass([protocol], classes, "msp"), lambda: first.second_pass().evaluators.get(protocol)


def filled(evaluator, views):
    for view in views:
        evaluator.update(view)
    return evaluator


def measure(protocol: Protocol, views, classes=CLASSES, change=lambda s: s) -> Measurement:
    first = completed_first([protocol], views, classes, change=change)
    second = filled(first.second_pass(), views)
    return (first.measurement() | second.measurement())[protocol.name]


def through_a_file(evaluator: Evaluator) -> Evaluator:
    file = io.BytesIO()
    np.savez(file, **evaluator.state())
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return type(evaluator).from_state(archive)


@pytest.mark.parametrize("name", NAMES)
def test_a_measurement_has_every_headline_and_says_what_it_is(name):
    protocol, found = PROTOCOLS[name], measure(PROTOCOLS[name], views_of())
    assert (found.version, found.aggregation) == (protocol.version, protocol.family)
    assert found.images in (5, 6) and not found.missing
    assert protocol.headlines and all(0 <= found.value(metric) <= 1 for metric in protocol.headlines)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_images_does_not_matter(name):
    views = views_of()
    whole = measure(PROTOCOLS[name], views)
    for order in ([5, 3, 1, 0, 2, 4], [2, 1, 0, 5, 4, 3]):
        assert measure(PROTOCOLS[name], [views[i] for i in order]) == whole


@pytest.mark.parametrize("name", NAMES)
def test_a_state_goes_on_to_the_same_measurement(name):
    views = views_of()
    for make in evaluators(PROTOCOLS[name], views):
        if (whole := make()) is not None:
            resumed = through_a_file(filled(make(), views[:4]))
            assert filled(resumed, views[4:]).measurement() == filled(whole, views).measurement()
            assert resumed.method == "msp"
            with pytest.raises(BenchmarkError, match="msp: image 't1/1' was given twice"):
                resumed.update(views[1])


@pytest.mark.parametrize("name", NAMES)
def test_halves_merged_in_either_order_are_the_whole(name):
    views = views_of()
    for make in evaluators(PROTOCOLS[name], views):
        if (whole := make()) is not None:
            expected = filled(whole, views).measurement()
            for parts in ((views[:2], views[2:]), (views[2:], views[:2]), (views[::2], views[1::2])):
                total, other = (filled(make(), part) for part in parts)
                total.merge(through_a_file(other))
                assert total.measurement() == expected
            with pytest.raises(BenchmarkError, match="is in both evaluators; every image counts once"):
                total.merge(filled(make(), views[:1]))


@pytest.mark.parametrize("name", NAMES)
def test_thresholds_of_merged_first_passes_are_those_of_the_whole(name):
    views = views_of()
    whole, other = (filled(FirstPass([name], CLASSES), part) for part in (views[:2], views[2:]))
    if whole.validation is not None:
        filled(whole.validation, normal_views()[::2])
        filled(other.validation, normal_views()[1::2])
    whole.merge(through_a_file(other))
    second = filled(whole.second_pass(), views)
    assert (whole.measurement() | second.measurement())[name] == measure(PROTOCOLS[name], views)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("missing", ["images", "anomalies", "normal pixels"])
def test_where_there_is_nothing_to_measure_every_headline_has_a_reason(name, missing):
    views = {
        "images": [],
        "anomalies": [dataclasses.replace(v, labels=np.minimum(v.labels, 2)) for v in views_of()],
        "normal pixels": [dataclasses.replace(v, labels=np.full_like(v.labels, 254)) for v in views_of()],
    }[missing]
    protocol, found = PROTOCOLS[name], measure(PROTOCOLS[name], views)
    first = next(iter(protocol.headlines))
    assert found.value(first) is None and found.missing[first]
    assert all(found.value(metric) is None for metric in protocol.headlines)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("scale", "shift"), [(2.0**10, -(2.0**14)), (2.0**-3, 0.0), (1.0, 2.0**8)])
def test_scores_of_any_range_give_the_same_measurement(name, scale, shift):
    def above(s):
        return s + 64

    def elsewhere(s):
        return (s + 64) * scale + shift

    plain = measure(PROTOCOLS[name], views_of(change=above), change=above)
    moved = measure(PROTOCOLS[name], views_of(change=elsewhere), change=elsewhere)
    thresholds = {key: value for key, value in plain.extra.items() if key.startswith("threshold")}
    assert all(moved.extra[key] == value * scale + shift for key, value in thresholds.items())
    assert dataclasses.replace(moved, extra=moved.extra | thresholds) == plain


def pixels_of(protocol, view):
    """Whether anomalous, and scores, of the pixels that take part."""
    left_out = [CLASSES.index(name) for name in protocol.ignored_classes]
    used = ~np.isin(view.labels, left_out + [255] * (protocol.void == "ignored"))
    return view.labels[used] == 254, view.scores[used]


@pytest.mark.parametrize("protocol", PIXEL_PROTOCOLS, ids=lambda p: p.name)
@pytest.mark.parametrize("kind", ["distance", "energy", "heavy"])
def test_scores_far_outside_zero_and_one_stay_what_scikit_learn_says(protocol, kind):
    views = views_of(kind, change=lambda s: 100 * s - 5000)
    assert max(np.abs(v.scores).max() for v in views) > 4000
    pairs = [pixels_of(protocol, view) for view in views]
    mixed = [(y, s) for y, s in pairs if y.any()]
    if protocol.aggregation == "pooled":
        kept = mixed if protocol.pure_images == "excluded" else pairs
        mixed = [tuple(np.concatenate(parts) for parts in zip(*kept, strict=True))]
    found = measure(protocol, views)
    for metric, reference in (("auroc", roc_auc_score), ("aupr", average_precision_score)):
        expected = np.mean([reference(y, s) for y, s in mixed])
        assert found.value(metric) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [name for name, p in PROTOCOLS.items() if p.passes == 2 and p.predictions])
def test_labels_that_do_not_tell_classes_apart_are_a_reason(name):
    found = measure(PROTOCOLS[name], views_of(), classes=())
    assert found.images == 0 and "does not label the known classes" in " ".join(found.missing.values())


EMPTY = {
    "pixel": lambda method="msp": PixelEvaluator(method=method),
    "fold": lambda method="msp": FoldEvaluator([POOLED], method=method),
    "segmentation": lambda method="msp": SegmentationEvaluator(CLASSES, method=method),
    "normal": lambda method="msp": NormalEvaluator(method=method),
    "first pass": lambda method="msp": FirstPass(NAMES, CLASSES, method),
    **{name: lambda method="msp", name=name: late(name, method) for name, p in PROTOCOLS.items() if p.passes == 2},
}


def late(name, method):
    return completed(name, method).second_pass().evaluators[PROTOCOLS[name]]


@cache
def completed(name, method):
    return completed_first([name], views_of(), method=method)


@pytest.mark.parametrize("kind", EMPTY)
def test_what_does_not_belong_together_is_not_merged(kind):
    for other in (EMPTY[kind]("odin"), *(EMPTY[k]() for k in EMPTY if k != kind)):
        with pytest.raises(BenchmarkError, match="merge only if they have the same"):
            EMPTY[kind]().merge(other)


@pytest.mark.parametrize("kind", EMPTY)
def test_what_cannot_be_added_is_named_and_leaves_the_measurement_as_it_was(kind):
    good, bad = views_of()[:3], views_of()[3]
    evaluator = filled(EMPTY[kind](), good)
    before = evaluator.measurement()
    wrong = {"labels": bad.labels[:-1], "prediction": bad.prediction + 200, "scores": bad.scores * np.nan}
    of_scores = {"labels", "scores"}
    checked = {"segmentation": {"labels", "prediction"}}.get(kind, of_scores)
    if kind in PROTOCOLS and PROTOCOLS[kind].predictions:
        checked = of_scores | {"prediction"}
    for part in sorted(checked):
        with pytest.raises(BenchmarkError, match="msp: image 't0/3'"):
            evaluator.update(dataclasses.replace(bad, **{part: wrong[part]}))
        assert evaluator.measurement() == before


def test_curves_are_of_what_is_measured_and_not_of_what_gives_a_threshold():
    views = views_of()
    first = filled(FirstPass(["smiyc-obstacles", "pooled-anomalous"], CLASSES), views)
    mixed = [view.labels for view in views if (view.labels == 254).any()]
    assert len(mixed) == len(views) - 1
    assert first.curves().fp[-1] == sum(int((labels < 254).sum()) for labels in mixed)


def test_one_first_pass_of_many_protocols_says_what_each_says_alone():
    views = views_of()
    alone = {name: measure(PROTOCOLS[name], views) for name in NAMES}
    for several in (NAMES, NAMES[::-1]):
        first = completed_first(several, views)
        measured = first.measurement() | filled(first.second_pass(), views).measurement()
        assert measured == alone
