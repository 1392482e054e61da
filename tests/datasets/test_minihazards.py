"""MiniHazards: the same pixels everywhere, all classes everywhere, anomalies in test only."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from benchmark.datasets.minihazards import MiniHazards
from benchmark.datasets.minihazards.anomalies import AIR, GROUND

from benchmark.data import ANOMALY, SPLITS, Sample, image_digest
from benchmark.errors import BenchmarkError

HERE = Path(__file__).resolve().parents[2]
CLASSES = len(MiniHazards.card.classes)


@cache
def sample(split: str, index: int) -> Sample:
    return MiniHazards(split)[index]


def classes_in(split: str, count: int) -> set[int]:
    return {int(v) for i in range(count) for v in np.unique(sample(split, i).labels.numpy())} - {ANOMALY}


def test_pixels_are_the_same_in_another_process_and_in_another_order() -> None:
    script = (
        "from benchmark.data import image_digest\n"
        "from benchmark.datasets.minihazards import MiniHazards\n"
        "d = MiniHazards('test')\n"
        "print(*(image_digest('', d[i].image, d[i].labels) for i in (4, 1)), d.fingerprint())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=HERE, capture_output=True, text=True, check=True)
    here = [image_digest("", one.image, one.labels) for one in (sample("test", 1), sample("test", 4))]
    assert done.stdout.split() == [*reversed(here), MiniHazards("test").fingerprint()]


def test_pixels_are_those_that_the_committed_records_were_measured_on() -> None:
    records = sorted((HERE / "results" / "records" / "minihazards").rglob("*.json"))
    measured = {json.loads(path.read_text(encoding="utf-8"))["dataset"]["fingerprint"] for path in records}
    assert measured == {MiniHazards("test").fingerprint()}


@pytest.mark.parametrize("split", SPLITS)
def test_samples_keep_the_contract(split: str) -> None:
    dataset = MiniHazards(split)
    assert len(dataset) == MiniHazards.card.sizes[split]
    for index in (0, len(dataset) - 1):
        one = dataset[index].checked(CLASSES)
        assert tuple(one.image.shape) == (3, 180, 320)
        assert one.image.is_contiguous() and one.labels.is_contiguous()
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_towns_are_split_as_in_streethazards() -> None:
    towns = {split: {sample(split, i).id.split("/")[0] for i in range(6)} for split in SPLITS}
    assert towns == {"train": {"t1", "t2", "t3"}, "val": {"t4"}, "test": {"t5", "t6"}}
    assert sample("test", 3).id == "t6/3"


@pytest.mark.parametrize("split", SPLITS)
def test_every_class_occurs_in_a_handful_of_images(split: str) -> None:
    assert classes_in(split, 6) == set(range(CLASSES))


@pytest.mark.parametrize("split", ["train", "val"])
def test_no_anomaly_outside_the_test_split(split: str) -> None:
    assert not any((sample(split, i).labels == ANOMALY).any() for i in range(8))


def test_anomalies_can_be_seen_in_every_test_image_and_cover_little() -> None:
    pixels = np.array([int((one.labels == ANOMALY).sum()) for one in MiniHazards("test")])
    assert pixels.min() >= 20
    assert 0.010 <= pixels.mean() / (320 * 180) <= 0.014
    assert np.percentile(pixels, 90) > 10 * np.percentile(pixels, 10)


def test_anomalies_come_from_many_families_that_build() -> None:
    assert len({family.__name__ for family in GROUND + AIR}) >= 12


@pytest.mark.parametrize("split", ["train", "test"])
def test_another_size_shows_the_same_scene(split: str) -> None:
    large = MiniHazards(split, size=(640, 360))[2]
    small = sample(split, 2)
    assert large.id == small.id
    labels = cv2.resize(large.labels.numpy(), (320, 180), interpolation=cv2.INTER_NEAREST)
    assert (labels == small.labels.numpy()).mean() > 0.9
    image = cv2.resize(large.image.permute(1, 2, 0).numpy(), (320, 180), interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - small.image.permute(1, 2, 0).numpy()).mean() < 12


@pytest.mark.parametrize("size", [(96, 54), (101, 77), (200, 200)])
def test_any_size_renders(size: tuple[int, int]) -> None:
    one = MiniHazards("test", size=size)[0].checked(CLASSES)
    assert tuple(one.labels.shape) == size[::-1]


def test_fingerprints_tell_splits_and_sizes_apart() -> None:
    prints = [MiniHazards(split).fingerprint() for split in SPLITS]
    prints.append(MiniHazards("val", size=(160, 90)).fingerprint())
    assert len(set(prints)) == 4


def test_images_differ_from_each_other() -> None:
    images = [sample("train", i).labels.numpy() for i in range(6)]
    for i, one in enumerate(images):
        assert all((one == other).mean() < 0.9 for other in images[:i])


def test_unknown_split_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="no split 'night'"):
        MiniHazards("night")
