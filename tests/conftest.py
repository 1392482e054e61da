"""A folder with a tiny dataset and the command line in it."""

import os

# Read when torch is first imported: small tensors gain nothing from threads, which wait by spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from harness import Bench, fresh_registries
from own_networks import lay_out

from benchmark.network import Network


@pytest.fixture
def registries():
    """Plugins registered by the test are forgotten after it."""
    with fresh_registries():
        yield


@pytest.fixture
def bench(tmp_path, capsys, monkeypatch):
    """The command line in an empty folder, with the tiny dataset ``town`` as a plugin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOMALY_DATA", raising=False)
    return Bench(tmp_path / "bench", capsys)


@pytest.fixture
def roads(bench):
    """The command line on three tiny sets without training images, with a network in a file and its weights."""
    lay_out(bench)
    return bench


@pytest.fixture
def forwards(monkeypatch):
    """The number of images of every forward of a network."""
    seen = []
    segment = Network.segment

    def counted(self, images, *rest, **keywords):
        seen.append(len(images))
        return segment(self, images, *rest, **keywords)

    monkeypatch.setattr(Network, "segment", counted)
    return seen
