"""Pictures are written, repeatable, and share one scale per method."""

import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.plots import SheetRow, colour, contact_sheet, curves

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


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_curves(tmp_path, suffix):
    t = np.linspace(0, 1, 50)
    named = {f"m{i}": {"recall": t, "precision": 1 - t, "fpr": t, "tpr": t ** (1 / (i + 1))} for i in range(10)}
    path = tmp_path / "sub" / f"curves.{suffix}"
    curves(named, path, prevalence=0.012)
    assert path.stat().st_size > 5000
    if suffix == "png":
        curves(named, tmp_path / "again.png", prevalence=0.012)
        assert (tmp_path / "again.png").read_bytes() == path.read_bytes()
