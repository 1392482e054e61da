"""What an installation holds, and that it and Hugging Face's ``datasets`` leave each other alone."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import __version__
from benchmark.registry import DATASETS, METHODS

HOME = Path(__file__).resolve().parent.parent
PLUGINS = ("methods", "datasets")
THEIRS = {"datasets/__init__.py": "who = 'somebody else'\n", "datasets/folder.py": "", "datasets/_files.py": ""}
"""What a stand-in for Hugging Face's package holds; the last two names are ours, too."""

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("pip", "setuptools"))),
    reason="builds and installs wheels, which takes pip and setuptools in this environment",
)


def run(*line: str | Path, folder: Path = HOME, path: str = "") -> str:
    """What a command prints that is started in a folder with a PYTHONPATH; it must succeed."""
    variables = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([*map(str, line)], cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the files that belong to the project."""
    copy = tmp_path_factory.mktemp("project") / "checkout"
    for folder in ("benchmark", *PLUGINS, "results/published"):
        shutil.copytree(HOME / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(HOME / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout) -> Path:
    """The wheel of this project."""
    folder = checkout.parent / "wheels"
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, checkout)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Path:
    """A wheel that brings a package ``datasets``."""
    path = tmp_path_factory.mktemp("theirs") / "datasets-4.0-py3-none-any.whl"
    info = {
        "METADATA": "Metadata-Version: 2.1\nName: datasets\nVersion: 4.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files = {**THEIRS, **{f"datasets-4.0.dist-info/{name}": text for name, text in info.items()}}
    files["datasets-4.0.dist-info/RECORD"] = "".join(
        f"{name},,\n" for name in [*files, "datasets-4.0.dist-info/RECORD"]
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


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


@pytest.fixture
def environment(tmp_path) -> Callable[..., Environment]:
    """Makes an environment with packages installed one after the other."""

    def make(name: str, *packages: str | Path) -> Environment:
        made = Environment(tmp_path / name)
        for package in packages:
            made.install(package)
        return made

    return make


def plugins_of(listing: str) -> set[str]:
    """The first word of every line."""
    return {line.split()[0] for line in listing.splitlines() if line.strip()}


def test_a_wheel_takes_one_name_and_holds_every_module_and_the_published_numbers(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    information = f"anomaly_benchmark-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"benchmark", information}
    kinds = (".py", ".typed", ".j2", ".js", ".css")
    wanted = {p.relative_to(HOME).as_posix() for p in (HOME / "benchmark").rglob("*") if p.suffix in kinds}
    for folder, kind in (*((plugins, "*.py") for plugins in PLUGINS), ("results/published", "*.*")):
        wanted |= {f"benchmark/{p.relative_to(HOME).as_posix()}" for p in (HOME / folder).rglob(kind)}
    assert {name for name in names if not name.startswith(information)} == wanted


def test_wheel_and_sdist_carry_the_licence_that_the_project_states(wheel, checkout, tmp_path):
    licence = (HOME / "LICENSE").read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        information = f"anomaly_benchmark-{__version__}.dist-info"
        assert archive.read(f"{information}/licenses/LICENSE") == licence
        assert "\nLicense-Expression: Apache-2.0\n" in archive.read(f"{information}/METADATA").decode()
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, tmp_path, folder=checkout)
    (made,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(made) as archive:
        assert archive.extractfile(f"anomaly_benchmark-{__version__}/LICENSE").read() == licence


def test_ours_and_hugging_faces_datasets_live_side_by_side(wheel, theirs, environment, checkout):
    made = environment("ours-first", wheel, theirs), environment("theirs-first", theirs, wheel)
    assert made[0].files() == made[1].files(), "the order of installing decides nothing"
    here = made[0]
    for folder in (here.empty, checkout):
        listed = plugins_of(run(here.python, "-m", "benchmark", "list", folder=folder))
        assert listed >= {*METHODS.names(), *DATASETS.names()} and "unavailable:" not in listed
        who = run(here.python, "-c", "import benchmark, datasets; print(datasets.who)", folder=folder)
        assert who == "somebody else\n"
    for each in made:
        each.pip("uninstall", "--yes", "anomaly-benchmark")
        left = {name: text for name, text in each.files().items() if name not in each.before}
        assert left == {name: text.encode() for name, text in THEIRS.items()}


PLACES = """
from importlib.util import find_spec
from benchmark.records.published import RESULTS, read_published
from benchmark.registry import DATASETS, METHODS
print(*METHODS.names(), *DATASETS.names(), len(read_published(RESULTS).rows["streethazards"]), sep="\\n")
print(find_spec("benchmark.methods.msp").origin, find_spec("benchmark.datasets.folder").origin, sep="\\n")
"""


@pytest.mark.parametrize("how", ["wheel", "editable", "working folder", "PYTHONPATH"])
def test_plugins_and_published_numbers_are_found_however_the_suite_is_started(how, wheel, checkout, environment):
    here = environment("here")
    if how in ("wheel", "editable"):
        here.install(*([wheel] if how == "wheel" else ["--editable", checkout]))
    folder, path = checkout if how == "working folder" else here.empty, str(checkout) if how == "PYTHONPATH" else ""
    home = here.packages / "benchmark" if how == "wheel" else checkout
    places = [str(home / "methods" / "msp.py"), str(home / "datasets" / "folder.py")]
    found = run(here.python, "-c", PLACES, folder=folder, path=path).splitlines()
    assert found == [*METHODS.names(), *DATASETS.names(), "6", *places]
