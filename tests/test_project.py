"""The files around the code say what the code says: licence, citation, changes, image, CI, style."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from benchmark import __version__

HOME = Path(__file__).resolve().parent.parent


def text(name: str) -> str:
    return (HOME / name).read_text(encoding="utf-8")


def project() -> dict:
    return tomllib.loads(text("pyproject.toml"))["project"]


def test_the_licence_is_whole_and_the_one_that_is_stated():
    found = text("LICENSE")
    assert re.match(r"\s*Apache License\s+Version 2.0, January 2004", found)
    assert "END OF TERMS AND CONDITIONS" in found and len(found) > 11_000
    assert project()["license"] == yaml.safe_load(text("CITATION.cff"))["license"] == "Apache-2.0"


def test_the_citation_is_of_this_version_and_names_the_paper():
    found = yaml.safe_load(text("CITATION.cff"))
    assert found["cff-version"] == "1.2.0" and {"message", "title", "authors", "type"} <= found.keys()
    assert str(found["version"]) == __version__
    assert found["abstract"].rstrip(".") == project()["description"]
    (paper,) = found["references"]
    assert paper["identifiers"][0]["value"].removeprefix("arXiv:") in text("README.md")


def test_the_changes_name_this_version():
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text("CHANGELOG.md"), re.M)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == __version__ and all(date for _, date in headings[1:])
    kinds = set(re.findall(r"^### (.+)$", text("CHANGELOG.md"), re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Numbers"}


def test_an_image_is_made_of_what_is_there_and_let_in():
    copied = {name for line in re.findall(r"^COPY (.+)$", text("Dockerfile"), re.M) for name in line.split()[:-1]}
    assert copied and all((HOME / name).exists() for name in copied)
    lines = [line for line in text(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*" and {line[1:] for line in lines if line.startswith("!")} == copied
    assert re.search(r"^USER (?!root|0$)", text("Dockerfile"), re.M)
    (extra,) = re.findall(r"^ARG EXTRAS=(\w+)$", text("Dockerfile"), re.M)
    assert extra in project()["optional-dependencies"]
    (command,) = re.findall(r'^ENTRYPOINT \["(.+)"\]$', text("Dockerfile"), re.M)
    assert command in project()["scripts"]


def test_the_workflow_does_what_everybody_can_do():
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(HOME / ".ci" / "run", os.X_OK)
    lowest = project()["requires-python"].removeprefix(">=")
    assert job["strategy"]["matrix"]["python"][0] == lowest


@pytest.mark.skipif(not importlib.util.find_spec("ruff"), reason="ruff, which the extra [test] brings, is not here")
@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=" ".join)
def test_style_is_ruffs(arguments):
    line = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."]
    done = subprocess.run(line, cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
