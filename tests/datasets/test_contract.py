"""What every registered dataset must keep, on whatever of it is found under ANOMALY_DATA."""

import dataclasses
import os
import tomllib
from pathlib import Path

import pytest
import torch

from benchmark.data import ANOMALY, IGNORE, SPLITS, Dataset, Sample
from benchmark.errors import BenchmarkError
from benchmark.networks import split_arch
from benchmark.registry import DATASETS, NETWORKS
from benchmark.run.given_network import resolve

ROOT = Path(os.environ.get("ANOMALY_DATA") or "data")
EVERY = pytest.mark.parametrize("name", DATASETS.names())


@EVERY
def test_metadata_is_complete(name):
    cls = DATASETS.get(name)
    card = cls.card
    assert DATASETS.name_of(cls) == name and card.title and card.licence and card.citation
    assert len(card.palette) == len(card.classes) == len(set(card.classes)) <= ANOMALY
    assert len(set(card.palette)) == len(card.palette)
    assert all(len(colour) == 3 and all(0 <= c <= 255 for c in colour) for colour in card.palette)
    assert set(card.sizes) <= set(card.splits) <= set(SPLITS)
    assert split_arch(resolve(cls.policy.network)[0])[0] in NETWORKS.names()
    assert "train" in cls.card.splits or cls.card.trained_on in DATASETS.names()


@EVERY
def test_an_unknown_split_is_an_error(name):
    with pytest.raises(BenchmarkError, match="split"):
        DATASETS.create(name, split="probe", root=ROOT)


def test_published_numbers_belong_to_registered_datasets():
    published = Path(__file__).parents[2] / "results/published"
    about = tomllib.loads((published / "datasets.toml").read_text(encoding="utf-8"))
    assert about and {*about, *(p.stem for p in published.glob("*.csv"))} <= set(DATASETS.names())


@pytest.fixture(scope="module", params=DATASETS.names())
def splits(request):
    """Per split of a dataset that is at hand, the dataset and its first, middle and last sample."""
    cls = DATASETS.get(request.param)
    if not cls.available(ROOT):
        pytest.skip(f"{request.param} is not found under {ROOT.absolute()} (set ANOMALY_DATA)")
    opened = {}
    for split in cls.card.splits:
        data = DATASETS.create(request.param, split=split, root=ROOT)
        opened[split] = data, {i: data[i] for i in sorted({0, len(data) // 2, len(data) - 1})}
    return opened


def test_lengths_are_the_published_ones(splits):
    for split, (data, _) in splits.items():
        assert data.split == split and len(data) > 0
        assert len(data) == data.card.sizes.get(split, len(data))


def test_samples_keep_their_form_and_have_ids_of_their_own(splits):
    for data, samples in splits.values():
        assert len({s.id for s in samples.values()}) == len(samples)
        for sample in samples.values():
            assert sample.id and not Path(sample.id).is_absolute() and ".." not in sample.id
            sample.checked(len(data.classes))
        with pytest.raises(IndexError):
            data[len(data)]


def test_a_second_reading_gives_the_same(splits):
    for split, (data, samples) in splits.items():
        again = DATASETS.create(data.label, split=split, root=ROOT)
        assert again.fingerprint() == data.fingerprint()
        index, sample = list(samples.items())[-1]
        assert again[index].id == sample.id
        assert torch.equal(again[index].image, sample.image) and torch.equal(again[index].labels, sample.labels)


def test_every_split_has_a_fingerprint_of_its_own(splits):
    prints = [data.fingerprint() for data, _ in splits.values()]
    assert all(prints) and len(set(prints)) == len(prints)


def test_anomalies_are_in_the_test_split_only(splits):
    for split, (_, samples) in splits.items():
        assert any(bool((s.labels == ANOMALY).any()) for s in samples.values()) == (split == "test")


def test_labels_say_classes_where_the_dataset_says_so(splits):
    for data, samples in splits.values():
        values = set(torch.cat([s.labels.unique() for s in samples.values()]).tolist())
        assert len(values - {ANOMALY, IGNORE}) > 3 if data.card.class_labels else values <= {0, ANOMALY, IGNORE}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": torch.zeros(3, 4, 6)}, r"image must be uint8 RGB \(3, H, W\), not float32 \(3, 4, 6\)"),
        ({"image": torch.zeros(3, 4, dtype=torch.uint8)}, r"image must be uint8 RGB .*not uint8 \(3, 4\)"),
        ({"image": torch.zeros(4, 4, 6, dtype=torch.uint8)}, r"image must be uint8 RGB .*not uint8 \(4, 4, 6\)"),
        ({"labels": torch.zeros(4, 6)}, r"labels must be uint8 \(H, W\), not float32"),
        ({"labels": torch.zeros(1, 4, 6, dtype=torch.uint8)}, r"labels must be uint8 \(H, W\), not uint8 \(1, 4, 6\)"),
        ({"labels": torch.zeros(6, 4, dtype=torch.uint8)}, "the image is 6x4 pixels, its labels are 4x6"),
        ({"labels": torch.full((4, 6), 2, dtype=torch.uint8)}, r"label id 2 does not exist; known are 0\.\.1"),
        ({"labels": torch.full((4, 6), 253, dtype=torch.uint8)}, "label id 253 does not exist"),
    ],
)
def test_a_sample_that_breaks_one_rule_is_refused(changes, words):
    labels = torch.tensor([0, 1, ANOMALY, IGNORE, 0, 1], dtype=torch.uint8).expand(4, 6)
    whole = Sample("x", torch.zeros(3, 4, 6, dtype=torch.uint8), labels)
    assert whole.checked(2) is whole
    with pytest.raises(BenchmarkError, match=f"^there: .*{words}"):
        dataclasses.replace(whole, **changes).checked(2, "there")


@pytest.mark.parametrize(("name", "kind"), [("sizes", "card = DatasetCard"), ("scales", "policy = Policy")])
def test_what_belongs_into_the_card_or_the_policy_is_not_passed_over(name, kind):
    with pytest.raises(BenchmarkError, match=rf"Pond says '{name}' .* write {kind}\({name}=...\)"):
        type("Pond", (Dataset,), {name: ()})
