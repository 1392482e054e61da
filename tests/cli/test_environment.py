"""What is set before numpy and torch are imported."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from benchmark import HOME
from benchmark.cli.environment import prepare

CPU = "processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: any\n\n"


def _prepared(tmp_path, vendor="AuthenticAMD", family=25, model=17, **variables):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPU.format(vendor=vendor, family=family, model=model) * 2)
    prepare(variables, cpuinfo)
    return variables


@pytest.mark.parametrize("model", [0x11, 0x61, 0xA0])
def test_on_zen_4_numpy_sorts_without_avx_512(tmp_path, model):
    assert "AVX512_ICL" in _prepared(tmp_path, model=model)["NPY_DISABLE_CPU_FEATURES"].split()


@pytest.mark.parametrize(
    "other", [{"model": 0x01}, {"family": 26}, {"vendor": "GenuineIntel", "family": 25}, {"model": "?"}]
)
def test_other_processors_keep_it(tmp_path, other):
    assert "NPY_DISABLE_CPU_FEATURES" not in _prepared(tmp_path, **other)


def test_without_a_description_of_the_processor_nothing_is_assumed(tmp_path):
    variables = {}
    prepare(variables, tmp_path / "nothing")
    assert variables.pop("GOMP_SPINCOUNT") == "1000" and not {name for name in variables if "OPENCV" not in name}


def test_what_the_user_has_set_stays(tmp_path):
    names = ("NPY_DISABLE_CPU_FEATURES", "GOMP_SPINCOUNT", "OPENCV_FFMPEG_LOGLEVEL", "OPENCV_LOG_LEVEL")
    mine = {name: "5" for name in names}
    assert _prepared(tmp_path, **mine) == mine


def test_a_video_that_cannot_be_opened_is_one_sentence(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_text("no video")
    clean = {name: text for name, text in os.environ.items() if "OPENCV" not in name}
    line = [sys.executable, "-m", "benchmark", "infer", str(path), "--methods", "msp"]
    done = subprocess.run(line, cwd=HOME, env=clean, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {path} is no video that OpenCV can decode")
    assert done.stderr.count("\n") == 1


def test_numpy_knows_the_names(tmp_path):
    """An unknown name is an ImportWarning, here an error; so is one that this processor lacks, but silently."""
    variables = _prepared(tmp_path)
    code = "import numpy; print(numpy.__version__)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.stdout.strip() == version("numpy"), done.stderr
