"""A threshold lets the share of normal pixels pass that it says, and masks are what reaches it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmark.cli.main import make_parser
from benchmark.errors import BenchmarkError
from benchmark.maps.files import read_scores
from benchmark.maps.threshold import Rule, operating_point, parse_threshold
from benchmark.run.contract import Toy
from tests.datasets.files import noise, write

FPR = Rule("fpr=5", "fpr", 0.05)
CONFORMAL = Rule("conformal=5", "conformal", 0.05)


def rates(scores, threshold):
    return np.array([(each >= threshold).mean() for each in scores])


@pytest.mark.parametrize("text", ["-7", "-.5", "-1.", "-1e3", "-2.5E-4", "fpr=5"])
def test_a_negative_score_is_a_value_however_it_is_written(text):
    assert make_parser().parse_args(["infer", "photo.jpg", "--threshold", text]).threshold == text
    with pytest.raises(BenchmarkError, match="expected one argument"):
        make_parser().parse_args(["infer", "photo.jpg", "--threshold", "--force"])


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05, 0.3]), st.booleans())
@settings(max_examples=40)
def test_fpr_is_the_smallest_threshold_with_at_most_that_share(seed, share, ties):
    rng = np.random.default_rng(seed)
    scores = [rng.normal(size=n).astype(np.float32) for n in rng.integers(1, 400, size=rng.integers(1, 6))]
    scores = [np.round(s, 1) if ties else s for s in scores]
    value, reached = operating_point(scores, [s.size for s in scores], Rule("fpr", "fpr", share))
    pixels = np.concatenate(scores)
    assert (pixels >= np.float32(value)).mean() == pytest.approx(reached) and reached <= share
    below = np.nextafter(np.float32(value), np.float32(-np.inf))
    assert (pixels >= below).mean() > share


def test_conformal_corrects_for_the_number_of_images():
    """Closed form for images of one pixel: the k-th smallest of n scores, k = ceil((n + 1)(1 - share))."""
    rng = np.random.default_rng(0)
    for count in (19, 20, 99, 100, 137):
        scores = rng.normal(size=count).astype(np.float32)
        value, _ = operating_point([s[None] for s in scores], [1] * count, CONFORMAL)
        k = int(np.ceil((count + 1) * 0.95 - 1e-9))
        assert np.nextafter(np.float32(value), np.float32(-np.inf)) == np.sort(scores)[k - 1]
    with pytest.raises(BenchmarkError, match="at least 19 normal images, these are 18"):
        operating_point([s[None] for s in scores[:18]], [1] * 18, CONFORMAL)


def test_conformal_bounds_the_expected_rate_of_a_further_image():
    """Images that differ: the empirical rate exceeds 5 % in the mean over draws, the conformal one does not."""
    rng = np.random.default_rng(1)
    found = {"fpr": [], "conformal": []}
    for _ in range(300):
        images = [rng.normal(rng.normal(0, 2), size=200).astype(np.float32) for _ in range(25)]
        for rule in (FPR, CONFORMAL):
            value, _ = operating_point(images[:-1], [200] * 24, rule)
            found[rule.kind].append(rates(images[-1:], np.float32(value))[0])
    assert np.mean(found["conformal"]) <= 0.05 < np.mean(found["fpr"])


def test_large_images_count_more_by_fpr_and_alike_by_conformal():
    large, small = np.zeros(1000, np.float32), np.ones(30, np.float32)
    images = [large] + [small[:1]] * 30
    sizes = [100_000] + [1] * 30
    assert operating_point(images, sizes, FPR)[0] <= 1 < operating_point(images, sizes, CONFORMAL)[0]


def test_infinite_scores_leave_no_threshold():
    with pytest.raises(BenchmarkError, match="infinite score"):
        operating_point([np.full(10, np.inf, np.float32)], [10], FPR)
    with pytest.raises(BenchmarkError, match="no normal pixel"):
        operating_point([], [], FPR)


@pytest.mark.parametrize("text", ["", "fpr", "fpr=0", "fpr=100", "fpr=x", "tpr=5", "nan", "inf", "conformal=-1", "5 %"])
def test_what_is_no_threshold_is_refused(text):
    with pytest.raises(BenchmarkError, match=r"write a score, or fpr=5 or conformal=5"):
        parse_threshold(text)


@pytest.fixture
def photos(bench):
    for sample in Toy("test", bench.data):
        write(bench.folder / "photos" / f"{sample.id[4:]}.png", sample.image.permute(1, 2, 0).numpy())
    return bench.folder / "photos"


def about(folder, label="msp"):
    return json.loads((folder / f"{label}.json").read_text())


def masks(folder, label="msp"):
    return {path.stem: np.asarray(Image.open(path)) for path in sorted((folder / "masks" / label).glob("*.png"))}


def test_a_number_makes_masks_and_is_recorded(bench, photos):
    assert bench("train", "--methods", "msp") == 0
    folder = bench.folder / "m"
    line = [photos, "--methods", "msp", "--to", folder]
    assert bench("infer", *line) == 0 and "threshold" not in about(folder)
    for value in ("0.5", "-0.25", "0.6"):
        assert bench("infer", *line, f"--threshold={value}", "--pictures") == 0
        found = masks(folder)
        assert len(found) == 4 and about(folder)["threshold"]["value"] == float(value)
        for name, mask in found.items():
            assert mask.dtype == np.uint8 and mask.ndim == 2
            expected = read_scores(folder / "msp" / f"{name}.npy") >= np.float32(value)
            np.testing.assert_array_equal(mask, np.where(expected, 255, 0))
    (photos / "3.png").unlink()
    assert bench("infer", *line, "--threshold", "0.5") == 0 and set(masks(folder)) == {"0", "1", "2"}
    assert bench("infer", *line) == 0 and about(folder)["threshold"]["value"] == 0.5  # the masks are still there


@pytest.mark.parametrize("form", ["npy", "png"])
def test_fpr_is_found_on_the_validation_images(bench, photos, form):
    assert bench("train", "--methods", "msp,energy") == 0
    folder = bench.folder / "m"
    line = [photos, "--methods", "msp,energy", "--to", folder, "--format", form, "--threshold", "fpr=5"]
    assert bench("infer", *line) == 0, bench.err
    said = bench.out
    for sample in Toy("val", bench.data):
        write(bench.folder / "val" / f"{sample.id[4:]}.png", sample.image.permute(1, 2, 0).numpy())
    assert bench("infer", bench.folder / "val", "--methods", "msp,energy", "--to", bench.folder / "v") == 0
    for label in ("msp", "energy"):
        stated = about(folder, label)["threshold"]
        assert (stated["normal"], stated["images"], stated["pixels"]) == ("town (val)", 4, 4 * 48 * 64)
        scores = np.stack([read_scores(bench.folder / "v" / label / f"{n}.npy") for n in range(4)])
        if form == "png":
            scores = scores.astype(np.float16).astype(np.float32)
        assert (scores >= np.float32(stated["value"])).mean() == pytest.approx(stated["share"]) and stated[
            "share"
        ] <= 0.05
        below = np.nextafter(np.float32(stated["value"]), np.float32(-np.inf))
        assert (scores >= below).mean() > 0.05
        assert f"{label}: threshold {stated['value']:.6g}, fpr=5 of 4 images of town (val)" in said


def test_a_threshold_is_found_once_and_anew_for_other_images(bench, photos, forwards):
    assert bench("train", "--methods", "msp") == 0
    normal = bench.folder / "normal"
    for n in range(3):
        write(normal / f"{n}.jpg", noise(n, size=(48, 64)))
    folder = bench.folder / "m"
    line = [photos, "--methods", "msp", "--to", folder, "--threshold", "fpr=10", "--threshold-on", normal]
    assert bench("infer", *line) == 0
    first = about(folder)["threshold"]
    assert first["normal"] == str(normal) and first["images"] == 3 and first["share"] <= 0.1
    forwards.clear()
    assert bench("infer", *line) == 0 and not forwards and about(folder)["threshold"] == first
    write(normal / "3.jpg", np.zeros((48, 64, 3), np.uint8))
    assert bench("infer", *line) == 0 and len(forwards) == 4 and about(folder)["threshold"]["images"] == 4


def test_what_a_method_is_fitted_to_sets_no_threshold(bench, photos):
    normal = bench.folder / "normal"
    for n in range(3):
        write(normal / f"{n}.png", noise(n, size=(48, 64)))
    line = ["--methods", "knn:k=1", "--normal", normal]
    assert bench("train", *line) == 0, bench.err
    assert bench("infer", photos, *line, "--threshold", "fpr=5") == 2
    assert "knn:k=1:normal=" in bench.err and "name other normal images by --threshold-on" in bench.err
    assert bench("infer", photos, *line, "--threshold", "fpr=5", "--threshold-on", normal) == 2
    assert bench("infer", photos, *line, "--threshold", "fpr=5", "--threshold-on", "town") == 0, bench.err
    assert bench("infer", photos, "--methods", "msp", "--normal", normal, "--threshold", "fpr=5") == 0, bench.err


def test_mistakes_are_found_before_anything_is_scored(bench, photos, forwards):
    assert bench("train", "--methods", "msp") == 0
    forwards.clear()
    assert bench("infer", photos, "--methods", "msp,energy", "--threshold", "0.5") == 2
    assert "is a score of one method" in bench.err and bench.err.count("\n") == 1
    for more, words in (
        (["--threshold", "fpr"], "write a score"),
        (["--threshold", "0.5", "--threshold-on", "town"], "leave it out for a number"),
        (["--threshold-on", "town"], "give that, too"),
        (["--threshold", "fpr=5", "--threshold-on", "nowhere"], "neither a folder nor a dataset"),
        (["--threshold", "fpr=5", "--threshold-on", "road-anomaly"], "test images only"),
        (["--threshold", "conformal=5"], "at least 19 normal images, these are 4"),
    ):
        assert bench("infer", photos, "--methods", "msp", *more) == 2
        assert words in bench.err and bench.err.startswith("error: ") and bench.err.count("\n") == 1
    assert not forwards
