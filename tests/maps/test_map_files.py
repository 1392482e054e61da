"""Score maps survive their files: exactly in float32, in their order in 16 bits."""

import sys

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.maps.files import from_half_codes, half_codes, read_scores, write_scores


@pytest.fixture
def scores():
    values = np.random.default_rng(0).normal(0, 40, (30, 50)).astype(np.float32)
    values[0, :6] = np.inf, -np.inf, 0.0, -0.0, 1e-30, -65504
    return values


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_float32_comes_back_as_it_was(tmp_path, scores, suffix):
    write_scores(tmp_path / "t" / f"a.b{suffix}", scores)
    back = read_scores(tmp_path / "t" / f"a.b{suffix}")
    assert back.dtype == np.float32 and back.tobytes() == scores.tobytes()
    assert len(list(tmp_path.rglob("*.*"))) == 1, "nothing but the map"


def test_a_png_keeps_the_order_of_float16(tmp_path, scores):
    write_scores(tmp_path / "a.png", scores)
    codes = read_scores(tmp_path / "a.png").astype(np.int64).ravel()
    half = scores.astype(np.float16).astype(np.float32).ravel()
    order = np.argsort(half, kind="stable")
    assert (np.diff(codes[order]) >= 0).all()
    assert ((np.diff(half[order]) > 0) == (np.diff(codes[order]) > 0)).all()
    assert (from_half_codes(codes) == half).all()
    assert half_codes(np.zeros((1, 1))) == 32768


def test_what_16_bits_cannot_hold_is_refused(tmp_path, scores):
    scores[3, 3] = 7e4
    with pytest.raises(BenchmarkError, match=r"exceed the range of float16 .* --format npy or tif"):
        write_scores(tmp_path / "a.png", scores)
    assert not list(tmp_path.iterdir())
    write_scores(tmp_path / "a.npy", scores)


def test_hdf5_as_segmentmeifyoucan_reads_it(tmp_path, scores):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    write_scores(tmp_path / "a.hdf5", scores)
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert file["value"].dtype == np.float16 and file["value"].shape == (30, 50)
    assert (read_scores(tmp_path / "a.hdf5") == scores.astype(np.float16)).all()
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["scores"] = scores
    with pytest.raises(BenchmarkError, match="no dataset named 'value'"):
        read_scores(tmp_path / "b.hdf5")


def test_hdf5_that_would_be_read_as_zeros_is_refused(tmp_path, scores):
    """Chunks that a kill left out, and numbers in other files, HDF5 reads as its fill value."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path, other = tmp_path / "a.hdf5", tmp_path / "other.hdf5"
    write_scores(other, scores)
    elsewhere = h5py.VirtualLayout(scores.shape, np.float32)
    elsewhere[:] = h5py.VirtualSource(str(tmp_path / "gone.hdf5"), "value", scores.shape)

    def half(file):
        file.create_dataset("value", scores.shape, np.float32, chunks=(10, 10))[:10] = scores[:10]

    cases = {
        "is not written to its end": (half, lambda file: file.create_dataset("value", scores.shape, np.float32)),
        "keeps its numbers in other files": (
            lambda file: file.create_virtual_dataset("value", elsewhere),
            lambda file: file.create_dataset("value", (2, 2), np.float32, external=[(str(other), 0, 16)]),
        ),
        "holds no dataset named 'value'": (
            lambda file: file.create_group("value"),
            lambda file: file.update({"value": h5py.ExternalLink(str(other), "value")}),
            lambda file: file.update({"value": h5py.SoftLink("/value")}),
        ),
        "a score map is": (lambda file: file.create_dataset("value", data=h5py.Empty("f")),),
    }
    for says, makes in cases.items():
        for make in makes:
            with h5py.File(path, "w") as file:
                make(file)
            with pytest.raises(BenchmarkError, match=says):
                read_scores(path)
    for options in ({}, {"chunks": (7, 9)}, {"compression": "gzip", "fletcher32": True}):
        with h5py.File(path, "w") as file:
            file.create_dataset("value", data=scores, **options)
        assert (read_scores(path) == scores).all()


def test_hdf5_without_its_package_is_one_sentence(tmp_path, scores, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for use in (lambda path: write_scores(path, scores), read_scores):
        with pytest.raises(BenchmarkError, match="need the package h5py; install it"):
            use(tmp_path / "a.hdf5")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path, scores):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match=r"Cannot write .*a\.npy"):
        write_scores(tmp_path / "file" / "a.npy", scores)
