import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data import ANOMALY
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from tests.datasets.files import ids, noise, streethazards, write


def open_split(split, root):
    return DATASETS.create("streethazards", split=split, root=root)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (".", "."),
        ("streethazards", "streethazards"),
        ("StreetHazards", "StreetHazards"),
        ("streethazards_train", "streethazards_test"),
        ("StreetHazards/streethazards_train", "StreetHazards/streethazards_test"),
    ],
)
def test_every_way_of_unpacking_is_found(tmp_path, train, test):
    streethazards(tmp_path / train, tmp_path / test)
    assert DATASETS.get("streethazards").available(tmp_path)
    assert [s.id for s in open_split("train", tmp_path)] == ["t1/2", "t1/10"]
    assert [s.id for s in open_split("val", tmp_path)] == ["t4/2", "t4/10"]
    assert [s.id for s in open_split("test", tmp_path)] == ["t5/2", "t5/10", "t6/2", "t6/10"]


def test_where_the_archives_lie_does_not_change_the_fingerprint(tmp_path):
    streethazards(tmp_path / "a", tmp_path / "a")
    streethazards(tmp_path / "b" / "streethazards_train", tmp_path / "b" / "streethazards_test")
    assert open_split("test", tmp_path / "a").fingerprint() == open_split("test", tmp_path / "b").fingerprint()


@pytest.mark.parametrize("channels", [3, 4])
def test_pixels_are_those_of_the_file_and_labels_start_at_zero(tmp_path, channels):
    streethazards(tmp_path, tmp_path, channels)
    sample = open_split("test", tmp_path)[0]
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), noise(22, channels)[..., :3])
    raw = torch.from_numpy(ids(1, 14)).long()
    expected = torch.where(raw == 14, ANOMALY, raw - 1)
    assert torch.equal(sample.labels.long(), expected)


def broken(tmp_path, mend):
    streethazards(tmp_path, tmp_path)
    image = tmp_path / "test/images/test/t5/2.png"
    label = tmp_path / "test/annotations/test/t5/2.png"
    mend(image, label)
    with pytest.raises(BenchmarkError) as caught:
        open_split("test", tmp_path)[0]
    return str(caught.value), str(image), str(label)


@pytest.mark.parametrize("value", [0, 15, 255])
def test_an_id_that_does_not_exist_is_named(tmp_path, value):
    def mend(image, label):
        pixels = ids(1, 14)
        pixels[3, 4] = value
        write(label, pixels)

    message, _, label = broken(tmp_path, mend)
    assert label in message and f"value {value} " in message and "1..14" in message


def test_an_anomaly_in_training_is_an_error(tmp_path):
    streethazards(tmp_path, tmp_path)
    path = write(tmp_path / "train/annotations/training/t1/2.png", ids(1, 14))
    with pytest.raises(BenchmarkError, match=r"value 14 is no label of the train split.*1\.\.13") as caught:
        open_split("train", tmp_path)[0]
    assert str(path) in str(caught.value)


def test_a_missing_label_is_named_when_opening(tmp_path):
    streethazards(tmp_path, tmp_path)
    (tmp_path / "test/annotations/test/t6/10.png").unlink()
    with pytest.raises(BenchmarkError, match=r"images/test/t6/10\.png has no label"):
        open_split("test", tmp_path)


def test_a_missing_image_is_named_when_opening(tmp_path):
    streethazards(tmp_path, tmp_path)
    (tmp_path / "test/images/test/t6/10.png").unlink()
    with pytest.raises(BenchmarkError, match=r"annotations/test/t6/10\.png has no image"):
        open_split("test", tmp_path)


def test_sizes_that_differ_are_named(tmp_path):
    message, image, label = broken(tmp_path, lambda image, label: write(label, ids(1, 14, (12, 21))))
    assert image in message and label in message and "21x12" in message and "20x12" in message


def test_colour_labels_are_refused(tmp_path):
    message, _, label = broken(tmp_path, lambda image, label: write(label, noise(0)))
    assert label in message and "RGB" in message


@pytest.mark.parametrize("keep", [20, 60, -24])
@pytest.mark.parametrize("which", [0, 1])
def test_a_truncated_file_is_named(tmp_path, which, keep):
    def mend(*paths):
        paths[which].write_bytes(paths[which].read_bytes()[:keep])

    message, *paths = broken(tmp_path, mend)
    assert paths[which] in message and "truncated" in message


def test_palette_labels_are_read_as_indices(tmp_path):
    streethazards(tmp_path, tmp_path)
    label = Image.fromarray(ids(1, 14)).convert("P")
    label.putdata(ids(1, 14).ravel().tolist())
    label.save(tmp_path / "test/annotations/test/t5/2.png")
    assert open_split("test", tmp_path)[0].labels[0, 0] == 0


def test_absent_files_are_an_error_that_names_the_root(tmp_path):
    assert not DATASETS.get("streethazards").available(tmp_path)
    with pytest.raises(BenchmarkError, match=r"streethazards_test\.tar") as caught:
        open_split("test", tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_hidden_files_are_no_images(tmp_path):
    streethazards(tmp_path, tmp_path)
    (tmp_path / "test/images/test/t5/._2.png").write_bytes(b"resource fork")
    (tmp_path / "test/images/test/t5/Thumbs.db").write_bytes(b"")
    assert len(open_split("test", tmp_path)) == 4


@pytest.mark.parametrize("place", [0, -1])
def test_the_fingerprint_sees_both_ends_of_a_large_file(tmp_path, place):
    streethazards(tmp_path, tmp_path)
    path = tmp_path / "test/images/test/t5/2.png"
    content = bytearray(20_000)
    path.write_bytes(content)
    before = open_split("test", tmp_path).fingerprint()
    content[place] = 1
    path.write_bytes(content)
    assert open_split("test", tmp_path).fingerprint() != before


def test_the_fingerprint_follows_the_files(tmp_path):
    streethazards(tmp_path, tmp_path)
    before = open_split("test", tmp_path).fingerprint()
    assert open_split("test", tmp_path).fingerprint() == before
    changed = ids(1, 14)
    changed[0, 0] = 9
    write(tmp_path / "test/annotations/test/t6/10.png", changed)
    assert open_split("test", tmp_path).fingerprint() != before
