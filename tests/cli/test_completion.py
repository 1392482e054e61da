"""Completion: what a shell is offered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli.completion import datasets, matching, methods, networks
from benchmark.cli.main import main
from benchmark.registry import METHODS, NETWORKS

HOME = Path(__file__).resolve().parents[2]


def offered(line: str) -> set[str]:
    """What a shell offers at the end of a line, by argcomplete's protocol."""
    pytest.importorskip("argcomplete", reason="argcomplete, of the extra [completion], is not installed")
    program = "import os, sys\nos.dup2(1, 8); os.dup2(2, 9)\nfrom benchmark.cli.main import main\nsys.exit(main([]))"
    asked = {
        "_ARGCOMPLETE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "IFS": "\v",
        "_ARGCOMPLETE_IFS": "\v",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=HOME, env={**os.environ, **asked}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {word.strip() for word in done.stdout.split("\v") if word}


def test_verbs_options_and_names_are_offered():
    assert {"run", "reproduce"} <= offered("anomaly-benchmark r")
    assert {"--methods", "--max-size"} <= offered("anomaly-benchmark run --m")
    assert "knn" in offered("anomaly-benchmark run --methods kn")
    assert offered("anomaly-benchmark run --methods msp,max_l") == {"msp,max_logit"}
    assert "camvid-ood" in offered("anomaly-benchmark train --dataset cam")
    assert "pspnet-small" in offered("anomaly-benchmark run --network pspnet-s")
    assert "--no-force" not in offered("anomaly-benchmark run --no")


def test_a_shell_is_told_what_is_missing(monkeypatch):
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    with pytest.raises(SystemExit, match="Completion needs the package argcomplete"):
        main([])


def test_of_several_names_the_last_is_completed_and_none_offered_twice():
    assert matching("msp,m", ["msp", "max_logit", "knn"], several=True) == ["msp,max_logit"]
    assert matching("ms", ["msp", "max_logit"], several=True) == ["msp"]
    assert matching("msp,m", ["msp", "max_logit"], several=False) == []


def test_names_are_the_registries():
    assert methods() == ["all", *METHODS.names()]
    assert {"camvid-ood", "minihazards"} <= set(datasets())
    families = {name for name in NETWORKS.names() if any(each.startswith(name) for each in networks())}
    assert families == set(NETWORKS.names())
    assert "pspnet-small" in networks() and not any("ENCODER" in name for name in networks())


def test_names_are_found_without_what_is_slow():
    check = (
        "import sys; from benchmark.cli.completion import datasets, methods, networks\n"
        "assert methods() and datasets() and networks()\n"
        "sys.exit(', '.join({'timm', 'pandas', 'transformers'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
