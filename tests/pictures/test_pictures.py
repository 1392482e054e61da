"""Pictures are written, repeatable, and share one scale per method."""

from xml.etree import ElementTree

import numpy as np
import pytest
from pandas import DataFrame

from benchmark.errors import BenchmarkError
from benchmark.pictures import SheetRow, colour, colour_limits, contact_sheet, curves, failure_split, overlay

PALETTE = [(10, 20, 30), (40, 50, 60)]


def sheet_row(name="t/1", methods=("MSP", "DiCNet"), offset=0.0):
    labels = np.zeros((24, 40), np.uint8)
    labels[12:], labels[14:18, 10:16], labels[:, :2] = 1, 254, 255
    scores = {m: np.where(labels == 254, 1.0, 0.0) + offset for m in methods}
    return SheetRow(name, np.full((24, 40, 3), 90, np.uint8), labels, labels % 2, scores)


def pixels(path):
    from matplotlib.image import imread

    return imread(path)


def test_colour_uses_the_palette_and_marks_anomalies():
    shown = colour(np.array([[0, 1, 254, 255]], np.uint8), PALETTE)
    assert shown.dtype == np.uint8
    assert shown[0, :2].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert shown[0, 2].tolist() not in PALETTE
    assert shown[0, 3].tolist() == [0, 0, 0]


def test_contact_sheet_is_repeatable_and_changes_with_its_scores(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in "abc"]
    for path in paths[:2]:
        contact_sheet([sheet_row(), sheet_row("t/2", offset=0.5)], path, PALETTE, {"MSP": "AUPR 6.6"})
    contact_sheet([sheet_row(), sheet_row("t/2", offset=9.0)], paths[2], PALETTE, {"MSP": "AUPR 6.6"})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


def test_the_scale_is_common_to_the_images_of_a_method(tmp_path):
    """The normal pixels of the image with higher scores must come out brighter, though both maps look alike."""
    contact_sheet([sheet_row(), sheet_row("t/2", offset=5.0)], tmp_path / "a.png", PALETTE)
    shown = pixels(tmp_path / "a.png")[..., :3].mean(-1)
    height, width = shown.shape
    column = shown[:, int(width * 0.99)]
    first, second = column[int(height * 0.35)], column[int(height * 0.7)]
    assert second > first + 0.2


def test_infinite_constant_and_missing_scores_are_drawn(tmp_path):
    row = sheet_row()
    row.scores["MSP"][0, 0], row.scores["MSP"][0, 1], row.scores["MSP"][0, 2] = np.inf, -np.inf, np.nan
    row.scores["DiCNet"][:] = np.nan
    contact_sheet([row], tmp_path / "a.png", PALETTE)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_rows_must_agree_in_their_methods(tmp_path):
    with pytest.raises(BenchmarkError, match="same methods"):
        contact_sheet([sheet_row(), sheet_row(methods=("MSP",))], tmp_path / "a.png", PALETTE)
    with pytest.raises(BenchmarkError, match="at least one image"):
        contact_sheet([], tmp_path / "a.png", PALETTE)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_curves(tmp_path, suffix):
    t = np.linspace(0, 1, 50)
    named = {f"m{i}": {"recall": t, "precision": 1 - t, "fpr": t, "tpr": t ** (1 / (i + 1))} for i in range(10)}
    path, again = tmp_path / "sub" / f"curves.{suffix}", tmp_path / f"again.{suffix}"
    for each in (path, again):
        curves(named, each, prevalence=0.012)
    assert path.stat().st_size > 5000 and again.read_bytes() == path.read_bytes()


def test_vector_pictures_carry_their_fonts(tmp_path):
    """TrueType (font type 42) and never Type 3, which publishers refuse; an SVG asks for no font of the reader's."""
    failure_split(DataFrame({"title": ["MSP"], "efpr": [30.0], "cfpr": [20.0]}), tmp_path / "a.pdf")
    contact_sheet([sheet_row()], tmp_path / "b.pdf", PALETTE, note="Seen.")
    for name in ("a.pdf", "b.pdf"):
        found = (tmp_path / name).read_bytes()
        assert b"/FontFile2" in found and b"/Subtype /Type3" not in found and b"/CreationDate" not in found
    failure_split(DataFrame({"title": ["MSP"], "efpr": [30.0], "cfpr": [20.0]}), tmp_path / "a.svg")
    drawn = ElementTree.parse(tmp_path / "a.svg").getroot()
    tags = {element.tag.rpartition("}")[2] for element in drawn.iter()}
    assert "path" in tags and "text" not in tags


def test_the_limits_ignore_what_is_not_finite_and_the_outermost_scores():
    maps = [np.linspace(0, 1, 10001), np.array([np.inf, -np.inf, np.nan])]
    assert colour_limits(maps) == pytest.approx((0.01, 0.998))
    assert colour_limits([np.full(9, 3.0)]) == (3.0, 4.0)
    assert colour_limits([np.full(9, np.nan)]) == (0.0, 1.0)


def test_an_overlay_runs_from_blue_to_yellow_and_keeps_the_image():
    image = np.zeros((2, 5, 3), np.uint8)
    image[1] = 200
    scores = np.tile([-np.inf, 0.0, 5.0, 10.0, np.nan], (2, 1))
    shown = overlay(image, scores, (0.0, 10.0)).astype(int)
    yellow = shown[..., 0] - shown[..., 2]
    assert (yellow[:, 0] == yellow[:, 1]).all() and (np.diff(yellow[:, 1:4]) > 20).all()
    assert (shown[1] > shown[0]).all()


def test_images_of_different_sizes_and_labels_without_classes(tmp_path):
    small, wide = sheet_row(), sheet_row("t/2")
    wide = SheetRow("t/2", *(np.repeat(a, 2, 1) for a in (wide.image, wide.labels, wide.prediction)), wide.scores)
    for name, rows in (("two", [small, small]), ("mixed", [small, wide])):
        contact_sheet(rows, tmp_path / f"{name}.png", PALETTE, classes=["a", "b"], class_labels=False, note="Seen.")
    two, mixed = (pixels(tmp_path / f"{name}.png").shape for name in ("two", "mixed"))
    cell = 1600 / 5 * 24 / 40
    assert two[0] - mixed[0] == pytest.approx(cell / 2, rel=0.1), "a wide image has a lower line"


def test_many_methods_make_the_page_wider_not_the_text_larger(tmp_path):
    few, many = (sheet_row(methods=[f"m{i}" for i in range(n)]) for n in (2, 12))
    for name, row in (("few", few), ("many", many)):
        contact_sheet([row], tmp_path / f"{name}.png", PALETTE)
    few, many = (pixels(tmp_path / f"{name}.png").shape for name in ("few", "many"))
    assert few[1] == many[1] == 1600 and many[0] < few[0]
