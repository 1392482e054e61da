"""``infer`` gives images without labels the scores that ``run`` measures, trains nothing and loses nothing."""

import os
import shlex
import shutil
import sys

import cv2
import numpy as np
import pytest
from harness import FAILING, NUMBERED, fresh_registries
from PIL import Image
from pretended_gpu import pretended_gpu

from benchmark.cli import main as cli
from benchmark.io.jsonfile import to_plain
from benchmark.maps.files import read_scores, write_scores
from benchmark.maps.score import score_directory
from benchmark.run.contract import Toy


@pytest.fixture
def photos(bench):
    """The test images of the town as files, without labels."""
    folder = bench.folder / "photos"
    for sample in Toy("test", bench.data):
        path = folder / f"{sample.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(path)
    return folder


def maps(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.mark.parametrize("form", ["npy", "tif"])
def test_the_maps_of_a_labelled_set_measure_exactly_as_its_records(bench, photos, form):
    assert bench("run", "--methods", "msp,dicnet") == 0
    weights = maps(bench.runs / "weights")
    assert bench("infer", photos, "--methods", "msp,dicnet", "--to", bench.folder / "m", "--format", form) == 0
    assert maps(bench.runs / "weights") == weights
    for label in ("msp", "dicnet"):
        report = score_directory(bench.folder / "m" / label, Toy("test", bench.data))
        for name, measured in bench.record(label)["metrics"].items():
            assert to_plain(report.metrics[name]) == measured


def test_on_a_gpu_they_are_those_of_the_cpu_and_no_clock_waits(bench, photos):
    """A pretended one; a batch waits for the scores of every method, which are written at once, and for its border."""
    line = [photos, "--methods", "msp,energy", "--to"]
    assert bench("train", "--methods", "msp,energy") == 0
    assert bench("infer", *line, bench.folder / "cpu") == 0
    with pretended_gpu() as waits:
        assert bench("infer", *line, bench.folder / "gpu", "--device", "cuda", "--workers", "0") == 0, bench.err
    for label in ("msp", "energy"):
        assert maps(bench.folder / "gpu" / label) == maps(bench.folder / "cpu" / label)
    inner = {"maps/infer.py": 8, "isolation/seals.py": 8, "cost_meter.py": 0, "run/scoring.py": 0}
    assert {
        file: sum(n for place, n in waits.found.items() if place[0] == f"benchmark/{file}") for file in inner
    } == inner


def test_without_images_the_datasets_own_are_scored(bench, photos):
    assert bench("train", "--methods", "msp") == 0
    assert bench("infer", "--methods", "msp") == 0
    made = bench.runs / "scores" / "town-pspnet-small" / "test"
    assert "4 score maps written" in bench.out and str(made / "msp") in bench.out
    assert bench("infer", photos, "--methods", "msp", "--to", bench.folder / "m") == 0
    assert maps(bench.folder / "m" / "msp") == maps(made / "msp")


def test_what_is_not_trained_is_not_trained_now_and_the_command_that_mends_it_works(bench, photos):
    line = [photos, "--methods", "msp,dicnet", "--recipe", "segmentation.batch_size=3"]
    assert bench("infer", *line) == 2
    assert bench.err.startswith("error: Not trained yet: the network town/pspnet-small") and bench.err.count("\n") == 1
    assert not bench.runs.exists()
    mend = bench.err.split("`")[1]
    assert mend.startswith("python -m benchmark train --plugin ")
    with fresh_registries():
        assert cli.main(shlex.split(mend)[3:]) == 0
    assert bench("infer", *line) == 0


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_scored(bench, photos):
    assert bench("train", "--methods", "msp") == 0
    cut = photos / "toy" / "0.png"
    cut.write_bytes(cut.read_bytes()[:300])
    (photos / "notes.txt").write_text("no image")
    assert bench("infer", photos, "--methods", "msp", "--to", "m", "--pictures") == 2
    (line,) = bench.err.splitlines()
    assert line.startswith(f"skipped: {cut} cannot be decoded")
    assert "3 score maps written" in bench.out
    names = {path.stem for path in (bench.folder.parent / "m" / "msp").rglob("*.npy")}
    assert names == {"1", "2", "3"}


def test_what_is_there_is_kept_unless_forced(bench, photos, forwards):
    assert bench("train", "--methods", "msp,energy") == 0
    folder = bench.folder / "m"
    assert bench("infer", photos, "--methods", "msp", "--to", folder) == 0
    before = maps(folder)
    forwards.clear()
    assert bench("infer", photos, "--methods", "msp", "--to", folder) == 0
    assert "0 score maps written, 4 kept" in bench.out and not forwards and maps(folder) == before
    (folder / "msp" / "toy" / "2.npy").unlink()
    np.save(folder / "msp" / "toy" / "1.npy", np.zeros((48, 64), np.float32))
    assert bench("infer", photos, "--methods", "msp,energy", "--to", folder) == 0
    assert "msp: 1 score map written, 3 kept" in bench.out and "energy: 4 score maps written" in bench.out
    assert not read_scores(folder / "msp" / "toy" / "1.npy").any()
    assert bench("infer", photos, "--methods", "msp", "--to", folder, "--force") == 0
    assert {name: content for name, content in maps(folder).items() if name in before} == before


def test_the_map_of_a_photo_that_was_replaced_under_its_name_is_made_anew(bench, photos):
    assert bench("train", "--methods", "msp") == 0
    line = [photos, "--methods", "msp", "--to", bench.folder / "m", "--pictures"]
    assert bench("infer", *line) == 0
    photo, made = photos / "toy" / "1.png", bench.folder / "m" / "msp" / "toy" / "1.npy"
    kept, before, status = photo.read_bytes(), made.read_bytes(), photo.stat()
    for size in ((64, 48), (50, 40)):
        Image.effect_noise(size, 90).convert("RGB").save(photo)
        os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert bench("infer", *line) == 0
        assert "1 score map written, 3 kept" in bench.out
        assert read_scores(made).shape == size[::-1] and made.read_bytes() != before
    photo.write_bytes(kept)
    assert bench("infer", *line) == 0 and made.read_bytes() == before
    assert bench("infer", *line) == 0 and "0 score maps written, 4 kept" in bench.out
    np.save(made, np.zeros((3, 4), np.float32))
    assert bench("infer", *line) == 2 and "toy/1.npy is not of the size of its image" in bench.err


def test_a_kill_between_a_map_and_its_note_keeps_nothing_wrong(bench, photos, monkeypatch):
    """The photo of before comes back while the map of the other one lies there."""
    assert bench("train", "--methods", "msp") == 0
    line = [photos, "--methods", "msp", "--to", bench.folder / "m"]
    assert bench("infer", *line) == 0
    photo, made = photos / "toy" / "1.png", bench.folder / "m" / "msp" / "toy" / "1.npy"
    kept, before = photo.read_bytes(), made.read_bytes()
    Image.effect_noise((64, 48), 90).convert("RGB").save(photo)

    def killed(path, scores):
        write_scores(path, scores)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("benchmark.maps.infer.write_scores", killed)
        assert bench("infer", *line) == 130
    assert made.read_bytes() != before
    photo.write_bytes(kept)
    assert bench("infer", *line) == 0 and made.read_bytes() == before


def test_maps_of_another_origin_are_not_mixed(bench, photos):
    assert bench("train", "--methods", "msp") == 0
    assert bench("infer", photos, "--methods", "msp", "--to", "m") == 0
    other = shutil.copytree(photos, bench.folder / "other")
    assert bench("infer", other, "--methods", "msp", "--to", "m") == 2 and "(other images, see" in bench.err
    for folder in (photos, other):
        assert bench("infer", folder, "--methods", "msp") == 0 and "4 score maps written" in bench.out
    for change, word in ((("--scales", "24"), "scales"), (("--format", "tif"), "format")):
        assert bench("infer", photos, "--methods", "msp", "--to", "m", *change) == 2
        assert f"maps of another origin (other {word}, see" in bench.err and bench.err.count("\n") == 1


@pytest.mark.parametrize(("how", "words"), [("raise", "the prototypes are gone"), ("hole", "4 scores are NaN")])
def test_a_method_that_fails_is_named_and_the_others_go_on(bench, photos, how, words):
    bench.plugin("failing", FAILING.replace("[:, 5, 7]", "[:, 5, 7:11]"))
    assert bench("train", "--methods", "msp") == 0
    assert bench("infer", photos, "--methods", f"failing:how={how}:at=toy/2,msp", "--to", "m") == 1
    assert words in bench.err and "toy/2" in bench.err and bench.err.count("\n") == 1
    assert "msp: 4 score maps written" in bench.out


@pytest.mark.parametrize("form", ["npy", "png"])
def test_pictures_have_one_scale_for_all_images(bench, photos, form):
    bench.plugin("numbered", NUMBERED)
    assert bench("train", "--methods", "numbered") == 0
    line = [photos, "--methods", "numbered", "--to", bench.folder / "m", "--format", form, "--pictures"]
    assert bench("infer", *line) == 0
    pictures = [Image.open(bench.folder / "m" / "pictures" / "numbered" / "toy" / f"{i}.jpg") for i in range(4)]
    photo = Image.open(photos / "toy" / "0.png")
    beside = np.asarray(pictures[0], float)[:48, :64]
    assert {p.width for p in pictures} == {2 * 64 + 8} and min(p.height for p in pictures) > 48
    assert np.abs(beside - np.asarray(photo, float)).mean() < 8  # a JPEG of it
    # cividis runs from blue to yellow.
    yellow = [np.subtract(*np.asarray(p, float)[:48, -64:, [0, 2]].mean((0, 1)).T) for p in pictures]
    assert (np.diff(yellow) > 10).all()


def test_a_large_photo_is_reduced_for_the_network_and_its_map_has_its_size(bench, photos):
    assert bench("train", "--methods", "msp") == 0
    Image.open(photos / "toy" / "1.png").resize((32, 24), Image.Resampling.BILINEAR).save(bench.folder / "small.png")
    line = ["--methods", "msp", "--longest", "32"]
    assert bench("infer", bench.folder / "small.png", *line, "--to", bench.folder / "s") == 0
    assert "were reduced" not in bench.out
    line += ["--to", bench.folder / "m", "--pictures", "--threshold", "0.5"]
    assert bench("infer", photos, *line) == 0
    assert "4 of 4 images were reduced to a long side of 32 (--longest)." in bench.out
    small, large = (read_scores(bench.folder / name) for name in ("s/msp/small.npy", "m/msp/toy/1.npy"))
    assert small.shape == (24, 32) and large.shape == (48, 64)
    np.testing.assert_allclose(large, cv2.resize(small, (64, 48), interpolation=cv2.INTER_LINEAR))
    assert Image.open(bench.folder / "m" / "masks" / "msp" / "toy" / "1.png").size == (64, 48)
    assert Image.open(bench.folder / "m" / "pictures" / "msp" / "toy" / "1.jpg").width == 2 * 32 + 8
    assert bench("infer", photos, *line, "--longest", "0") == 2 and "(other longest, see" in bench.err


def test_mistakes_are_one_sentence(bench, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (bench.folder / "none").mkdir()
    copy = bench.folder / "0.jpg"
    Image.new("RGB", (64, 48)).save(copy)
    for arguments, words in (
        (["nowhere"], "nowhere is neither an image file nor a folder"),
        ([bench.folder / "none"], "no images there"),
        ([photos / "toy", copy], "would both be image '0'"),
        ([photos, "--format", "hdf5"], "need the package h5py"),
    ):
        assert bench("infer", *arguments, "--methods", "msp") == 2
        assert words in bench.err and bench.err.startswith("error: ") and bench.err.count("\n") == 1
