"""``compare`` says which of two records is better, and curves lie beside records."""

import csv
import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import auc
from toy_records import measurement
from toy_records import write_with_rows as write

from benchmark.cli import main as cli
from benchmark.errors import BenchmarkError
from benchmark.metrics import PixelEvaluator, View, read_curves, read_rows, write_curves

PROJECT = Path(__file__).resolve().parents[2]


def run(capsys, results, *words):
    code = cli.main(["compare", *words, "--results", str(results)])
    out = capsys.readouterr()
    return code, out.out, out.err


def line_of(out, start):
    return next(line for line in out.splitlines() if line.startswith(start))


def test_the_better_method_wins_in_either_order(tmp_path, capsys):
    write(tmp_path, "good", 2.0)
    write(tmp_path, "poor", 0.2, seed=1)
    code, out, _ = run(capsys, tmp_path, "good", "poor")
    assert code == 0 and out.count("good is better on 100 % of resamples") == 3
    assert "+" in line_of(out, "AUPR").split()[3] and line_of(out, "FPR95").split()[3].startswith("-")
    write(tmp_path, "same", 2.0)
    assert run(capsys, tmp_path, "good", "same")[1].count("neither is better") == 3
    mirrored = run(capsys, tmp_path, "poor", "good")[1]
    assert mirrored.count("good is better on 100 % of resamples") == 3
    aupr, back = (float(line_of(text, "AUPR").split()[3]) for text in (out, mirrored))
    assert aupr == -back > 0


def test_a_method_beside_itself_is_a_draw(tmp_path, capsys):
    write(tmp_path, "one", 0.5)
    write(tmp_path, "two", 0.5)
    out = run(capsys, tmp_path, "one", "two")[1]
    assert out.count("neither is better") == 3
    assert line_of(out, "AUROC").split()[3:6] == ["+0.00", "[+0.00,", "+0.00]"]


def test_without_names_a_matrix_orders_all_by_aupr(tmp_path, capsys):
    for seed, (name, gain) in enumerate({"poor": 0.1, "good": 3.0, "fair": 1.0}.items()):
        write(tmp_path, name, gain, seed)
    code, out, _ = run(capsys, tmp_path)
    assert code == 0
    table = [line.split() for line in out.splitlines()[-3:]]
    assert [line[1] for line in table] == ["good", "fair", "poor"]
    assert [line[3:] for line in table] == [["100", "100"], ["0", "100"], ["0", "0"]]


def test_several_repetitions_are_compared_one_with_its_like(tmp_path, capsys):
    """Only repetitions 0 and 2 are both methods'."""
    gains = {"a": {0: 1.0, 2: 1.4, 3: 9.0}, "b": {0: 0.9, 1: 9.0, 2: 0.8}}
    for method, each in gains.items():
        for repetition, gain in each.items():
            write(tmp_path, method, gain, seed=10 * repetition + ord(method), repetition=repetition)

    def aupr(method, repetition):
        return read_rows(next(tmp_path.rglob(f"{method}{repetition}.rows.csv.gz")))["aupr"]

    differences = np.array([aupr("a", each) - aupr("b", each) for each in (0, 2)])
    code, out, _ = run(capsys, tmp_path, "a", "b")
    assert code == 0 and out.startswith("Mean over the repetitions 0, 2.\n")
    line = line_of(out, "AUPR")
    a, b = ([100 * aupr(m, each).mean() for each in (0, 2)] for m in "ab")
    for mean, deviation in ((np.mean(each), np.std(each, ddof=1)) for each in (a, b)):
        assert f" {mean:.2f} ± {deviation:.2f} " in line
    assert f" {100 * differences.mean():+.2f} [" in line
    each = ", ".join(f"{100 * each.mean():+.2f}" for each in differences)
    assert line_of(out, "Of each repetition, AUPR: ") == f"Of each repetition, AUPR: {each}"
    assert "Not all" not in out, "the repetitions have different weights, the methods have not"


def test_a_matrix_compares_what_repetitions_allow(tmp_path, capsys):
    for seed, (name, gain, repetition) in enumerate((("a", 3.0, 0), ("a", 2.9, 1), ("b", 1.0, 1), ("c", 0.1, 0))):
        write(tmp_path, name, gain, seed, repetition)
    out = run(capsys, tmp_path)[1]
    header, _, *table = (line.split() for line in out.splitlines()[-5:])
    assert header[-5:] == ["AUPR", "Seeds", "1", "2", "3"]
    assert [line[1] for line in table] == ["a", "b", "c"]
    assert table[0][3:] == ["±", table[0][4], "2", "100", "100"]
    assert [line[3:] for line in table[1:]] == [["1", "0", "–"], ["1", "0", "–"]]
    assert "Not all" not in out
    made = write(tmp_path, "b", 1.0, 7, 1)
    write(tmp_path, "b", 1.0, 7, 1, network=dataclasses.replace(made.network, weights_sha256="9" * 64))
    assert "Not all were measured with the same weights" in run(capsys, tmp_path)[1]


