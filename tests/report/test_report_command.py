"""The verb ``report``, and the page that ``run`` leaves behind."""

import base64
import json
import re

import cv2
import numpy as np
import pytest

from benchmark.leaderboard.wording import percent
from benchmark.metrics import read_curves
from benchmark.report import page


def data_of(text: str) -> dict:
    """What the scripts of a page are given."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def test_run_writes_the_page_of_its_folder_and_the_verb_the_same(bench):
    pytest.importorskip("plotly", reason="needs the package plotly")
    bench.report = True
    assert bench("run", "--methods", "msp,energy", "--protocols", "failure-split") == 0
    written = bench.runs / page.NAME
    assert f"Report: {written}" in bench.out
    text = written.read_text(encoding="utf-8")
    found = data_of(text)
    (place,) = found["places"].values()
    assert {row["label"] for row in place["rows"]} == {"msp", "energy"}
    assert place.keys() >= {"images", "stability", "curves", "failures"}
    assert found["records"]["town/pspnet-small/msp"] == bench.record("msp") | {
        "path": "records/town/pspnet-small/msp.json"
    }
    elsewhere = bench.folder / "new" / "page.html"
    assert bench("report", "--results", bench.runs, "--to", elsewhere) == 0
    assert elsewhere.read_text(encoding="utf-8") == text


def test_a_method_whose_rows_are_gone_keeps_its_row_and_is_named(bench):
    pytest.importorskip("plotly", reason="needs the package plotly")
    assert bench("run", "--methods", "msp,energy") == 0
    assert not (bench.runs / page.NAME).exists()
    next((bench.runs / "records").rglob("msp.rows.csv.gz")).unlink()
    assert bench("report", "--results", bench.runs) == 0
    text = (bench.runs / page.NAME).read_text(encoding="utf-8")
    (place,) = data_of(text)["places"].values()
    assert {row["label"] for row in place["rows"]} == {"msp", "energy"}
    assert list(place["images"]["values"]["aupr"]) == ["energy"]
    assert "msp is left out of what rows per image show" in text


def test_without_plotly_the_verb_says_what_brings_it_and_a_run_says_nothing(bench, monkeypatch):
    monkeypatch.setattr(page, "available", lambda: False)
    page._packed_plotly.cache_clear()
    bench.report = True
    assert bench("run", "--methods", "msp") == 0
    assert "eport" not in bench.out + bench.err
    assert bench("report", "--results", bench.runs) == 2
    assert "needs the package plotly" in bench.err and "pip install" in bench.err


def test_a_folder_without_anything_is_refused(bench):
    (bench.folder / "empty" / "published").mkdir(parents=True)
    assert bench("report", "--results", bench.folder / "empty") == 2
    assert "holds no record and no published number" in bench.err
    assert bench("report", "--results", bench.folder / "nowhere") == 2


def picture(address: str) -> np.ndarray:
    """The values of a picture in a page."""
    return cv2.imdecode(np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8), cv2.IMREAD_UNCHANGED)


def place_of(bench) -> dict:
    """What the page of the runs says of its one board."""
    assert bench("report", "--results", bench.runs, "--data", bench.data, "--images", "3") == 0, bench.err
    return next(iter(data_of((bench.runs / page.NAME).read_text(encoding="utf-8"))["places"].values()))


def test_score_maps_become_heat_maps_whose_slider_sets_stored_thresholds(bench):
    pytest.importorskip("plotly", reason="needs the package plotly")
    assert bench("run", "--methods", "msp,energy") == 0
    assert "maps" not in place_of(bench)
    assert bench("infer", "--methods", "msp,energy") == 0
    place = place_of(bench)
    maps = place["maps"]
    assert maps["methods"] == [row["label"] for row in place["rows"]] and len(maps["images"]) == 3
    hardest = sorted(place["images"]["ids"], key=lambda i: mean_aupr(place, i))
    assert maps["images"][0]["id"] == hardest[0] and maps["images"][-1]["id"] == hardest[-1]
    curves = read_curves(next((bench.runs / "records").rglob("msp.curves.csv.gz")))
    for image in maps["images"]:
        (scores,) = (np.load(path) for path in bench.runs.glob(f"scores/*/*/msp/{image['id']}.npy"))
        shown, labels = picture(image["maps"]["msp"]), picture(image["labels"])
        assert shown.shape == scores.shape == labels.shape == picture(image["photo"]).shape[:2]
        assert (labels == 1).sum() == place["images"]["anomalous"][place["images"]["ids"].index(image["id"])]
        for code in (0, 80, 161, 230, 255):
            allowed = np.flatnonzero(100 * curves.fpr <= maps["levels"][code])
            wanted = scores >= curves.threshold[allowed[-1]] if len(allowed) else np.zeros_like(scores, bool)
            assert ((shown >= code) == wanted).all()
            rate = percent(curves.recall[allowed[-1]]) if len(allowed) else "0.0"
            assert maps["rates"]["msp"]["tpr"][code] == rate


def mean_aupr(place: dict, image: str) -> float:
    found = place["images"]["values"]["aupr"]
    return sum(float(texts[place["images"]["ids"].index(image)]) for texts in found.values())


def test_maps_that_are_not_what_the_record_measured_are_not_shown(bench):
    pytest.importorskip("plotly", reason="needs the package plotly")
    assert bench("run", "--methods", "msp") == 0 and bench("infer", "--methods", "msp") == 0
    assert len(place_of(bench)["maps"]["images"]) == 3
    for path in bench.runs.glob("scores/*/*/msp/**/*.npy"):
        np.save(path, -np.load(path))
    assert "maps" not in place_of(bench)
    assert "another AUPR than the record" in (bench.runs / page.NAME).read_text(encoding="utf-8")
    about = next(bench.runs.glob("scores/*/*/msp.json"))
    about.write_text(about.read_text().replace('"version": 1', '"version": 2'))
    assert "maps" not in place_of(bench)
    assert "another AUPR" not in (bench.runs / page.NAME).read_text(encoding="utf-8")
