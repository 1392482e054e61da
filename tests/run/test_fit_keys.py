"""Which options name a fit: those that only score() reads do not."""

import dataclasses

import pytest

from benchmark.recipe import digest
from benchmark.registry import METHODS
from benchmark.run.contract import toy_workshop

SHIFTED = """
from benchmark.method import Method
import torch

class Shifted(Method):
    score_options = frozenset({"gain"})

    def __init__(self, gain: float = 1.0, offset: float = 0.0):
        super().__init__()
        self.gain, self.offset = gain, offset

    def build(self, networks):
        self.register_buffer("total", torch.zeros(()))

    def observe(self, batch, networks):
        self.total += batch.images.float().mean()

    def fit(self, data, networks):
        assert self.total > 0 and self.offset >= 0
        print("fitted")
        self.total += self.offset

    def score(self, batch, networks):
        return self.total - self.gain * networks["base"](batch).logits().amax(dim=1)
"""

FITTED = [name for name in METHODS.names() if METHODS.create(name).fitted]


@pytest.fixture
def workshop(tmp_path):
    return toy_workshop(tmp_path, ())


@pytest.mark.parametrize("name", FITTED)
def test_a_default_configuration_is_named_by_all_its_options(name, workshop):
    entry = workshop.entry(METHODS.create(name))
    parts = {
        "config": entry.config,
        "version": entry.method.version,
        "networks": {role: dataclasses.asdict(need.network) for role, need in entry.needs.items()},
        "recipes": {task: recipe.as_dict() for task, recipe in entry.recipes.items()},
        "data": workshop.setup.base.data,
        "repetition": 0,
    }
    if beside := entry.method.reads(workshop.setup.options.root):
        parts["beside"] = beside
    assert entry.fit_key == f"toy/{name}-{digest(parts)}"


@pytest.mark.parametrize(
    ("call", "shared"),
    [
        ("knn:k=3", True),
        ("knn:bank=100", False),
        ("sml:boundary=false:smoothing=false", True),
        ("tradi:aggregate=logits", True),
        ("tradi:members=3", False),
        ("synthcp:threshold=0.5", True),
        ("synthcp:threshold=0.5:channels=4", False),
        ("dicnet:align_corners=false", True),
        ("mahalanobis:covariance=class", False),
    ],
)
def test_options_of_the_score_leave_the_fit_alone(call, shared, workshop):
    name = call.partition(":")[0]
    keys = [workshop.entry(METHODS.create(c)).fit_key for c in (name, call)]
    assert (keys[0] == keys[1]) is shared


def test_other_options_name_a_fit_with_the_default_of_the_scores(workshop):
    keys = {workshop.entry(METHODS.create(f"knn:bank=100{rest}")).fit_key for rest in ("", ":k=3", ":k=7")}
    assert len(keys) == 1 and keys.pop().startswith("toy/knn+bank=100-")


def test_methods_that_share_a_fit_are_fitted_once(bench):
    bench.plugin("shifted", SHIFTED)
    assert bench("run", "--methods", "shifted,shifted:gain=2,shifted:offset=1") == 0
    assert bench.out.count("fitted") == 2 and bench.out.count("  fit shifted") == 2
    assert "for shifted, shifted:offset=1" in bench.out
    files = sorted(path.stem.rpartition("-")[0] for path in (bench.runs / "weights").rglob("shifted*.safetensors"))
    assert files == ["shifted", "shifted+offset=1"]
    one, two = bench.record("shifted"), bench.record("shifted+gain=2")
    assert one["method"]["fit_sha256"] == two["method"]["fit_sha256"]
    assert bench("run", "--methods", "shifted:gain=3") == 0
    assert "fitted" not in bench.out and "  fit" not in bench.out and "shifted+gain=3" in bench.records()


def test_methods_that_share_a_fit_fail_with_it_and_say_why(bench):
    bench.plugin("shifted", SHIFTED)
    assert bench("run", "--methods", "shifted:offset=-1,shifted:offset=-1:gain=2,msp") == 1
    failed = [line for line in bench.err.splitlines() if line.startswith("failed: shifted")]
    assert len(failed) == 2 and all("AssertionError" in line for line in failed)
    assert bench.records() == {"msp"}
