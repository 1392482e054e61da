"""``show`` draws what was trained and measured, says what was not, and trains nothing."""

import shutil

import numpy as np
import pytest
from harness import NUMBERED
from matplotlib.image import imread

from benchmark.errors import BenchmarkError
from benchmark.metrics import read_rows, select_rows
from benchmark.pictures.show import Measured, choose, count_or_ids
from benchmark.records.record import read
from benchmark.run.contract import Toy


def ids(wanted, size=4, pick="spread", measured="it is not measured yet"):
    class Many(Toy):
        def __len__(self):
            return size

    return [sample.id for sample in choose(Many("test", "."), wanted, pick, measured, "msp")]


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}


def test_sheet_and_curves_of_a_run(bench):
    assert bench("run", "--methods", "msp,energy") == 0
    before = stamps(bench.runs)
    assert bench("show", "--methods", "msp,energy", "--images", "2", "--width", "700") == 0
    made = bench.runs / "pictures"
    assert {path.name for path in made.iterdir()} == {"town-pspnet-small.png", "town-pspnet-small-curves.png"}
    assert str(made / "town-pspnet-small-curves.png") in bench.out
    assert {path: at for path, at in stamps(bench.runs).items() if path.parent != made} == before
    two = imread(made / "town-pspnet-small.png").shape
    assert bench("show", "--methods", "msp,energy", "--images", "4", "--width", "700", "--to", "s/four.jpg") == 0
    four = imread(bench.folder.parent / "s" / "four.jpg").shape
    assert two[1] == four[1] == 700 and (bench.folder.parent / "s" / "four-curves.jpg").exists()
    line = 700 / 5 * 48 / 64  # five columns of 64x48 images
    assert four[0] - two[0] == pytest.approx(2 * line, abs=5)


def test_without_trained_weights_the_sentence_says_how_to_run(bench):
    assert bench("show", "--methods", "msp,dicnet") == 2
    assert "Not trained yet" in bench.err and "`python -m benchmark run --plugin" in bench.err
    assert bench.err.count("\n") == 1 and not bench.runs.exists()


def test_trained_but_not_measured_methods_have_pictures_and_no_curves(bench):
    assert bench("train", "--methods", "msp") == 0
    assert bench("show", "--methods", "msp") == 0
    assert "No curves of msp: it is not measured yet; measure it with `python -m benchmark run " in bench.out
    assert len(list((bench.runs / "pictures").iterdir())) == 1
    assert bench("show", "--methods", "msp", "--pick", "worst") == 2 and "--pick worst goes by" in bench.err


def test_curves_come_from_the_results_only_where_they_are_of_these_weights(bench, monkeypatch):
    results = bench.folder / "results"
    monkeypatch.setattr("benchmark.records.published.RESULTS", results)
    assert bench("run", "--methods", "msp") == 0
    shutil.move(bench.runs / "records", results / "records")
    assert bench("show", "--methods", "msp") == 0 and "Curves: " in bench.out
    assert bench("train", "--methods", "msp", "--retrain", "--recipe", "segmentation.seed=7") == 0
    assert bench("show", "--methods", "msp", "--recipe", "segmentation.seed=7") == 0
    assert "Curves: " not in bench.out and "No curves of msp" in bench.out


def test_the_scale_is_common_to_the_images_of_a_method(bench):
    bench.plugin("numbered", NUMBERED)
    assert bench("train", "--methods", "numbered") == 0
    assert bench("show", "--methods", "numbered", "--images", "4", "--width", "800", "--to", "a.png") == 0
    shown = imread(bench.folder.parent / "a.png")[..., :3]
    height, column = 800 / 4 * 48 / 64, shown[:, 640:780]
    top = next(y for y in range(len(shown)) if (column[y : y + 40].mean((1, 2)) < 0.9).all())
    centres = [column[int(top + (i + 0.3) * height)].mean(0) for i in range(4)]
    yellow = [red - blue for red, _, blue in centres]
    assert (np.diff(yellow) > 0.05).all(), "image n has the scores 10 n"


def test_images_are_spread_evenly():
    assert ids(2) == ["toy/1", "toy/3"]
    assert ids(3, size=9) == ["toy/1", "toy/4", "toy/7"]
    assert ids(9) == ["toy/0", "toy/1", "toy/2", "toy/3"]


def test_images_by_name_come_in_the_order_asked_for():
    assert ids(["toy/3", "toy/0", "toy/3"]) == ["toy/3", "toy/0"]
    with pytest.raises(BenchmarkError, match=r"Toy \(test\) has no image 'toy/33'; it has for instance toy/3"):
        ids(["toy/0", "toy/33"])


def test_the_best_and_the_worst_images_are_those_of_the_rows(bench):
    assert bench("run", "--methods", "msp") == 0
    (path,) = (bench.runs / "records").rglob("msp.rows.csv.gz")
    rows = select_rows(read_rows(path), "per-image")
    order = [str(image) for _, image in sorted(zip(rows["aupr"], rows["image"]))]
    measured = Measured(read(path.with_name("msp.json")), path.parent)
    assert ids(3, pick="worst", measured=measured) == order[:3]
    assert ids(3, pick="best", measured=measured) == order[::-1][:3]
    assert bench("show", "--methods", "msp", "--images", "1", "--pick", "worst") == 0


@pytest.mark.parametrize("text", ["0", "-3", "", ","])
def test_a_number_of_images_that_is_none(text):
    with pytest.raises(BenchmarkError, match=f"--images {text}: write how many"):
        count_or_ids(text)


def test_a_picture_format_that_does_not_exist_is_one_sentence(bench):
    assert bench("train", "--methods", "msp") == 0
    assert bench("show", "--methods", "msp", "--to", "sheet.abc") == 2
    assert bench.err == "error: sheet.abc names no picture format; end it in .png, .jpg, .svg or .pdf.\n"


def test_figures_for_a_paper(bench):
    assert bench("run", "--methods", "msp") == 0
    assert bench("show", "--methods", "msp", "--images", "1", "--to", "f/sheet.pdf") == 0
    folder = bench.folder.parent / "f"
    assert {path.name for path in folder.iterdir()} == {"sheet.pdf", "sheet-curves.pdf"}
    for path in folder.iterdir():
        assert path.read_bytes().startswith(b"%PDF") and b"/FontFile2" in path.read_bytes()
