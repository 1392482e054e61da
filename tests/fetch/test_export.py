import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data import ANOMALY, IGNORE, Dataset, DatasetCard, Layout, Sample
from benchmark.errors import BenchmarkError
from benchmark.fetch.export import Exported, export
from benchmark.registry import DATASETS

STREETS = DATASETS.get("streethazards")
TOWNS = {"train": "t1", "val": "t4", "test": "t5"}


class Toy(Dataset):
    """Random images with the 13 classes; a town has 20."""

    card = replace(STREETS.card, title="Toy", layout=None)

    def __init__(self, split, count=20, seed=0, ignored=-1, dies_at=-1):
        super().__init__(split, Path())
        self.count, self.seed, self.ignored, self.dies_at = count, seed, ignored, dies_at

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.dies_at:
            raise KeyboardInterrupt
        rng = np.random.default_rng([self.seed, index, *self.split.encode()])
        labels = rng.integers(0, 13, (9, 16), dtype=np.uint8)
        if self.split == "test":
            labels[2:4, 3:9] = ANOMALY
        if index == self.ignored:
            labels[0, 0] = IGNORE
        image = rng.integers(0, 256, (3, 9, 16), dtype=np.uint8)
        return Sample(f"{TOWNS[self.split]}/{index}", torch.from_numpy(image), torch.from_numpy(labels))

    def fingerprint(self):
        return f"{self.split}{self.count}{self.seed}"


def assert_equal(exported, original, count):
    assert len(exported) == count
    for a, b in zip(exported, original):
        assert a.id == b.id
        assert torch.equal(a.image, b.image) and torch.equal(a.labels, b.labels)


def test_what_is_written_is_read_back_pixel_for_pixel(tmp_path):
    done = export(Toy, STREETS, tmp_path, quiet=True, limit=12)
    assert done == dict.fromkeys(TOWNS, Exported(12, 0))
    for split in TOWNS:
        assert_equal(DATASETS.create("streethazards", split=split, root=tmp_path), Toy(split), 12)
    assert (tmp_path / "test/annotations/test/t5/11.png").is_file()
    assert (tmp_path / "train/images/validation/t4/0.png").is_file()


def test_another_process_writes_the_same(tmp_path):
    assert export(Toy, STREETS, tmp_path, splits=["test"], workers=1, quiet=True) == {"test": Exported(20, 0)}
    assert_equal(DATASETS.create("streethazards", split="test", root=tmp_path), Toy("test"), 20)


def test_an_interrupted_export_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        export(functools.partial(Toy, dies_at=18), STREETS, tmp_path, splits=["test"], quiet=True)
    done = export(Toy, STREETS, tmp_path, splits=["test"], quiet=True)["test"]
    assert done.kept == 16 and done.written == 4
    assert_equal(DATASETS.create("streethazards", split="test", root=tmp_path), Toy("test"), 20)
    assert export(Toy, STREETS, tmp_path, splits=["test"], quiet=True)["test"] == Exported(0, 20)


def test_a_lost_file_is_written_again(tmp_path):
    export(Toy, STREETS, tmp_path, splits=["val"], quiet=True)
    (tmp_path / "train/annotations/validation/t4/7.png").unlink()
    assert export(Toy, STREETS, tmp_path, splits=["val"], quiet=True)["val"] == Exported(1, 19)
    assert_equal(DATASETS.create("streethazards", split="val", root=tmp_path), Toy("val"), 20)


def test_a_torn_list_is_mended(tmp_path):
    export(Toy, STREETS, tmp_path, splits=["val"], quiet=True, limit=3)
    file = tmp_path / "export-val.tsv"
    file.write_text(file.read_text()[:-2])
    assert export(Toy, STREETS, tmp_path, splits=["val"], quiet=True, limit=3)["val"] == Exported(1, 2)
    assert export(Toy, STREETS, tmp_path, splits=["val"], quiet=True, limit=5)["val"] == Exported(2, 3)


def test_other_images_need_another_folder(tmp_path):
    export(Toy, STREETS, tmp_path, splits=["val"], quiet=True, limit=1)
    with pytest.raises(BenchmarkError, match="empty folder"):
        export(functools.partial(Toy, seed=1), STREETS, tmp_path, splits=["val"], quiet=True, limit=1)


def test_ignored_pixels_and_other_classes_cannot_be_exported(tmp_path):
    with pytest.raises(BenchmarkError, match="t4/1 has ignored pixels"):
        export(functools.partial(Toy, ignored=1), STREETS, tmp_path, splits=["val"], quiet=True)

    class Two(Toy):
        card = DatasetCard(classes=("a", "b"))

    with pytest.raises(BenchmarkError, match="2 classes and cannot be exported: the layout of StreetHazards has 13"):
        export(Two, STREETS, tmp_path, quiet=True)


def test_no_file_is_left_half_written(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        export(functools.partial(Toy, dies_at=3), STREETS, tmp_path, splits=["test"], quiet=True)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert files and not [p for p in files if p.name.endswith(".tmp")]


def test_a_dataset_declares_how_others_are_written_like_it(tmp_path):
    """Labels may be any permutation of values, a folder may come after the id, and ignored pixels may have a value."""
    values = {**{c: 100 - c for c in range(13)}, ANOMALY: 7, IGNORE: 0}
    folders = {"test": "pictures/{id}/image.png"}, {"test": "truth/{id}.png"}
    like = type("Like", (Toy,), {"card": replace(Toy.card, title="Like", layout=Layout(*folders, values))})
    export(functools.partial(Toy, ignored=1), like, tmp_path, splits=["test"], limit=2, quiet=True)
    original = Toy("test", ignored=1)[1]
    written = np.asarray(Image.open(tmp_path / "truth/t5/1.png"))
    assert (
        np.asarray(Image.open(tmp_path / "pictures/t5/1/image.png")) == original.image.permute(1, 2, 0).numpy()
    ).all()
    assert all((written[original.labels.numpy() == label] == value).all() for label, value in values.items())
    with pytest.raises(BenchmarkError, match="toy does not say how its files are laid out; name another by --as"):
        export(Toy, Toy, tmp_path)


def test_the_command_takes_the_layout_that_the_dataset_names(bench):
    where = bench.folder / "out"
    assert bench("export", "minihazards", where, "--limit", "1", "--size", "32x24", "--quiet") == 0, bench.err
    assert f"run --dataset streethazards --data {where}" in bench.out
    assert len(DATASETS.create("streethazards", split="test", root=where)) == 1
    assert bench("export", "town", where) == 2
    assert "town does not say whose layout it takes; name one by --as streethazards" in bench.err
    assert bench("export", "town", where, "--as", "streethazards") == 2 and "town has 4 classes" in bench.err
    assert bench("export", "town", where, "--as", "town") == 2 and "town does not say how its files" in bench.err
