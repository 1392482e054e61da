"""Options that a dataset's policy chose are the best of a sweep whose records are here, or the page says what they are.

The table below "How settings are chosen" in results/README.md has a row for every such option.
"""

import re
from pathlib import Path

import pytest

from benchmark.records.record import read
from benchmark.registry import DATASETS, METHODS
from benchmark.values import format_call, parse_call
from tests.test_pages import table

RESULTS = Path(__file__).resolve().parents[2] / "results"
NETWORKS = {"`S`": False, "`F`": True}
"""As the page calls CamVid-OOD's two networks: whether its encoder is pretrained."""
GAIN = 0.5
"""Points of AUPR from which on the page says that another value takes the place of a default."""


def policy_of(network):
    return DATASETS.get("camvid-ood").policy.of(pretrained=NETWORKS[network])


def sweep(network):
    """Method -> label -> AUPR per image in percent, of the pasted validation images with that network."""
    home = RESULTS / "records" / "pasted+base=camvid-ood" / policy_of(network).network.replace(":", "+")
    found = {}
    for path in sorted(home.glob("*.json")):
        record = read(path)
        if "encoder" not in parse_call(record.method.label)[1]:  # other features were chosen by a search of their own
            found.setdefault(record.method.name, {})[record.method.label] = 100 * record.metrics["per-image"].aupr
    return found


def label(name, options):
    return METHODS.create(format_call(name, options)).label


def rows(network):
    page = table(RESULTS / "README.md", "## How settings are chosen")
    return {row["chosen"].strip("`"): row for row in page if row["network"] == network}


def test_only_one_dataset_chooses_options():
    """The page speaks of no other."""
    chosen = {
        name for name in DATASETS.names() for p in (False, True) if DATASETS.get(name).policy.of(p).method_options
    }
    assert chosen == {"camvid-ood"}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_choice_has_a_row_and_no_other(network):
    chosen = {label(name, options) for name, options in policy_of(network).method_options.items()}
    assert set(rows(network)) == chosen


@pytest.mark.parametrize("network", NETWORKS)
def test_a_choice_is_the_best_of_what_was_measured(network):
    """Or its row says in words why there is nothing to choose, or in which commit it was measured."""
    measured, told = sweep(network), rows(network)
    for name, options in policy_of(network).method_options.items():
        chosen, values = label(name, options), measured.get(name, {})
        row = told[chosen]
        if len(values) < 2:
            assert re.search(r"no default there|commit [0-9a-f]{7}", row["among"]), chosen
            continue
        assert max(values, key=values.get) == chosen, values
        default = label(name, {})
        assert values[chosen] >= values[default] + GAIN, "too little to leave the default for"
        others = sorted((value for other, value in values.items() if other != chosen), reverse=True)
        assert row["AUPR"] == f"{values[chosen]:.1f}"
        assert [float(value) for value in row["among"].split(", ")] == [round(value, 1) for value in others]


def test_where_nothing_was_chosen_the_default_is_as_good():
    """Of `S` there are no records."""
    assert not sweep("`S`")
    chosen = policy_of("`F`").method_options
    left = {name: values for name, values in sweep("`F`").items() if name not in chosen and len(values) > 1}
    assert left
    for name, values in left.items():
        assert max(values.values()) < values[label(name, {})] + GAIN, values
