"""The authors' own files of Fishyscapes; the widespread copies are tested with the other evaluation-only sets."""

import numpy as np
import pytest
import torch

from benchmark.data import ANOMALY, IGNORE
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from tests.datasets.files import lost_and_found, noise, write

RAW = np.resize(np.array([0, 1, 255], np.uint8), (12, 20))
LABELS = torch.tensor([0, ANOMALY] + [IGNORE] * 254, dtype=torch.uint8)[torch.from_numpy(RAW).int()]
LOST = ("04_Maurener_Weg_8_000000_000030", "13_Elly_Beinhorn_Str_000001_000260")
CITY = ("frankfurt_000000_000294", "munster_000001_000019")


def open_test(name, root):
    return DATASETS.create(name, split="test", root=root)


def fishyscapes_lost_and_found(root):
    """The label archive beside Lost and Found; one image is of its test, one of its train split."""
    lost_and_found(root / "lost_and_found", LOST, RAW)
    images = root / "lost_and_found/leftImg8bit"
    (images / "train").mkdir()
    (images / "test/13_Elly_Beinhorn_Str").rename(images / "train/13_Elly_Beinhorn_Str")
    for i, name in enumerate(LOST):
        write(root / f"fishyscapes_lostandfound/{i:04}_{name}_labels.png", RAW)


def static(root, dtype=np.int64):
    """The overlay archive beside Cityscapes; the overlays reach below 0 and above 255."""
    for i, name in enumerate(CITY):
        write(root / f"cityscapes/leftImg8bit/val/{name.partition('_')[0]}/{name}_leftImg8bit.png", noise(i))
        write(root / f"fs_val_v3/{i:04}_{name}_labels.png", RAW)
        np.savez_compressed(root / f"fs_val_v3/{i:04}_{name}_rgb.npz", rgb=overlay(i).astype(dtype))


def overlay(i):
    return noise(100 + i).astype(int) - noise(200 + i)


def test_labels_of_the_archive_find_their_images_in_lost_and_found(tmp_path):
    fishyscapes_lost_and_found(tmp_path)
    assert DATASETS.get("fishyscapes-lost-and-found").available(tmp_path)
    data = open_test("fishyscapes-lost-and-found", tmp_path)
    assert [s.id for s in data] == [f"{i:04}_{name}" for i, name in enumerate(LOST)]
    for i, sample in enumerate(data):
        assert torch.equal(sample.labels, LABELS)
        assert torch.equal(sample.image, torch.from_numpy(noise(i)).permute(2, 0, 1))


def test_labels_without_images_are_not_found_or_named(tmp_path):
    fishyscapes_lost_and_found(tmp_path)
    (tmp_path / "lost_and_found/leftImg8bit/test" / LOST[0].rsplit("_", 2)[0]).rename(tmp_path / "elsewhere")
    with pytest.raises(BenchmarkError, match=r"0000_04_.*_labels\.png has no image .*_000000_000030_leftImg8bit\.png"):
        open_test("fishyscapes-lost-and-found", tmp_path)
    (tmp_path / "lost_and_found").rename(tmp_path / "gone")
    with pytest.raises(
        BenchmarkError, match=r"nor fishyscapes_lostandfound/ beside lost_and_found/leftImg8bit; .* fetch "
    ):
        open_test("fishyscapes-lost-and-found", tmp_path)


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.float32])
def test_overlays_are_added_to_cityscapes_and_clipped(tmp_path, dtype):
    static(tmp_path, dtype)
    data = open_test("fishyscapes-static", tmp_path)
    assert [s.id for s in data] == [f"{i:04}_{name}" for i, name in enumerate(CITY)]
    for i, sample in enumerate(data):
        expected = np.clip(noise(i).astype(int) + overlay(i), 0, 255)
        assert torch.equal(sample.image.long(), torch.from_numpy(expected).permute(2, 0, 1))
        assert torch.equal(sample.labels, LABELS)


def test_a_changed_overlay_changes_the_fingerprint(tmp_path):
    static(tmp_path)
    before = open_test("fishyscapes-static", tmp_path).fingerprint()
    np.savez_compressed(tmp_path / f"fs_val_v3/0001_{CITY[1]}_rgb.npz", rgb=overlay(5))
    assert open_test("fishyscapes-static", tmp_path).fingerprint() != before


@pytest.mark.parametrize(
    "content", [{"bgr": overlay(0)}, {"rgb": np.zeros((3, 4, 3), int)}, {"rgb": np.array([None, {}])}, b"PK no zip"]
)
def test_a_file_that_is_no_overlay_is_named_and_never_unpickled(tmp_path, content):
    static(tmp_path)
    path = tmp_path / f"fs_val_v3/0000_{CITY[0]}_rgb.npz"
    path.write_bytes(content) if isinstance(content, bytes) else np.savez(path, **content)
    with pytest.raises(BenchmarkError, match=r"0000_frankfurt.*_rgb\.npz is no overlay for .*frankfurt.*png"):
        open_test("fishyscapes-static", tmp_path)[0]


@pytest.mark.parametrize(
    ("gone", "archive"),
    [
        (f"fs_val_v3/0000_{CITY[0]}_rgb.npz", "fs_val_v3.zip"),
        (f"cityscapes/leftImg8bit/val/frankfurt/{CITY[0]}_leftImg8bit.png", "leftImg8bit_trainvaltest.zip of Cityscap"),
    ],
)
def test_a_missing_part_of_an_image_is_named(tmp_path, gone, archive):
    static(tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(BenchmarkError, match=f"{gone}; unpack {archive}"):
        open_test("fishyscapes-static", tmp_path)


def test_images_beside_their_masks(tmp_path):
    for i in range(2):
        write(tmp_path / f"fs_static_val/000{i}_rgb.jpg", noise(i))
        write(tmp_path / f"fs_static_val/000{i}_labels.png", RAW)
    data = open_test("fishyscapes-static", tmp_path)
    assert [s.id for s in data] == ["0000", "0001"] and torch.equal(data[1].labels, LABELS)
