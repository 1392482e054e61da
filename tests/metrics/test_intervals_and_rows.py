"""Rows per image in files, and what is computed from them later."""

import errno
import gzip
import itertools

import numpy as np
import pytest
from oracles import score_map

from benchmark.errors import BenchmarkError
from benchmark.metrics import (
    PROTOCOLS,
    PixelEvaluator,
    View,
    bootstrap_interval,
    paired_bootstrap,
    per_image_result,
    read_rows,
    select_rows,
    write_rows,
)
from benchmark.metrics.rows import COLUMNS


def evaluator_of(images=12, gain=0.0, seed=0):
    rng = np.random.default_rng(seed)
    evaluator = PixelEvaluator(["per-image", "streethazards", "pooled"], method="msp")
    for i in range(images):
        s, labels = score_map("logit", rng, (25, 30))
        labels[0] = 255
        if i == 3:
            labels[labels == 254] = 0
        evaluator.update(View(f"t5/{i}", s + gain * (labels == 254), labels))
    return evaluator


def test_rows_survive_a_file_and_give_the_same_result(tmp_path):
    evaluator = evaluator_of()
    write_rows(tmp_path / "msp.csv.gz", evaluator.rows())
    rows = read_rows(tmp_path / "msp.csv.gz")
    before, after = evaluator.result("per-image"), per_image_result(PROTOCOLS["per-image"], rows)
    assert after.auroc == pytest.approx(before.auroc, abs=1e-9)
    assert (after.images, after.skipped, after.prevalence) == (11, 1, before.prevalence)
    assert list(rows["image"]) == list(evaluator.rows()["image"])
    assert len(select_rows(rows, "per-image")) == len(select_rows(rows, "streethazards")) == 12
    assert rows.shape == (24, len(COLUMNS)) and (rows.dtypes == evaluator.rows().dtypes).all()


def test_equal_tables_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_rows(tmp_path / f"{name}.csv.gz", evaluator_of().rows())
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    write_rows(tmp_path / "b.csv.gz", read_rows(tmp_path / "a.csv.gz"))
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"a.csv.gz", "b.csv.gz"}


def test_every_digit_and_every_name_come_back(tmp_path):
    rows = evaluator_of(3).rows()
    rows["image"] = ["NA", "001", 'a,"b"', "nan", "-inf", ""]
    values = [0.1, 1 / 3, np.nan, np.inf, -0.0, 123456789e-30]
    rows["threshold"], rows["aupr"] = values, values[::-1]
    write_rows(tmp_path / "rows.csv.gz", rows)
    back = read_rows(tmp_path / "rows.csv.gz")
    assert list(back["image"]) == list(rows["image"])
    kept = [float(f"{value:.9g}") for value in values]
    np.testing.assert_array_equal(back["threshold"], kept)
    np.testing.assert_array_equal(back["aupr"], kept[::-1])


def test_an_empty_table_and_damaged_files(tmp_path):
    write_rows(tmp_path / "empty.csv.gz", PixelEvaluator().rows())
    assert len(read_rows(tmp_path / "empty.csv.gz")) == 0
    (tmp_path / "damaged.csv.gz").write_bytes(b"nothing")
    with pytest.raises(BenchmarkError, match=r"damaged\.csv\.gz"):
        read_rows(tmp_path / "damaged.csv.gz")
    lines = gzip.decompress((tmp_path / "empty.csv.gz").read_bytes()).decode() + "all,a,1,2,3" + ",0.5" * 9 + "\n"
    for damaged in (lines[:-5], lines.replace("0.5\n", "0.5,0.5\n"), lines.replace("0.5", "half"), lines[1:]):
        (tmp_path / "damaged.csv.gz").write_bytes(gzip.compress(damaged.encode()))
        with pytest.raises(BenchmarkError, match=r"damaged\.csv\.gz .*evaluate the method again"):
            read_rows(tmp_path / "damaged.csv.gz")
    with pytest.raises(BenchmarkError, match="densehybrid"):
        select_rows(evaluator_of().rows(), "densehybrid")


