"""What ``list`` says of one plugin is what its signature and its docstring say."""

import re
from typing import Annotated, Literal

import pytest

from benchmark.cli.describe import NETWORK_GIVEN, Option, arguments, options_of, summary
from benchmark.registry import DATASETS, METHODS, NETWORKS
from benchmark.values import Range

UNTOLD = {"ground"}
"""Options that stand in the sentence of another one."""


def plugin(inside, tap: Literal["a", "b"], share: Annotated[float, Range(0, 1)] = 0.5, sizes: tuple[int, ...] = (1, 2)):
    """A plugin.

    It has a formula,

        s = 1 - p.

    Args:
        inside: what the harness gives.
        tap: where it is, that is
            behind what: a colon.
        share, sizes: of :class:`~benchmark.data.Batch` parts.
    Raises:
        ValueError: never.
    """


def test_an_option_is_described_by_signature_and_docstring():
    assert options_of(plugin, {"inside"}) == [
        Option("tap", "a or b", None, "where it is, that is behind what: a colon."),
        Option("share", "a number from 0 up to 1", "0.5", "of :class:`~benchmark.data.Batch` parts."),
        Option(
            "sizes",
            "values separated by commas, each a whole number",
            '"1,2"',
            "of :class:`~benchmark.data.Batch` parts.",
        ),
    ]
    assert summary("First.\n\nSee :func:`~a.b`.\n\nArgs:\n    x: y") == "First.\n\nSee `a.b`."
    assert arguments("No sections.") == {}


@pytest.mark.parametrize("registry", [METHODS, DATASETS, NETWORKS], ids=lambda registry: registry.kind)
def test_every_option_of_every_plugin_has_a_type_and_a_meaning(registry):
    for name in registry.names():
        found = registry.get(name)
        for option in options_of(found, getattr(found, "given", NETWORK_GIVEN)):
            assert option.values != "another value", (name, option)
            assert option.meaning or option.name in UNTOLD, (name, option)


def test_the_page_of_a_plugin(bench):
    path = bench.plugin("plain", METHOD)
    assert bench("list", "methods", "plain") == 0
    # A path may be longer than a line of the terminal.
    assert f"file{path}" in "".join(bench.out.split()) and "Scores of logits." in bench.out
    line = next(line for line in bench.out.splitlines() if line.startswith("gain"))
    assert line.split("  ")[0] == "gain" and "a number from 0" in line and "2.0" in line and "factor of" in line
    assert bench("list", "networks", "pspnet-small") == 0 and "encoder_weights" in bench.out
    assert bench("list", "datasets", "minihazards") == 0 and "Rendered by this project" in bench.out.replace(
        "rendered", "Rendered"
    )
    assert bench("list", "protocols", "pooled") == 0 and "Fishyscapes" in bench.out
    assert bench("list", "methods", "msp") == 0 and "double_softmax" in bench.out
    for kind, name in (("methods", "mps"), ("datasets", "minihazard"), ("networks", "pspnat"), ("protocols", "pooles")):
        assert bench("list", kind, name) == 2 and "did you mean" in bench.err, kind


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_tables_fit_the_terminal(bench, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for line in (["list"], ["list", "methods", "knn"], ["list", "datasets", "camvid-ood"], ["list", "networks", "fpn"]):
        assert bench(*line) == 0
        wide = [text for text in bench.out.splitlines() if len(text) > columns]
        assert all(re.match(r"Under |\w[\w -]+: they |\w+ is of |    ", text) for text in wide), (
            line,
            wide,
        )  # prose and code


def test_a_kind_may_be_typed_as_one_word_or_another(bench):
    assert bench("list", "methods", "msp") == 0
    whole = bench.out
    assert bench("list", "method", "msp") == 0 and bench.out == whole
    assert bench("list", "knn") == 2
    assert "Kind: write methods, datasets, networks or protocols before 'knn';" in bench.err


def test_a_network_of_any_size_is_listed_as_it_is_typed(bench):
    assert bench("list", "networks") == 0
    names = re.findall(r"^(\w[\w.-]+) {2,}\S", bench.out, re.MULTILINE)
    assert {"mask2former", "eomt", "pspnet-small"} <= set(names) and not [name for name in names if name[-1] == "-"]


METHOD = '''
from typing import Annotated
from benchmark.method import Method
from benchmark.values import Range

class Plain(Method):
    """Scores of logits.

    Args:
        gain: factor of the scores.
    """
    title = "Plain"
    paper = "nobody"

    def __init__(self, gain: Annotated[float, Range(0)] = 2.0):
        super().__init__()

    def score(self, batch, networks):
        return -networks["base"](batch).logits().amax(dim=1)
'''