def test_methods_without_a_common_repetition_are_not_compared(tmp_path, capsys):
    write(tmp_path, "a", 1.0, repetition=2)
    write(tmp_path, "b", 1.0, repetition=1)
    code, _, err = run(capsys, tmp_path, "a", "b")
    mend = "run --dataset toyset --methods b --repetition 2'"
    assert code == 2 and "no repetition in common (2 and 1)" in err and mend in err
    _, _, err = run(capsys, tmp_path, "a@net-small", "b@net-small")
    assert mend in err, "a label with its network is no method of run"


def test_what_cannot_be_compared_is_one_sentence(tmp_path, capsys):
    write(tmp_path, "a", 1.0)
    assert "the only method" in run(capsys, tmp_path)[2]
    assert "takes two methods" in run(capsys, tmp_path, "a")[2]
    assert "no such record of 'b' (it has: a)" in run(capsys, tmp_path, "a", "b")[2]
    (tmp_path / "empty").mkdir()
    assert "no record of any method" in run(capsys, tmp_path / "empty")[2]
    made = write(tmp_path, "b", 1.0)
    (made.path(tmp_path).parent / made.rows).unlink()
    assert "has no rows per image" in run(capsys, tmp_path, "a", "b")[2]
    write(tmp_path, "b", 1.0, dataset=dataclasses.replace(made.dataset, fingerprint="0" * 64))
    code, _, err = run(capsys, tmp_path, "a", "b")
    assert code == 2 and "different images" in err
    write(tmp_path, "b", 1.0, metrics={"streethazards": dataclasses.replace(measurement(), version=99)})
    assert "not both measured under" in run(capsys, tmp_path, "a", "b")[2]


def test_a_network_that_is_nowhere_is_named_with_those_that_are(tmp_path, capsys):
    write(tmp_path, "a", 1.0)
    for words in (("--network", "net-smal"), ("--ranks", "--network", "net-smal")):
        code, _, err = run(capsys, tmp_path, *words)
        assert code == 2 and "no record with the network 'net-smal' (it has: net-small)" in err


def test_what_saw_outliers_is_marked(tmp_path, capsys):
    """Such methods are compared with the others here, while tables keep them apart."""
    for name, saw in (("plain", False), ("invented", "synthetic"), ("seen", True)):
        made = write(tmp_path, name, 1.0)
        write(tmp_path, name, 1.0, method=dataclasses.replace(made.method, auxiliary_data=saw))
    for words in (("plain", "seen"), ()):
        out = run(capsys, tmp_path, *words)[1]
        assert "seen *" in out and "plain *" not in out and "* saw outlier images in training" in out
        assert ("invented °" in out and "° saw invented outliers in training" in out) == (not words)


def test_every_network_and_data_set_where_both_were_measured_is_shown(tmp_path, capsys):
    for name in ("a", "b"):
        made = write(tmp_path, name, 1.0)
        write(tmp_path, name, 1.0, network=dataclasses.replace(made.network, label="net-large"))
        write(tmp_path, name, 1.0, dataset=dataclasses.replace(made.dataset, name="yard", title="Yard"))
    write(tmp_path, "a", 1.0, dataset=dataclasses.replace(made.dataset, name="village", title="Village"))

    def places(*words):
        code, out, _ = run(capsys, tmp_path, *words)
        assert code == 0
        return [line.split(", protocol")[0] for line in out.splitlines() if ", protocol" in line]

    everywhere = ["Toy set, net-large", "Toy set, net-small", "Yard, net-small"]
    assert places("a", "b") == everywhere and places() == everywhere
    assert places("a", "b", "--network", "net-large") == everywhere[:1]
    assert places("a", "b", "--dataset", "toyset") == everywhere[:2]
    assert places("a", "b", "--dataset", "yard", "--network", "net-small") == everywhere[2:]
    code, _, err = run(capsys, tmp_path, "a", "b", "--dataset", "village")
    assert code == 2 and "no such record of 'b' (it has: a)" in err


