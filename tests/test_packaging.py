"""What an installation holds, and that it and Hugging Face's ``datasets`` leave each other alone."""

import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from installed import HOME, PLUGINS, Environment, copy_project, run

from benchmark import __version__
from benchmark.registry import DATASETS, METHODS

THEIRS = {"datasets/__init__.py": "who = 'somebody else'\n", "datasets/folder.py": "", "datasets/_files.py": ""}
"""What a stand-in for Hugging Face's package holds; the last two names are ours, too."""


@pytest.fixture(scope="module")
def checkout(wheel, tmp_path_factory) -> Path:
    """A copy of the files that belong to the project."""
    folder = tmp_path_factory.mktemp("project")
    copy_project(folder)
    return folder / "checkout"


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
    kinds = (".py", ".typed", ".j2", ".js", ".css", ".ipynb", ".sbatch")
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
