"""Published weights of a network: imported once, they stand in for its training where its classes are evaluated."""

from textwrap import dedent

import pytest
import torch
from own_networks import TINY, module

from benchmark.weights.store import digest_file

NAME = "city+weights=city"
RELEASE = """
    from benchmark.released import Release, ReleasedFile

    RELEASED = {{
        "city": Release(
            files=(ReleasedFile("file", "the published city.pth", (("", ""),), sha256="{sha256}"),),
            source="nowhere", license="none", network="city", trained_on="cityscapes", extra=1,
        )
    }}
"""


@pytest.fixture
def city(roads):
    """A family of networks with published weights of 19 classes and an output for what is void."""
    roads.weights = roads.folder / "city.pth"
    torch.save(module(20).state_dict(), roads.weights)
    text = TINY.replace("outputs=0", "outputs=20")
    roads.plugin("city", dedent(text) + dedent(RELEASE).format(sha256=digest_file(roads.weights)))
    return roads


def go(bench, *rest, methods="msp", dataset="road-anomaly"):
    return bench("run", "--network", "city", "--dataset", dataset, "--methods", methods, *rest)


def imported(bench, *files):
    return bench("weights", "import", "city", *files, "--out", bench.runs)


def test_imported_weights_are_those_of_the_file(city):
    assert go(city) == 2 and "Cityscapes" in city.err
    assert imported(city, city.weights) == 0, city.err
    assert "Source: nowhere; licence: none." in city.out
    assert go(city) == 0, city.err
    found = city.record("msp", NAME, "road-anomaly")
    assert found["network"]["weights_sha256"] == digest_file(city.weights)
    assert found["network"]["weights_file"] == "city.pth"
    assert found["network"]["trained"]["imported"]["files"] == [
        {"name": "city.pth", "sha256": digest_file(city.weights)}
    ]
    assert go(city, "--weights", city.weights) == 0 and "msp: current" in city.out
    assert city("weights", "verify", "--out", city.runs) == 0 and "1 of 1" in city.out


def test_the_void_output_is_scored_beside_the_others_or_counts_for_all(city):
    assert imported(city, city.weights) == 0
    assert go(city, methods="msp,void:extra=true") == 0, city.err
    beside = city.record("void+extra=true", NAME, "road-anomaly")
    assert beside["method"]["auxiliary_data"]
    assert go(city, "--classes", "cityscapes+1", methods="void:index=19") == 0, city.err
    stated = "city+classes=cityscapes-and-1+weights=city"
    assert city.record("void+index=19", stated, "road-anomaly")["metrics"] == beside["metrics"]
    assert go(city, methods="deep_ensemble") == 2 and "only one was imported" in city.err


def test_another_file_is_refused(city):
    other = city.folder / "other.pth"
    torch.save(module(20, seed=1).state_dict(), other)
    assert imported(city, other) == 2
    assert f"{other} is not the published city.pth: its SHA-256 is {digest_file(other)}" in city.err
    assert f"`run --network city --weights {other}`" in city.err and not (city.runs / "weights").exists()
    assert imported(city, city.folder / "absent.pth") == 2 and "no such file" in city.err


def test_other_classes_are_trained_as_ever(city):
    assert imported(city, city.weights) == 0
    assert go(city, "--dry-run", dataset="town") == 0 and "train city on town" in city.out


def test_a_damaged_import_is_imported_again(city):
    assert imported(city, city.weights) == 0
    (path,) = (city.runs / "weights").rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-4] + b"\1\2\3\4")
    assert go(city) == 2 and "import it again with `python -m benchmark weights import`" in city.err
