"""What every registered method must keep: the harness's own checks, sizes and scales, and its metadata."""

import pytest
import torch
from encoders import random_encoder
from harness import DEVICES
from method_toys import Odd, prepared

from benchmark.data import collate
from benchmark.recipe import Recipe
from benchmark.registry import METHODS
from benchmark.run.contract import Toy, check_method, trial_call

ENCODERS = ("tf_efficientnet_lite0",)
"""Frozen encoders that methods use where nobody names one."""


@pytest.fixture(scope="module", autouse=True)
def encoders(tmp_path_factory):
    """Random weights in the place of the pretrained ones, which not every machine has."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ENCODERS:
            random_encoder(name, tmp_path_factory.mktemp("encoders"), patch)
        yield


EVERY = pytest.mark.parametrize("name", METHODS.names())


@EVERY
def test_metadata_is_complete(name):
    cls = METHODS.get(name)
    assert METHODS.name_of(cls) == name and cls.title and cls.paper and cls.__doc__
    assert isinstance(cls.version, int) and cls.version >= 1
    assert all(isinstance(r, Recipe) and r.task == task for task, r in cls.recipes.items())
    method = METHODS.create(name)
    assert method.label == name
    assert cls.score_options <= set(method.config)
    assert METHODS.create(":".join([name, *(f"{k}={v}" for k, v in method.config.items() if v != "")])).label == name


@EVERY
@pytest.mark.parametrize("device", DEVICES)
def test_keeps_the_contract(name, device):
    """On a GPU this includes that its float32 scores are those of the same fit on the CPU."""
    findings = list(check_method(trial_call(name), device))
    assert [f for f in findings if f.wrong] == []
    assert len(findings) >= 7 + (device != "cpu")


@EVERY
@pytest.mark.parametrize(("scales", "data"), [((40, 56), Toy), ((), Odd)], ids=["several scales", "padded"])
def test_any_scales_and_sizes(name, scales, data, tmp_path):
    workshop, entry = prepared(trial_call(name), tmp_path, scales, data)
    (batch,) = collate([workshop.setup.test[i] for i in range(2)])
    with torch.no_grad():
        scores = entry.method.score(batch, entry.networks)
        assert scores.shape == batch.labels.shape and scores.dtype == torch.float32 and scores.isfinite().all()
        fresh = entry.method.made(entry.method.spec)
        fresh.build(entry.networks)
        fresh.load_state_dict(entry.method.state_dict())
        assert torch.allclose(fresh.eval().score(batch, entry.networks), scores, rtol=1e-5, atol=1e-6)
    assert len(scores.unique()) > 100  # of 5 thousand pixels
