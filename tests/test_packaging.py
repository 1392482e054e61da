"""What an installation without ``-e`` holds: every module, and the published numbers."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed")
def test_an_installed_copy_has_every_module_and_the_published_numbers(tmp_path):
    library = tmp_path / "library"
    build = ["egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(library)]
    line = [sys.executable, "-c", "import setuptools; setuptools.setup()", "--quiet", *build]
    done = subprocess.run(line, cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kinds = [(top, "*.py") for top in ("benchmark", "methods", "datasets")]
    kinds += [("results/published", "*.*"), ("benchmark", "py.typed")]
    wanted = {p.relative_to(HOME) for top, kind in kinds for p in (HOME / top).rglob(kind)}
    assert {p.relative_to(library) for p in library.rglob("*") if p.is_file()} == wanted

    asked = (
        "from benchmark.records.published import *; print(RESULTS, len(read_published(RESULTS).rows['streethazards']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(library)}
    done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{library / 'results'} 6\n", done.stderr
