"""What a plugin author reads is typed, and the types hold."""

import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
USE = """
from benchmark.registry import DATASETS, METHODS

reveal_type(METHODS.get("msp"))
reveal_type(METHODS.create("msp"))
reveal_type(DATASETS.create("camvid-ood").card.classes)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[str]:
    """What mypy says of the files at the top of the harness and of a file that uses the registries."""
    pytest.importorskip("mypy", reason="mypy comes with the test extra: pip install -e .[test]")
    folder = tmp_path_factory.mktemp("types")
    (folder / "use.py").write_text(USE)
    files = [*map(str, sorted((HOME / "benchmark").glob("*.py"))), str(folder / "use.py")]
    line = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", str(folder / "cache")]
    done = subprocess.run([*line, *files], cwd=HOME, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_top_of_the_harness_has_no_type_errors(found):
    assert not [line for line in found if ": error:" in line] and any("no issues" in line for line in found)


def test_types_of_plugins_follow_from_their_registry(found):
    revealed = [
        line.rpartition("Revealed type is ")[2].replace("builtins.", "") for line in found if "Revealed" in line
    ]
    assert revealed == ['"type[benchmark.method.Method]"', '"benchmark.method.Method"', '"tuple[str, ...]"']
