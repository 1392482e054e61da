"""The wheel of this project, and environments to install it in."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
PLUGINS = ("methods", "datasets")


def run(*line: str | Path, folder: Path = HOME, path: str = "") -> str:
    """What a command prints that is started in a folder with a PYTHONPATH; it must succeed."""
    variables = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([*map(str, line)], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def once_of_all(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first of pytest's processes fills, for all of them.

    Args:
        folder: the temporary folder that the processes share.
        name: of the folder in it.
        make: fills it.
    """
    place = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait
        if not (place / "whole").exists():
            if not all(map(importlib.util.find_spec, ("pip", "setuptools"))):
                pytest.skip("builds and installs wheels, which takes pip and setuptools in this environment")
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            (place / "whole").touch()
    return place


def copy_project(place: Path) -> None:
    """Copy the files that belong to the project into ``checkout``."""
    copy = place / "checkout"
    for folder in ("benchmark", *PLUGINS, "results/published"):
        shutil.copytree(HOME / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(HOME / name, copy)


def build(place: Path) -> None:
    """Build the wheel of a copy of the project."""
    copy_project(place)
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", place, place / "checkout")


class Environment:
    """A fresh virtual environment that also finds the third-party packages of this one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=os.name != "nt")
        place = {"base": str(folder), "platbase": str(folder)}
        self.python = Path(sysconfig.get_path("scripts", "venv", place)) / Path(sys.executable).name
        self.packages = Path(sysconfig.get_path("purelib", "venv", place))
        third = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (self.packages / "third_party.pth").write_text("\n".join(third))
        self.empty = folder.with_name(f"{folder.name}-empty")
        self.empty.mkdir()
        self.before = self.files()

    def files(self) -> dict[str, bytes]:
        """What is installed, by name; compiled files and what pip writes about its installing left out."""
        found = {p.relative_to(self.packages).as_posix(): p for p in self.packages.rglob("*") if p.is_file()}
        return {n: p.read_bytes() for n, p in found.items() if "__pycache__" not in n and ".dist-info/" not in n}

    def pip(self, verb: str, *words: str | Path) -> None:
        run(sys.executable, "-m", "pip", "--python", self.python, verb, "--quiet", *words)

    def install(self, *words: str | Path) -> None:
        self.pip("install", "--no-build-isolation", "--no-deps", "--no-index", "--no-compile", *words)