def test_methods_are_named_as_in_the_tables_or_by_label(tmp_path, capsys):
    write(tmp_path, "knn", 1.0, title="kNN")
    write(tmp_path, "knn:k=5:normalise=true", 4.0, title="kNN")
    labels = run(capsys, tmp_path, "knn", "knn:k=5:normalise=true")
    assert labels[0] == 0 and "2 knn:k=5:normalise=true" in labels[1] and "2 is better on 100 %" in labels[1]
    assert run(capsys, tmp_path, "kNN", "kNN (k=5, normalise=true)") == labels
    assert run(capsys, tmp_path, "KNN", "knn (K=5, normalise=TRUE)") == labels
    code, _, err = run(capsys, tmp_path, "kNN", "knn")
    assert code == 2 and "'kNN' and 'knn' are one method" in err
    write(tmp_path, "near", 1.0, title="kNN")
    code, _, err = run(capsys, tmp_path, "kNN", "near")
    assert code == 2 and "'kNN' names several methods" in err and "knn, near" in err


def test_the_name_of_a_plugin_will_do_where_one_of_its_settings_was_measured(tmp_path, capsys):
    write(tmp_path, "dicnet:teacher_target=conv", 1.0, title="DiCNet")
    write(tmp_path, "msp", 4.0)
    code, out, _ = run(capsys, tmp_path, "dicnet", "msp")
    assert code == 0 and run(capsys, tmp_path, "dicnet:teacher_target=conv", "msp")[1] == out
    write(tmp_path, "dicnet:teacher_target=bn", 1.0, title="DiCNet")
    code, _, err = run(capsys, tmp_path, "dicnet", "msp")
    assert code == 2 and "'dicnet' names several methods" in err and "; write one label." in err
    assert "run --methods 'no such'" in run(capsys, tmp_path, "no such", "near")[2]


def test_the_examples_of_the_help_work_on_the_committed_records(capsys):
    code, out, err = run(capsys, PROJECT / "results", "dicnet", "msp")
    assert (code, err) == (0, "")
    assert out.count(" is better on ") % 3 == 0 and "CamVid-OOD, pspnet-small" in out and "MiniHazards" in out
    assert run(capsys, PROJECT / "results", "DiCNet", "MSP")[1] == out
    code, out, _ = run(capsys, PROJECT / "results", "kNN (k=5)", "Max-logit", "--dataset", "camvid-ood")
    assert code == 0 and "knn:k=5" in out and "max_logit" in out


def test_curves_are_saved_and_adopted_with_the_record(bench):
    assert bench("run", "--methods", "msp,energy") == 0
    made = bench.record("msp")
    path = next(bench.runs.rglob("msp.json")).parent / made["curves"]
    first = path.read_bytes()
    recall, fpr = read_curves(path).recall, read_curves(path).fpr
    assert 10 < len(recall) < 3000 and recall[-1] == 1
    assert (np.diff(recall) >= 0).all() and (np.diff(fpr) >= 0).all()
    area = auc([0, *fpr, 1], [0, *recall, 1])
    assert area == pytest.approx(made["metrics"]["pooled"]["auroc"], abs=1e-3)
    assert bench("run", "--methods", "msp,energy", "--force") == 0
    assert path.read_bytes() == first
    assert bench("table", "--adopt", str(bench.runs), "--no-readme", "--results", str(bench.folder / "r")) == 0
    assert (bench.folder / "r" / path.relative_to(bench.runs)).read_bytes() == first


def test_a_saved_threshold_keeps_its_float32(tmp_path):
    scores = np.float32(1) - np.arange(1, 41, dtype=np.float32).reshape(4, 10) * np.float32(2**-24)
    labels = np.zeros((4, 10), np.uint8)
    labels[0] = 254
    evaluator = PixelEvaluator(["pooled"])
    evaluator.update(View("one", scores, labels))
    write_curves(tmp_path / "c.csv.gz", evaluator.curves())
    with gzip.open(tmp_path / "c.csv.gz", "rt") as file:
        saved = [np.float32(point["threshold"]) for point in csv.DictReader(file)]
    assert saved == list(evaluator.curves().threshold.astype(np.float32))
    back = read_curves(tmp_path / "c.csv.gz")
    for name, values in evaluator.curves().arrays().items():
        assert getattr(back, name) == pytest.approx(values, rel=1e-5)


def test_what_is_no_curves_file_is_named(tmp_path):
    path = tmp_path / "c.csv.gz"
    path.write_bytes(gzip.compress(b"threshold,anomalous,normal,scores\n", mtime=0)[:10] + bytes([7] * 40))
    with pytest.raises(BenchmarkError, match=r"c\.csv\.gz holds no curves"):
        read_curves(path)
    for content in (b"recall\n0.5\n", b"", b"threshold,recall,precision,fpr\n1,2\n"):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(BenchmarkError, match=r"c\.csv\.gz holds no curves"):
            read_curves(path)
