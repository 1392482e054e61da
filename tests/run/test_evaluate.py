"""Plan, one pass, records: what is measured once stays, what changed is measured again, what fails is named."""

from pathlib import Path

import pytest
import torch
from harness import FAILING, measured

from benchmark.data import Batch
from benchmark.run.scoring import views

UNFIT = """
from benchmark.method import Method

class Unfit(Method):
    def fit(self, data, networks):
        raise ZeroDivisionError("no images of class 7")

    def score(self, batch, networks):
        return networks["base"](batch).logits()[:, 0]
"""
STATISTICS = """
import torch
from benchmark.method import Method

class Statistics(Method):
    def build(self, networks):
        self.register_buffer("total", torch.zeros(4))

    def observe(self, batch, networks):
        self.total += networks["base"](batch).logits().sum(dim=(0, 2, 3))

    def score(self, batch, networks):
        return (networks["base"](batch).logits() - self.total.view(1, 4, 1, 1) / 1e4).amax(dim=1)
"""


def test_every_image_of_a_batch_is_given_what_is_its_own():
    labels, scores, predictions = (torch.arange(2 * 6).view(2, 2, 3) + start for start in (0, 20, 40))
    batch = Batch(("a", "b"), torch.zeros(2, 3, 2, 3, dtype=torch.uint8), labels.byte())
    for index, view in enumerate(views(batch, scores, predictions, ["first", "second"])):
        assert (view.image, view.confidences) == (("a", "first"), ("b", "second"))[index]
        for given, own in ((view.scores, scores), (view.labels, batch.labels), (view.prediction, predictions)):
            assert torch.equal(given, own[index])


def test_every_method_gets_a_record_and_the_second_run_answers_from_them(bench, forwards):
    assert bench("train", "--methods", "msp") == 0
    forwards.clear()
    assert bench("run", "--methods", "msp,energy,max_logit,max-logit,msp:double_softmax=false") == 0
    assert bench.records() == {"msp", "energy", "max_logit"}
    assert len(forwards) == 4, "one per image, however many methods"
    assert "train" not in bench.out and "evaluate 3 methods on 4 images" in bench.out
    record = bench.record("msp")
    assert record["dataset"]["images"] == 4 and record["dataset"]["limit"] is None
    assert set(record["metrics"]) == {"per-image", "pooled"}
    assert 0 <= record["metrics"]["pooled"]["auroc"] <= 1
    assert 0 < record["dataset"]["anomaly_fraction"] < 0.1
    assert record["cost"]["network_ms"] > 0 and record["cost"]["batch_size"] == 1
    assert bench.rows("msp").count(b"toy/") >= 4
    assert not list((bench.runs / "partial").glob("*")), "nothing is left of a complete evaluation"
    forwards.clear()
    assert bench("run", "--methods", "msp,energy") == 0
    assert not forwards
    assert bench.out.count("current") == 2 and "MSP" in bench.out and "Energy" in bench.out
    assert bench("run", "--methods", "msp,max_entropy") == 0
    assert len(forwards) == 4 and "msp: current" in bench.out and "max_entropy: not measured yet" in bench.out


def test_values_of_a_sample_are_replaced_where_every_pixel_is_to_be_ranked(bench, monkeypatch):
    for module in ("metrics.pixel", "records.audit"):
        monkeypatch.setattr(f"benchmark.{module}.BUDGET", (100, 1000))
    monkeypatch.setattr("benchmark.records.audit.WIDEST", 1.0)  # of so few pixels nothing is certain
    assert bench("run", "--methods", "msp") == 0
    sampled = bench.record("msp")["metrics"]["pooled"]
    assert bench("run", "--methods", "msp") == 0 and "msp: current" in bench.out
    assert bench("run", "--methods", "msp", "--exact-pooled") == 0
    assert "its pooled values are those of a sample" in bench.out
    exact = bench.record("msp")["metrics"]["pooled"]
    assert sampled["aupr"] != exact["aupr"]
    assert abs(sampled["aupr"] - exact["aupr"]) <= sampled["extra"]["sampling_aupr"]
    assert "sampling_aupr" not in exact["extra"]
    assert bench("run", "--methods", "msp", "--exact-pooled") == 0 and "msp: current" in bench.out


def test_force_measures_again_and_finds_the_same(bench, forwards):
    assert bench("run", "--methods", "msp,dicnet") == 0
    first, rows = [bench.record(m) for m in ("msp", "dicnet")], [bench.rows(m) for m in ("msp", "dicnet")]
    forwards.clear()
    assert bench("run", "--methods", "msp,dicnet", "--force") == 0
    assert len(forwards) == 4 and "msp: --force" in bench.out and "train" not in bench.out
    again = [bench.record(m) for m in ("msp", "dicnet")]
    assert list(map(measured, again)) == list(map(measured, first))
    assert [bench.rows(m) for m in ("msp", "dicnet")] == rows
    assert bench("run", "--methods", "msp,dicnet", "--retrain") == 0
    assert "msp: --retrain" in bench.out
    assert list(map(measured, map(bench.record, ("msp", "dicnet")))) == list(map(measured, first))


