"""A folder with a tiny dataset and the command line in it."""

import pytest
from harness import Bench, fresh_registries


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
