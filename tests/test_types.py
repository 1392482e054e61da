"""What a plugin author reads is typed, and the types hold."""

import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent


def test_mypy_finds_nothing_at_the_top_of_the_harness(tmp_path):
    pytest.importorskip("mypy", reason="mypy comes with the test extra: pip install -e .[test]")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "--config-file", "pyproject.toml"]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_of_plugins_follow_from_their_registry(tmp_path):
    pytest.importorskip("mypy", reason="mypy comes with the test extra: pip install -e .[test]")
    (tmp_path / "use.py").write_text(
        "from benchmark.registry import DATASETS, METHODS\n"
        "reveal_type(METHODS.get('msp'))\n"
        "reveal_type(METHODS.create('msp'))\n"
        "reveal_type(DATASETS.create('camvid-ood').card.classes)\n"
    )
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--config-file", "pyproject.toml"]
    done = subprocess.run([*command, str(tmp_path / "use.py")], cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for revealed in ('"type[benchmark.method.Method]"', '"benchmark.method.Method"', '"tuple[str, ...]"'):
        assert f"Revealed type is {revealed}" in done.stdout.replace("builtins.", "")
