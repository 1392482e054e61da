"""A family of protocols that nobody outside ``metrics/`` has heard of is run, recorded, printed and resumed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from harness import measured
from sklearn.metrics import roc_auc_score

from benchmark.maps.score import score_directory
from benchmark.metrics import PROTOCOLS, Evaluator, Measurement, Protocol
from benchmark.metrics.pixel_protocols import POOLED
from benchmark.run.contract import Toy


@dataclass(frozen=True)
class ShareProtocol(Protocol):
    """The share of pixels above a threshold: zero in one pass, or that of the best pooled F1 in two."""

    headlines: ClassVar = {"share": "share"}

    @property
    def family(self):
        return "shares"

    def evaluator(self, first, classes, method):
        return ShareEvaluator(self.name, 0.0, method)


class SharePastBest(ShareProtocol):
    passes: ClassVar = 2

    @property
    def rankings(self):
        return (POOLED,)

    def evaluator(self, first, classes, method):
        return ShareEvaluator(self.name, first.pixels.best_f1_threshold(POOLED), method)


class ShareEvaluator(Evaluator):
    def __init__(self, name, threshold, method):
        super().__init__(method)
        self.name, self.threshold, self.counts = name, threshold, [0, 0]

    def _add(self, view, where):
        above = np.asarray(view.scores) >= self.threshold
        self.counts = [self.counts[0] + int(above.sum()), self.counts[1] + above.size]

    def _merge(self, other):
        self.counts = [a + b for a, b in zip(self.counts, other.counts)]

    def _state(self):
        return {"counts": self.counts}

    def _restore(self, kept):
        self.counts = kept["counts"]

    def measurement(self):
        extra = {"share": self.counts[0] / self.counts[1], "threshold": self.threshold}
        return {self.name: Measurement(3, "shares", len(self._images), extra=extra)}


ORACLE = """
import torch
from benchmark.method import Method

class Oracle(Method):
    title = "Oracle"

    def score(self, batch, networks):
        scores = torch.full((len(batch), *batch.size), -1.0)
        scores[:, 30:40, 44:56] = 1  # where the anomaly is; the labels say nothing to a method
        return scores
"""


@pytest.fixture
def shares(monkeypatch):
    for made in (ShareProtocol("share", 3, "tests"), SharePastBest("share-past-best", 3, "tests")):
        monkeypatch.setitem(PROTOCOLS, made.name, made)


def test_a_run_measures_records_and_prints_it(bench, shares):
    bench.plugin("oracle", ORACLE)
    assert bench("run", "--methods", "oracle", "--protocols", "share,share-past-best") == 0
    record = bench.record("oracle")
    expected = record["dataset"]["anomaly_fraction"]  # there is no ignored pixel
    for name, threshold in (("share", 0), ("share-past-best", 1)):
        found = record["metrics"][name]
        assert (found["version"], found["aggregation"], found["images"]) == (3, "shares", 4)
        assert found["extra"] == {"share": pytest.approx(expected), "threshold": threshold}
        assert f"{name} v3" in bench.out
    assert f"{100 * expected:.1f}" in next(line for line in bench.out.splitlines()[::-1] if line.startswith("Oracle"))
    assert bench("run", "--methods", "oracle", "--protocols", "share") == 0 and "oracle: current" in bench.out


def test_a_run_that_stopped_goes_on_with_it(bench, shares):
    bench.plugin("oracle", ORACLE)
    wanted = ("run", "--methods", "oracle", "--protocols", "share,share-past-best")
    assert bench(*wanted) == 0
    reference = measured(bench.record("oracle"))
    (bench.data / "damaged").write_text("2")
    assert bench(*wanted, "--force") == 2
    (bench.data / "damaged").unlink()
    assert bench(*wanted, "--force") == 0 and "goes on after 2 of 4 images" in bench.out
    assert measured(bench.record("oracle")) == reference


def test_score_maps_are_measured_under_it(tmp_path, shares):
    dataset = Toy("test", tmp_path)
    for sample in dataset:
        path = tmp_path / "maps" / f"{sample.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.where(sample.labels.numpy() == 254, 1.0, -1.0))
    report = score_directory(tmp_path / "maps", dataset, ["pooled", "share", "share-past-best"])
    anomalous = np.concatenate([sample.labels.numpy().ravel() == 254 for sample in dataset])
    assert report.metrics["pooled"].auroc == roc_auc_score(anomalous, anomalous)
    assert [report.metrics[n].extra["share"] for n in ("share", "share-past-best")] == [anomalous.mean()] * 2
    assert ["share-past-best", "v3", "share", f"{100 * anomalous.mean():.2f}"] in map(
        str.split, str(report).splitlines()
    )
