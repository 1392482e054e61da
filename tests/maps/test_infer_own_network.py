"""``infer`` with a network of the user's own and its classes: no dataset is needed for anything."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.maps.files import read_scores
from tests.datasets.files import noise, write


@pytest.fixture
def own(roads):
    """``tiny.py``, its weights of 19 outputs, photos, and no data at all."""
    for n in range(2):
        write(roads.folder / "photos" / f"{n}.jpg", noise(n, size=(24, 40)))
    (roads.folder / "names.txt").write_text("\n".join(f"class {n}" for n in range(19)))

    def infer(verb, *rest, classes=roads.folder / "names.txt", photos=(roads.folder / "photos",)):
        line = [verb, *(photos if verb == "infer" else ()), "--network", roads.file, "--weights", roads.weights]
        line += ["--classes", classes] if classes else []
        return roads.type(*map(str, [*line, "--out", roads.runs, "--data", roads.folder / "no", "--quiet", *rest]))

    roads.infer = infer
    return roads


@pytest.mark.parametrize("classes", ["19", "cityscapes", None])
def test_classes_are_a_number_a_dataset_or_a_file(own, classes):
    more = {"classes": classes} if classes else {}
    assert own.infer("infer", "--methods", "msp", "--pictures", **more) == 0, own.err
    assert own.out.startswith("No dataset: network and classes are those of --weights and --classes.\n")
    (folder,) = (own.runs / "scores").iterdir()
    assert folder.name.startswith("tiny+") and len(str(folder.name)) <= 60
    assert read_scores(folder / "photos" / "msp" / "0.npy").shape == (24, 40)
    assert (folder / "photos" / "pictures" / "msp" / "0.jpg").exists()


def test_scores_are_those_of_the_same_network_on_a_dataset(own):
    assert own.infer("infer", "--methods", "msp,max_logit", "--to", "m") == 0
    line = ["--network", own.file, "--weights", own.weights, "--dataset", "road-anomaly", "--methods", "msp"]
    assert own("infer", own.folder / "photos", *line, "--to", "d") == 0
    for n in range(2):
        np.testing.assert_array_equal(*(read_scores(Path(folder) / f"msp/{n}.npy") for folder in "md"))


def test_a_method_is_fitted_to_photos_and_the_command_that_mends_it_works(own):
    line = ["--methods", "mahalanobis", "--normal", own.folder / "photos"]
    assert own.infer("infer", "--methods", "sml", "--to", "m") == 2 and "Not trained yet: the fit of sml" in own.err
    assert own.infer("train", "--methods", "sml", "--dataset", "none") == 2
    assert "fit the method to normal images of yours by --normal DIR" in own.err
    line = ["--methods", "sml", "--normal", own.folder / "photos"]
    assert own.infer("infer", *line, "--to", "m") == 2
    mend = shlex.split(own.err.split("`")[1])[3:]
    assert mend[0] == "train" and "none" in mend
    assert own.type(*mend) == 0, own.err
    assert own.infer("infer", *line, "--to", "m") == 0, own.err


def test_a_threshold_takes_normal_photos(own):
    normal = own.folder / "normal"
    for n in range(3):
        write(normal / f"{n}.png", noise(10 + n, size=(24, 40)))
    assert own.infer("infer", "--methods", "msp", "--to", "m", "--threshold", "fpr=5") == 2
    assert "name a dataset or a folder of normal photos by --threshold-on" in own.err and own.err.count("\n") == 1
    more = ["--threshold", "fpr=5", "--threshold-on", normal]
    assert own.infer("infer", "--methods", "msp", "--to", "m", *more) == 0, own.err
    assert Image.open("m/masks/msp/1.png").size == (40, 24)


def test_mistakes_are_one_sentence(own):
    for line, words in (
        (["infer", "--dataset", "none"], "says nothing of classes"),
        (["run", "--dataset", "none"], "--dataset none is for infer and train"),
    ):
        classes = None if line[0] == "infer" else "19"
        assert own.infer(line[0], *line[1:], "--methods", "msp", classes=classes) == 2
        assert words in own.err and own.err.count("\n") == 1
    assert own.infer("infer", "--methods", "msp", classes="7") == 2 and "instead of (7, 4, 1, 1)" in own.err
    assert own("infer", own.folder / "photos", "--methods", "msp", "--classes", "19", "--dataset", "none") == 2


def test_many_photos_have_a_short_folder_of_their_own(own):
    """A name that no file system refuses, another one for other photos."""
    many = [write(own.folder / f"a photo with a long name, number {n}.png", noise(n, size=(24, 40))) for n in range(9)]
    for photos in (many, many[:8]):
        assert own.infer("infer", "--methods", "msp", classes="19", photos=photos) == 0, own.err
    made = list((own.runs / "scores").glob("*/*"))
    assert len(made) == 2 and all(len(path.name) <= 40 for path in made)
