"""A record survives the disk, refuses what is none, and says in words why it is stale."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_records import OTHER_PARTS, WHOLE, measurement, other, record

from benchmark.errors import BenchmarkError
from benchmark.records.identity import Identity
from benchmark.records.record import Measurement, network_label, read, read_all, record_path


def test_round_trip_and_layout(tmp_path):
    made = record(others={"member1": other()}, scales=(300, 600))
    path = made.write(tmp_path)
    assert read(path) == made
    text = path.read_text()
    assert text.endswith("}\n")
    assert '"scales": [300, 600]' in text
    assert path.name == "msp.json"
    assert path.parent.name == "net-small+scales=300-600+max_size=1000"
    assert read(path).write(tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("saw", [False, True, "synthetic"])
def test_what_outliers_a_method_saw_comes_back(saw, tmp_path):
    path = record(auxiliary=saw).write(tmp_path)
    assert read(path).method.auxiliary_data is saw or read(path).method.auxiliary_data == saw == "synthetic"
    path.write_text(path.read_text().replace(f'"auxiliary_data": {json.dumps(saw)}', '"auxiliary_data": "some"'))
    with pytest.raises(BenchmarkError, match="auxiliary_data"):
        read(path)


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40), st.integers(0, 3))
def test_every_label_has_a_file_of_its_own(one, two, seed):
    paths = [record_path("r", "d", "n", label, seed) for label in (one, two)]
    assert (paths[0] == paths[1]) == (one == two)
    assert all(p.parent == record_path("r", "d", "n", "m").parent for p in paths)


def test_the_seed_is_in_the_file_name():
    assert record_path("r", "d", "a:k=v", "m:t=0.5", 2).as_posix() == "r/records/d/a+k=v/m+t=0.5+seed2.json"


def test_network_label_shows_what_is_not_the_default():
    assert network_label("a", {"head": "cosine"}, (1, 2), 0, (1, 2)) == "a:head=cosine"
    assert network_label("a", {}, (1, 2), 9, (1, 2)) == "a:max_size=9", "two settings never share a folder"
    assert network_label("a", {}, (), 0, (1, 2)) == "a:scales=native"


def test_values_that_are_not_finite_become_null_with_a_reason(tmp_path):
    bad = Measurement(
        1, "per-image", 3, auroc=float("nan"), aupr=float("inf"), fpr95=0.5,
        extra={"efpr": float("nan")}, intervals={"auroc": [float("nan"), 1.0], "fpr95": [0.4, 0.6]},
    )  # fmt: skip
    path = record(metrics={"p": bad}).write(tmp_path)
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    found = read(path).metrics["p"]
    assert (found.auroc, found.aupr, found.extra) == (None, None, {"efpr": None})
    assert found.missing == {"auroc": "not a number", "aupr": "infinite", "efpr": "not a number"}
    assert found.intervals == {"fpr95": [0.4, 0.6]}


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = record(aupr=0.2).write(tmp_path)
    old = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchmarkError, match=r"msp\.json.*the disk is full"):
        record(aupr=0.3).write(tmp_path)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = record(aupr=0.2).write(tmp_path)
    old = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(aupr=0.3).write(tmp_path)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def _edited(change):
    def edit(text):
        data = json.loads(text)
        change(data)
        return json.dumps(data)

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text[:300], "not a whole record"),
        (lambda text: "", "not a whole record"),
        (lambda text: '{"a": 1}', "not a record of this benchmark"),
        (lambda text: "[1]", "not a record of this benchmark"),
        (_edited(lambda d: d.update(schema=99)), "schema 99"),
        (_edited(lambda d: d["method"].pop("version")), r"'method\.version' is missing"),
        (_edited(lambda d: d["dataset"].update(images="many")), r"'dataset\.images' is not an integer"),
        (_edited(lambda d: d["cost"].update(joules=1)), r"unknown field 'cost\.joules'"),
    ],
)
def test_what_is_no_record_is_named_and_leaves_the_others(tmp_path, edit, words):
    good = record("dicnet")
    good.write(tmp_path)
    bad = record("msp", label="msp:t=0.5").write(tmp_path)
    bad.write_text(edit(bad.read_text()))
    with pytest.raises(BenchmarkError, match=words) as caught:
        read(bad)
    assert str(bad) in str(caught.value)
    assert "python -m benchmark run --force --dataset toyset --methods msp:t=0.5'" in str(caught.value)
    records, problems = read_all(tmp_path)
    assert records == [good]
    assert problems == [str(caught.value)]


def test_a_copied_record_counts_once(tmp_path):
    path = record().write(tmp_path)
    copy = path.with_name("msp+seed1.json")
    copy.write_bytes(path.read_bytes())
    records, problems = read_all(tmp_path)
    assert len(records) == 1
    assert "msp+seed1.json is the record of" in problems[0]


def test_what_is_deleted_while_it_is_looked_through_is_left_out(tmp_path, monkeypatch):
    record(dataset="kept").write(tmp_path)
    gone = record(dataset="gone").write(tmp_path).parent
    listed = os.scandir

    def scandir(place):
        if Path(place) == gone:
            gone.rename(tmp_path / "bin")
        return listed(place)

    monkeypatch.setattr(os, "scandir", scandir)
    records, problems = read_all(tmp_path)
    assert [each.dataset.name for each in records] == ["kept"] and problems == [] and not gone.exists()


def test_nothing_measured_is_no_error(tmp_path):
    assert read_all(tmp_path / "nowhere") == ([], [])


STALE = {
    "images or labels changed from f00df00df0 to beef": {"fingerprint": "beef"},
    "number of images changed from all to the first 3": {"limit": 3},
    "the network's training": {"network": "toyset/net-small-m0-other"},
    "the network's option head changed from unset to cosine": {"options": {"head": "cosine"}},
    "test scales changed from native size to 300, 600 (at most 1000)": {"scales": (300, 600), "max_size": 1000},
    "the network's weights changed from 0000000000 to ffffffffff": {"weights": "f" * 64},
    "the method now needs a network 'extra'": {"others": {"member1": ("a", "1"), "extra": ("b", None)}},
    "the method no longer needs the network 'member1'": {"others": {}},
    "the network 'member1' changed from a to b": {"others": {"member1": ("b", "1")}},
    "the weights of the network 'member1' changed from 1 to 2": {"others": {"member1": ("a", "2")}},
    "the method's option t changed from 0.999 to 1": {"config": {"t": 1}},
    "the method's version changed from 1 to 2": {"version": 2},
    "what the method is fitted with changed": {"fit": ("fits/toy-2", "ab" * 32)},
    "the method's fitted weights changed from ababababab to cdcdcdcdcd": {"fit": ("fits/toy-1", "cd" * 32)},
    "the protocol pooled's version changed from 1 to 2": {"protocols": {"pooled": 2}},
    "the protocol densehybrid is not measured yet": {"protocols": {"densehybrid": 1}},
}


@pytest.mark.parametrize(("words", "change"), STALE.items())
def test_a_stale_record_says_which_part_changed(words, change):
    made = record(others={"member1": other("a", "1")})
    reasons = made.stale(dataclasses.replace(made.identity, **change))
    assert len(reasons) == 1
    assert words in reasons[0]


@pytest.mark.parametrize("part", [each.name for each in dataclasses.fields(Identity)])
def test_no_part_of_an_identity_changes_unnoticed(part):
    """A part that is new has no other value here, so that this test fails until it has."""
    assert WHOLE.differences(WHOLE) == []
    assert len(WHOLE.differences(dataclasses.replace(WHOLE, **{part: OTHER_PARTS[part]}))) == 1


def test_a_current_record_is_not_stale(tmp_path):
    made = record(others={"member1": other("a", "1")})
    unknown = dataclasses.replace(
        made.identity, weights=None, fit=("fits/toy-1", None), others={"member1": ("a", None)}, protocols={"pooled": 1}
    )
    assert read(made.write(tmp_path)).stale(unknown) == []


def test_a_tuple_in_a_configuration_is_not_stale_after_reading(tmp_path):
    made = dataclasses.replace(record(), method=dataclasses.replace(record().method, config={"sizes": (1, 2)}))
    assert read(made.write(tmp_path)).stale(made.identity) == []


def test_the_first_protocol_of_an_aggregation_stays_first(tmp_path):
    made = record(metrics={"zeta": measurement(), "alpha": measurement()})
    assert list(read(made.write(tmp_path)).metrics) == ["zeta", "alpha"]


@pytest.mark.parametrize(
    ("seed", "limit", "words"),
    [
        (0, None, "run --force --dataset d --methods m:t=0.5'"),
        (2, None, "m:t=0.5 --repetition 2'"),
        (1, 9, "--repetition 1 --limit 9'"),
    ],
)
def test_what_measures_a_broken_record_again_is_the_whole_command(tmp_path, seed, limit, words):
    path = record_path(tmp_path, "d", "n", "m:t=0.5", seed, limit)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(BenchmarkError, match="measure it again") as error:
        read(path)
    assert words in str(error.value)
