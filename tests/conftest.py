"""A folder with a tiny dataset and the command line in it; how many processes share the tests."""

import os
import random
from dataclasses import replace

# Read when torch is first imported: small tensors gain nothing from threads, which wait by spinning, and the other
# cores have tests of their own.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import numpy as np
import pytest
import torch
from harness import Bench, fresh_registries
from hypothesis import HealthCheck, settings
from installed import build, once_of_all
from own_networks import lay_out

from benchmark.errors import BenchmarkError
from benchmark.network import Network
from benchmark.networks import split_arch
from benchmark.registry import METHODS, NETWORKS
from benchmark.run import timing
from benchmark.training import estimate

# How long an example takes says how busy the machine is. The examples are the same everywhere and every time, so that
# no test fails by chance.
settings.register_profile("any machine", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config):
    """A single file, or one test of it, takes no longer here than workers take to start."""
    files = {argument.partition("::")[0] for argument in config.args}
    return 0 if len(files) == 1 and Path(*files).is_file() else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """What a test draws depends neither on chance nor on the tests that its process ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def nobody_waits():
    """Nothing is held back till the disk has it, and every kind of training is tried once, not for every command.

    What is remembered of a network or a method is forgotten where another one has its name, or a test has its own
    stopwatch.
    """
    known = {}

    def remembered(self, key, make):
        kind, spec, *method = key
        if kind == "reading":
            return make()
        try:
            family = NETWORKS.get(split_arch(spec.arch)[0])
            fitted = METHODS.get(method[0].partition(":")[0]) if kind == "fit" else None
        except BenchmarkError:  # a test's own, which the registry does not know
            return make()
        which = replace(spec, data="", dataset=""), *method, family, fitted, self.size, estimate.seconds
        if (kind, which) not in known:
            known[kind, which] = make()
        return known[kind, which]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing.Timing, "_once", remembered)
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture
def registries():
    """Plugins registered by the test are forgotten after it."""
    with fresh_registries():
        yield


@pytest.fixture
def bench(tmp_path, tmp_path_factory, capsys, monkeypatch):
    """The command line in an empty folder, with the tiny dataset ``town`` as a plugin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOMALY_DATA", raising=False)
    return Bench(tmp_path / "bench", capsys, tmp_path_factory.getbasetemp() / "once")


@pytest.fixture
def roads(bench):
    """The command line on three tiny sets without training images, with a network in a file and its weights."""
    lay_out(bench)
    return bench


@pytest.fixture
def forwards(monkeypatch):
    """The number of images of every forward of a network; a plan tries none, which it does where former times are of a
    busy machine."""
    monkeypatch.setattr("benchmark.run.probe.Probe._attempt", lambda self, measure: None)
    seen = []
    segment = Network.segment

    def counted(self, images, *rest, **keywords):
        seen.append(len(images))
        return segment(self, images, *rest, **keywords)

    monkeypatch.setattr(Network, "segment", counted)
    return seen


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A temporary folder that the processes of pytest-xdist have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def wheel(shared) -> Path:
    """The wheel of this project, built once."""
    (found,) = once_of_all(shared, "wheel", build).glob("*.whl")
    return found
