"""Photos as people have them: every format, orientation and size, and what is none is named."""

import sys
import types

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import BenchmarkError
from benchmark.maps.infer import resized
from benchmark.maps.photos import Photos, as_image, read_photo, reduce
from tests.datasets.files import noise, write

UPRIGHT = np.zeros((40, 60, 3), np.uint8)
UPRIGHT[:20, :30], UPRIGHT[:20, 30:], UPRIGHT[20:, :30] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT),
    7: np.rot90(UPRIGHT, 2).transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}
"""EXIF's orientation -> how the pixels then lie in the file (the standard's rows and columns)."""


@pytest.mark.parametrize("suffix", ["jpg", "tif", "png", "webp"])
@pytest.mark.parametrize("turned", STORED)
def test_a_photo_is_turned_upright_as_its_exif_says(tmp_path, suffix, turned):
    exif = Image.Exif()
    exif[274] = turned
    path = tmp_path / f"photo.{suffix}"
    lossless = {"jpg": {"quality": 95}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(STORED[turned])).save(path, exif=exif, **lossless)
    for found in (read_photo(path), as_image(Image.open(path)).permute(1, 2, 0).numpy()):
        assert found.shape == UPRIGHT.shape
        assert np.abs(found[[5, 5, 35], [5, 55, 5]].astype(int) - UPRIGHT[[5, 5, 35], [5, 55, 5]]).max() < 12


@pytest.mark.parametrize("suffix", ["bmp", "gif", "ppm", "tga", "jp2", "ico", "pcx", "qoi", "webp", "avif"])
def test_any_format_that_pillow_reads_is_a_photo(tmp_path, suffix):
    path = tmp_path / f"photo.{suffix}"
    try:
        Image.fromarray(UPRIGHT).save(path)
    except (KeyError, OSError, ValueError) as error:
        pytest.skip(f"this Pillow does not write {suffix}: {error}")
    photos = Photos([tmp_path])
    assert len(photos) == 1 and photos[0].id == "photo"
    assert Photos([path])[0].image.shape == photos[0].image.shape


def test_grey_of_16_bits_and_colours_with_alpha(tmp_path):
    deep = np.linspace(0, 65535, 12 * 20).reshape(12, 20).astype(np.uint16)
    found = read_photo(write(tmp_path / "deep.png", deep))
    np.testing.assert_array_equal(found, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=2))
    clear = noise(0, channels=4)
    np.testing.assert_array_equal(read_photo(write(tmp_path / "clear.png", clear)), clear[..., :3])


def test_a_large_photo_is_reduced_and_its_scores_are_enlarged(tmp_path):
    write(tmp_path / "large.png", UPRIGHT)
    write(tmp_path / "small.png", UPRIGHT[:20, :30])
    photos = Photos([tmp_path], longest=30)
    assert [tuple(photos[i].image.shape[1:]) for i in (0, 1)] == [(20, 30), (20, 30)]
    assert photos.sizes == {"large": (40, 60), "small": (20, 30)} and photos.reduced == 1
    np.testing.assert_array_equal(reduce(UPRIGHT, 30)[5, [5, 25]], UPRIGHT[5, [5, 55]])
    ramp = np.tile(np.arange(30, dtype=np.float32), (20, 1))
    larger = resized(ramp, (40, 60))
    np.testing.assert_allclose(larger[3, 1:-1], (np.arange(60)[1:-1] + 0.5) / 2 - 0.5, rtol=1e-5)
    np.testing.assert_allclose(resized(larger, (20, 30))[5, 1:-1], ramp[5, 1:-1], rtol=1e-5)
    ramp[4, 4] = np.inf
    assert np.isfinite(resized(ramp, (40, 60))).all() and resized(ramp, (40, 60))[8, 8] > 1e38


def test_a_fingerprint_is_of_names_contents_and_size(tmp_path):
    path = write(tmp_path / "a.png", noise(0))
    first = Photos([tmp_path]).fingerprint()
    assert Photos([path]).fingerprint() == first != Photos([tmp_path], longest=8).fingerprint()
    write(path, noise(1))
    assert Photos([tmp_path]).fingerprint() != first


def test_what_is_no_photo_is_named(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("no image")
    frames = [Image.fromarray(noise(n)) for n in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    write(tmp_path / "cut.jpg", noise(0, size=(60, 60)))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:500])
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    write(tmp_path / "bomb.png", np.zeros((40, 60), np.uint8))
    for name, words in {
        "notes.txt": "is no image that Pillow can read.",
        "moving.gif": "holds 3 images",
        "cut.jpg": "cannot be decoded",
        "page.eps": "is no image that Pillow can read.",
        "x.heic": "`pip install pillow-heif` reads it",
        "float.tif": "8 or 16 bits a channel",
        "bomb.png": "is too large",
        "none.jpg": "is not there",
    }.items():
        with pytest.raises(BenchmarkError) as caught:
            read_photo(tmp_path / name)
        sentence = str(caught.value)
        assert words in sentence and str(tmp_path / name) in sentence and "\n" not in sentence


def test_heif_is_read_by_the_package_that_reads_it(monkeypatch):
    from benchmark.maps.photos import _formats

    called = []
    fake = types.SimpleNamespace(register_heif_opener=lambda: called.append(1))
    monkeypatch.setitem(sys.modules, "pillow_heif", fake)
    _formats.cache_clear()
    try:
        assert "JPEG" in _formats() and "EPS" not in _formats() and called == [1]
    finally:
        _formats.cache_clear()