def test_the_record_says_on_what_and_how_exactly_every_network_was_trained(bench):
    bench.plugin("statistics", STATISTICS)
    methods = "deep_ensemble:members=2,dicnet,statistics"
    assert bench("run", "--methods", methods, "--train-precision", "bf16") == 0
    ensemble, dicnet, statistics = (bench.record(m) for m in ("deep_ensemble+members=2", "dicnet", "statistics"))
    assert ensemble["provenance"]["precision"] == "fp32", "of the evaluation"
    trained = (ensemble["network"]["trained"], ensemble["other_networks"]["member1"]["trained"])
    for part in (*trained, dicnet["method"]["fit"]):
        assert (part["device"], part["precision"]) == ("cpu", "bf16")
        assert part["threads"] == ensemble["provenance"]["threads"] and part["cpu"]
        assert all(report["seconds"] > 0 and report["steps"] == 1 for report in part["reports"])
    assert [part["recipe"]["member"] for part in trained] == [0, 1]
    assert statistics["method"]["fit"]["precision"] == "fp32" and statistics["method"]["fit"]["seconds"] > 0


def test_a_trial_does_not_replace_the_whole_measurement(bench):
    assert bench("run", "--methods", "msp") == 0
    whole = bench.record("msp")
    assert bench("run", "--methods", "msp", "--limit", "2") == 0
    assert "the first 2 images only" in bench.out
    trial = bench.record("msp+first2")
    assert (trial["dataset"]["limit"], trial["dataset"]["images"]) == (2, 2)
    assert bench.record("msp") == whole
    assert bench("run", "--methods", "msp") == 0 and "msp: current" in bench.out


def test_the_plan_says_what_made_a_record_stale(bench, monkeypatch):
    bench.plugin("statistics", STATISTICS)
    assert bench("run", "--methods", "msp,statistics") == 0

    def reasons(method, *options):
        assert bench("run", "--dry-run", "--methods", method, *options) == 0
        return next(line for line in bench.out.splitlines() if line.startswith(f"  {method}: "))

    assert "current" in reasons("msp")
    for method in ("msp", "statistics"):  # a measurement of its own, which replaces no other
        assert "not measured yet" in reasons(method, "--recipe", "segmentation.lr=0.5")
    assert "arithmetic changed from fp32 to bf16" in reasons("msp", "--precision", "bf16")
    (bench.data / "edition").write_text("b")
    assert "the dataset's images or labels changed from toy-test to toy-testb" in reasons("msp")
    (bench.data / "edition").unlink()
    text = (bench.folder / "statistics.py").read_text()
    bench.plugin("statistics", text.replace("class Statistics(Method):", "class Statistics(Method):\n    version = 2"))
    assert "the method's version changed from 1 to 2" in reasons("statistics")
    bench.plugin("statistics", text.replace("class Statistics(Method):", "class Statistics(Method):\n    x = 2"))
    assert "its source changed (statistics.py)" in reasons("statistics")
    bench.plugin("statistics", text.replace("import torch", "# a comment\n\nimport torch"))
    assert "current" in reasons("statistics"), "only what computes something counts"


def test_another_default_of_an_option_is_stale(bench):
    source = Path(bench.plugin("failing", FAILING))
    assert bench("run", "--methods", "failing", "--limit", "2") == 0
    bench.plugin("failing", source.read_text().replace('"hole"', '"shape"'))
    assert bench("run", "--methods", "failing", "--limit", "2", "--dry-run") == 0
    assert "the method's option how changed from hole to shape" in bench.out


def test_other_scales_are_another_record(bench):
    assert bench("run", "--methods", "msp") == 0
    assert bench("run", "--methods", "msp", "--scales", "24,40") == 0
    native, scaled = bench.record("msp"), bench.record("msp", "pspnet-small+scales=24-40")
    assert scaled["network"]["scales"] == [24, 40] and native["network"]["scales"] == []
    assert scaled["network"]["weights_sha256"] == native["network"]["weights_sha256"]
    assert bench("run", "--methods", "msp") == 0 and "current" in bench.out


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("hole", "NaN"),
        ("raise", "RuntimeError: the prototypes are gone"),
        ("shape", r"must return one value per pixel, (1, 48, 64); it returned a tensor of shape (1, 47, 64)"),
        ("type", "it returned ndarray"),
    ],
)
def test_a_method_that_fails_is_named_with_the_image_and_the_others_finish(bench, how, words):
    bench.plugin("failing", FAILING)
    assert bench("run", "--methods", f"msp,failing:how={how},energy") == 1
    assert bench.records() == {"msp", "energy"}
    (sentence,) = [line for line in bench.err.splitlines() if "failing" in line]
    assert words in sentence and "toy/2" in sentence and "Traceback" not in bench.err


def test_a_fit_that_fails_leaves_the_others_alone(bench):
    bench.plugin("unfit", UNFIT)
    bench.plugin("statistics", STATISTICS)
    assert bench("run", "--methods", "unfit,msp,statistics") == 1
    assert bench.records() == {"msp", "statistics"}
    assert "failed: unfit: ZeroDivisionError: no images of class 7" in bench.err
