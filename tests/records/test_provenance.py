"""Provenance says what ran, and nothing of who or where."""

import getpass
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from benchmark.io.jsonfile import dumps
from benchmark.records import provenance


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e@e", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "a.py").write_text("a = 1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    return tmp_path


def test_a_clean_repository(repository):
    commit, dirty = provenance.git_state(repository)
    assert len(commit) == 40
    assert dirty is False


def test_results_do_not_make_the_code_dirty_but_code_does(repository):
    (repository / "results").mkdir()
    (repository / "results" / "r.json").write_text("{}")
    assert provenance.git_state(repository)[1] is False
    (repository / "methods").mkdir()
    (repository / "methods" / "new.py").write_text("b = 2\n")
    assert provenance.git_state(repository)[1] is True


def test_somebody_elses_repository_around_us_is_not_ours(repository):
    assert provenance.git_state(repository / "benchmark") == (None, None)


def test_works_without_git(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(repository) == (None, None)


def test_the_command_as_typed_without_absolute_paths():
    typed = ["/home/joe/p/benchmark/__main__.py", "run", "--data", "/home/joe/my data", "--methods", "dicnet,msp"]
    assert provenance.command_line(typed) == "python -m benchmark run --data '.../my data' --methods dicnet,msp"
    typed = ["/usr/bin/anomaly-benchmark", "run", "--plugin=~/x/y.py", "--methods", "void:weights=/home/joe/w.pth"]
    assert provenance.command_line(typed) == (
        "anomaly-benchmark run --plugin=.../y.py --methods void:weights=.../w.pth"
    )
    assert provenance.command_line(["__main__.py", "run", "--data", "../data"]).endswith("--data ../data")


def test_gather_names_no_person_and_no_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "__main__.py"), "run", "--data", str(tmp_path)])
    made = provenance.gather("cpu", "bf16")
    text = dumps(made)
    for secret in (socket.gethostname(), str(tmp_path), os.path.expanduser("~")):
        assert len(secret) < 3 or secret not in made.command
        assert len(secret) < 6 or secret not in text
    assert getpass.getuser() not in made.command
    assert {"python", "benchmark", "torch", "torchvision", "timm", "numpy"} == set(made.versions)
    assert (made.device, made.precision) == ("cpu", "bf16")
    assert made.cpu and made.threads >= 1
    age = datetime.now(UTC) - datetime.fromisoformat(made.date.replace("Z", "+00:00"))
    assert 0 <= age.total_seconds() < 60