def test_intervals_hold_the_mean_and_follow_the_normal_approximation():
    rows = evaluator_of(40).rows()
    interval = bootstrap_interval(rows, "auroc", "per-image")
    values = select_rows(rows, "per-image")["auroc"].to_numpy()
    values = values[~np.isnan(values)]
    assert interval.images == len(values) == 39
    assert interval.value == pytest.approx(values.mean())
    error = values.std() / np.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.35 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.35 * error)
    assert bootstrap_interval(rows, "auroc", "per-image") == interval
    assert bootstrap_interval(rows, "auroc", "per-image", level=0.5).high < interval.high


def test_one_image_has_no_width_and_none_has_no_interval():
    one = bootstrap_interval(evaluator_of(1).rows(), "aupr")
    assert one.low == one.value == one.high
    assert np.isnan(bootstrap_interval(PixelEvaluator(["streethazards"]).rows(), "aupr").value)


def test_fpr_takes_the_rule_of_the_protocol():
    rows = evaluator_of().rows()
    expected = select_rows(rows, "streethazards")["fpr95_nearest"].mean()
    assert bootstrap_interval(rows, "fpr95", "streethazards").value == pytest.approx(expected)
    with pytest.raises(BenchmarkError, match="pooled"):
        bootstrap_interval(rows, "fpr95", "pooled")
    with pytest.raises(BenchmarkError, match="known are auroc"):
        bootstrap_interval(rows, "miou")


def test_pairs_are_compared_on_the_same_images():
    plain, better = evaluator_of(), evaluator_of(gain=0.15)
    for metric in ("auroc", "aupr", "fpr95"):
        comparison = paired_bootstrap(better.rows(), plain.rows(), metric, "per-image")
        assert comparison.better > 0.99
        assert paired_bootstrap(plain.rows(), better.rows(), metric, "per-image").better < 0.01
    # Far narrower than the methods' own intervals: what an image adds to both cancels.
    own = bootstrap_interval(plain.rows(), "auroc", "per-image")
    paired = paired_bootstrap(better.rows(), plain.rows(), "auroc", "per-image").difference
    assert paired.high - paired.low < (own.high - own.low) / 3
    same = paired_bootstrap(plain.rows(), plain.rows(), "auroc", "per-image")
    assert (same.better, same.difference.value) == (0.5, 0)


def test_pairs_use_the_images_that_both_have():
    many, few = evaluator_of(12), evaluator_of(6)
    assert paired_bootstrap(many.rows(), few.rows(), "auroc", "per-image").difference.images == 5
    with pytest.raises(BenchmarkError, match="in common"):
        paired_bootstrap(many.rows(), PixelEvaluator(["per-image"]).rows(), "auroc", "per-image")


def shifted(rows, by):
    return rows.assign(aupr=rows["aupr"] + by)


def test_repetitions_are_drawn_beside_the_images():
    """Where all images of a repetition differ by the same, only the drawn repetitions move the mean: 27 cases."""
    rows, shifts = evaluator_of().rows(), (0.10, 0.04, -0.03)
    found = paired_bootstrap([shifted(rows, by) for by in shifts], [rows] * 3, "aupr")
    cases = [np.mean(case) for case in itertools.product(shifts, repeat=3)]
    assert found.difference.value == pytest.approx(np.mean(shifts))
    assert found.better == pytest.approx(np.mean(np.array(cases) > 0), abs=0.02)
    assert (found.difference.low, found.difference.high) == pytest.approx((min(cases), max(cases)))


def test_equal_repetitions_say_what_one_says():
    first, second = (evaluator_of(gain=gain, seed=1).rows() for gain in (1.0, 0.4))
    one = paired_bootstrap(first, second, "fpr95")
    assert paired_bootstrap([first] * 3, [second] * 3, "fpr95") == one
    assert paired_bootstrap([first], [second], "fpr95") == one
    with pytest.raises(ValueError, match="shorter"):
        paired_bootstrap([first, first], [second], "fpr95")


def test_a_full_disk_keeps_the_old_rows(tmp_path, monkeypatch):
    rows, path = evaluator_of().rows(), tmp_path / "msp.csv.gz"
    write_rows(path, rows)
    old = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with pytest.raises(BenchmarkError, match=r"msp\.csv\.gz \(the disk is full\); free space"):
        write_rows(path, rows)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == old
