"""What is set before numpy and torch are imported."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

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
    assert variables == {"GOMP_SPINCOUNT": "1000"}


def test_what_the_user_has_set_stays(tmp_path):
    mine = {"NPY_DISABLE_CPU_FEATURES": "", "GOMP_SPINCOUNT": "5"}
    assert _prepared(tmp_path, **mine) == mine


def test_numpy_knows_the_names(tmp_path):
    """An unknown name is an ImportWarning, here an error; so is one that this processor lacks, but silently."""
    variables = _prepared(tmp_path)
    code = "import numpy; print(numpy.__version__)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.stdout.strip() == version("numpy"), done.stderr
