"""The Python API gives what the command line gives, quietly, and its examples run as they stand in the page."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark.methods.dicnet import DiCNet
from benchmark.methods.knn import KNN
from benchmark.methods.mahalanobis import Mahalanobis
from benchmark.methods.msp import MSP
from PIL import Image
from sklearn.metrics import average_precision_score
from torch import nn
from toy_records import record as toy_record

from benchmark import api
from benchmark.data import Batch, Sample
from benchmark.maps.files import read_scores
from benchmark.pool import networks_for
from benchmark.run.contract import Toy
from tests.methods.method_toys import Net, make_batch

HOME = Path(__file__).resolve().parent.parent.parent


class Town:
    """The tiny set: commands on it first, then calls of the API, which find it registered in this process."""

    def __init__(self, bench):
        self.bench, self.registered = bench, False

    def load(self, method, **more):
        if not self.registered:
            api.load_plugin(self.bench.plugins[0])
            self.registered = True
        given = {"dataset": "town", "data": self.bench.data, "out": self.bench.runs, "device": "cpu"}
        return api.load(method, **{**given, **more})


@pytest.fixture
def town(bench, registries):
    return Town(bench)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(pixels(1)).save(path)
    return path


def pixels(index):
    return Toy("test", Path())[index].image.permute(1, 2, 0).numpy()


def page(heading):
    """The blocks of Python below a heading of the page, as one program."""
    text = (HOME / "benchmark" / "README.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text.partition("\n## ")[0], re.M | re.S))


def test_the_examples_of_the_page_run(town, photo, monkeypatch, capsys):
    """With the tiny set in the place of CamVid."""
    folder = town.bench.folder
    monkeypatch.chdir(folder)
    api.load_plugin(town.bench.plugins[0])
    (folder / "results").symlink_to(HOME / "results")
    for name in ("photo", "normal-1", "normal-2"):
        Image.open(photo).save(f"{name}.jpg")
    program = page("From Python")
    assert program.count("api.load(") == 1 and len(program.splitlines()) > 20
    names = {}
    exec(program.replace("camvid-ood", "town"), names)
    assert names["scores"].shape == (48, 64) and Image.open("scores.png").width == 2 * 64 + 8
    assert names["images"]["aupr"].notna().any()
    out = capsys.readouterr().out
    assert out.startswith("MSP ('ground', 'box', 'sky', 'post')\nAUPR 0.") and "camvid-ood" in out


def test_the_notebook_runs_from_top_to_bottom(town, monkeypatch, capsys):
    """With the tiny set in the place of the rendered one; what a cell ends in can be shown."""
    monkeypatch.chdir(town.bench.folder)
    api.load_plugin(town.bench.plugins[0])
    book = json.loads((HOME / "benchmark" / "tour.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells), "strip the outputs"
    names, shown = {}, []
    for cell in cells:
        code = "".join(cell["source"]).replace('"minihazards"', '"town"').replace('ROOT / "runs"', '"runs"')
        tree = ast.parse(code)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "tour", "exec"), names)
        shown.append(eval(compile(ast.Expression(last.value), "tour", "eval"), names) if last else None)
    assert len(shown) == 7 and sum(isinstance(each, Image.Image) for each in shown) == 2
    assert list(shown[3].columns) == ["AUPR", "FPR95", "AUROC"] and len(shown[-1]) == 10
    assert "AUPR 0." in capsys.readouterr().out


def test_scores_are_those_of_infer_to_the_last_bit(town, photo):
    assert town.bench("train", "--methods", "msp,dicnet") == 0
    assert town.bench("infer", photo, "--methods", "msp,dicnet", "--to", "m") == 0
    for method in ("msp", "dicnet"):
        scores = town.load(method).score(photo)
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(scores, read_scores(Path("m") / method / "photo.npy"))


def test_nothing_is_trained_unasked_and_what_was_trained_is_loaded(town, photo, capsys):
    with pytest.raises(api.BenchmarkError, match=r"^Not trained yet: the network town/.*; the same call with train=Tr"):
        town.load("dicnet")
    assert not town.bench.runs.exists()
    made = town.load("dicnet", train=True)
    before = {path: path.stat().st_mtime_ns for path in town.bench.runs.rglob("*") if path.is_file()}
    again = town.load("dicnet")
    assert {path: path.stat().st_mtime_ns for path in town.bench.runs.rglob("*") if path.is_file()} == before
    np.testing.assert_array_equal(made.score(photo), again.score(photo))
    assert (again.label, again.title) == ("dicnet", "DiCNet")
    assert capsys.readouterr() == ("", "")


def test_a_recipe_is_that_of_the_command_line(town):
    assert town.bench("train", "--methods", "msp", "--recipe", "segmentation.lr=0.02") == 0
    town.load("msp", recipe={"segmentation.lr": 0.02})
    with pytest.raises(api.BenchmarkError, match="Not trained yet"):
        town.load("msp", recipe={"segmentation.lr": 0.03})


@pytest.mark.parametrize(
    ("method", "more", "words"),
    [
        ("mps", {}, "msp"),
        ("msp:double=1", {}, "double"),
        ("msp", {"dataset": "twon"}, "no dataset 'twon'"),
        ("msp", {"device": "tpu"}, "no device 'tpu'"),
        ("msp", {"recipe": {"segmentation.epoch": 1}}, "no field 'epoch'"),
        ("msp", {"recipe": {"epochs": 1}}, "task.field=value"),
        ("msp", {"scales": [2]}, "scales"),
        ("msp", {"preset": "best"}, "preset"),
        ("msp", {"dataset": "none"}, "says nothing of classes"),
        ("msp", {"dataset": "none", "classes": "19"}, "trained already"),
        (None, {}, "method is a name, not a NoneType"),
        (MSP(), {}, "method is a name, not a MSP; by_hand takes objects"),
        ("msp", {"network": 3}, "network is a name, not a int"),
        ("msp", {"recipe": ["segmentation.epochs=2"]}, "recipe is fields with values"),
    ],
)
def test_mistakes_are_one_sentence(town, method, more, words):
    with pytest.raises(api.BenchmarkError) as caught:
        town.load(method, **more)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_in_any_form_gives_the_same_scores(photo):
    detector = api.by_hand(MSP(), Net())
    array = pixels(1)
    expected = detector.score(photo)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for image in (str(photo), Image.open(photo), Image.fromarray(array).convert("RGBA"), array, array[:, :, :], tensor):
        np.testing.assert_array_equal(detector.score(image), expected)
    grey = array[..., 0]
    np.testing.assert_array_equal(detector.score(grey), detector.score(np.stack([grey] * 3, axis=2)))
    for wrong in (array / 255, array[None], array.transpose(2, 0, 1), tensor.float(), None, photo.with_name("no.png")):
        with pytest.raises(api.BenchmarkError):
            detector.score(wrong)


def test_a_method_by_hand_scores_as_its_class_does():
    method, net, batch = MSP(double_softmax=True), Net(), make_batch(seed=3)
    with torch.no_grad():
        expected = method.score(Batch.unlabelled(batch.images[:1]), networks_for(method, net))
    detector = api.by_hand(method, net)
    np.testing.assert_array_equal(detector.score(batch.images[0]), expected[0].numpy())
    assert detector.segment(batch.images[0]).max() < net.classes and detector.label == "msp:double_softmax=true"
    assert repr(detector) == "Detector(msp:double_softmax=true, networks: base)"


def test_what_is_fitted_is_fitted_to_the_images_at_hand():
    samples = [Sample(str(i), b.images[0], b.labels[0]) for i, b in enumerate(make_batch(seed=n) for n in range(3))]
    detector = api.by_hand(KNN(k=1, bank=10_000), Net(), training=[s.image for s in samples])
    near, far = detector.score(samples[0].image), detector.score(make_batch(seed=9).images[0])
    assert near.mean() < 0.1 * far.mean()  # the features of the training images are their own neighbours
    labelled = api.by_hand(Mahalanobis(), Net(), training=samples)
    assert np.isfinite(labelled.score(samples[0].image)).all()


@pytest.mark.parametrize(
    ("method", "base", "more", "words"),
    [
        (KNN(k=1), Net(), {}, r"fitted to images: by_hand\(\.\.\., training=images\)"),
        (Mahalanobis(), Net(), {"training": [pixels(0)]}, "as samples with labels"),
        (DiCNet(), Net(), {"training": [pixels(0)]}, r"load\('dicnet', train=True\)"),
        (MSP(), nn.Conv2d(3, 19, 1), {}, "how many classes"),
        (MSP(), nn.Conv2d(3, 19, 1), {"classes": -19}, "how many classes"),
        (MSP, Net(), {}, "takes an instance of a method"),
        ("msp", Net(), {}, "takes an instance of a method"),
        (MSP(), Net(), {"student": Net()}, "msp needs no network as 'student'; it needs base"),
        (MSP(), nn.Conv2d(3, 19, 1), {"classes": 7}, "gives 19 outputs where 7 are wanted"),
    ],
)
def test_what_by_hand_lacks_is_one_sentence(method, base, more, words):
    with pytest.raises(api.BenchmarkError, match=words):
        api.by_hand(method, base, **more).score(pixels(0))


def test_a_method_that_fails_is_named():
    class Broken(MSP):
        def score(self, batch, networks):
            raise IndexError("no such prototype")

    class Hole(MSP):
        def score(self, batch, networks):
            return super().score(batch, networks).index_fill(2, torch.tensor([3]), float("nan"))

    with pytest.raises(api.BenchmarkError, match="broken: IndexError: no such prototype"):
        api.by_hand(Broken(), Net()).score(pixels(0))
    with pytest.raises(api.BenchmarkError, match="hole: 48 scores are NaN"):
        api.by_hand(Hole(), Net()).score(pixels(0))


def test_evaluation_is_that_of_the_metrics():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(2, 8, 9)), np.where(rng.random((2, 8, 9)) < 0.3, 254, 0).astype(np.uint8)
    result = api.evaluate_scores(scores, labels, "pooled")
    assert result.aupr == pytest.approx(average_precision_score((labels == 254).ravel(), scores.ravel()))


def test_records_are_a_row_per_record_and_protocol():
    table = api.records(HOME / "results")
    files = sorted((HOME / "results" / "records").rglob("*.json"))
    stored = [json.loads(path.read_text()) for path in files]
    assert len(table) == sum(len(record["metrics"]) for record in stored)
    row = table[(table.dataset == "camvid-ood") & (table.method == "msp") & (table.protocol == "pooled")].iloc[0]
    record = next(r for r in stored if r["dataset"]["name"] == "camvid-ood" and r["method"]["label"] == "msp")
    pooled = record["metrics"]["pooled"]
    assert (row.aupr, row.constant_aupr) == (pooled["aupr"], pooled["constant_aupr"])
    per_image = table[(table.rows == row.rows) & (table.protocol == "per-image")].iloc[0]
    assert [per_image.aupr_low, per_image.aupr_high] == record["metrics"]["per-image"]["intervals"]["aupr"]
    assert row.miou == record["segmentation"]["miou"]
    assert row.paper == record["method"]["paper"] != "" and not table.external.any()
    assert api.read_rows(row.rows).image.nunique() == record["dataset"]["images"]


def test_records_of_score_maps_from_elsewhere_say_so(tmp_path):
    toy_record("msp").write(tmp_path)
    made = toy_record("Mine")
    replace(made, network=replace(made.network, key="")).write(tmp_path)
    table = api.records(tmp_path).set_index("method")
    assert table.external.groupby(level=0).all().to_dict() == {"Mine": True, "msp": False}


def test_a_damaged_record_is_warned_of_and_a_missing_folder_named(town):
    assert town.bench("run", "--methods", "msp,energy") == 0
    assert set(api.records(town.bench.runs).method) == {"msp", "energy"}
    next((town.bench.runs / "records").rglob("energy.json")).write_text("{")
    with pytest.warns(UserWarning, match=r"energy\.json is not a whole record"):
        assert set(api.records(town.bench.runs).method) == {"msp"}
    with pytest.raises(api.BenchmarkError, match="no folder nowhere"):
        api.records("nowhere")
    (town.bench.folder / "empty").mkdir()
    assert api.records(town.bench.folder / "empty").empty


def test_scores_of_another_size_are_not_drawn():
    with pytest.raises(api.BenchmarkError, match=r"The scores are \(48, 60\), the image \(48, 64\)"):
        api.plot(pixels(0), np.zeros((48, 60)))
    with pytest.raises(api.BenchmarkError, match="Scores are an array of numbers"):
        api.plot(pixels(0), "scores.npy")


@pytest.mark.parametrize("limits", [(1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_limits_that_are_none_are_one_sentence(limits):
    with pytest.raises(api.BenchmarkError, match="the lower first"):
        api.plot(pixels(0), np.zeros((48, 64)), limits=limits)


def test_a_title_is_drawn_as_it_is():
    assert api.plot(pixels(0), np.zeros((48, 64)), "$x_{^$").size == api.plot(pixels(0), np.zeros((48, 64)), "x").size


def test_an_image_that_was_closed_is_one_sentence(photo):
    image = Image.open(photo)
    image.close()
    with pytest.raises(api.BenchmarkError, match="The image cannot be decoded"):
        api.by_hand(MSP(), Net()).score(image)


def test_what_is_offered_is_all_there_and_documented():
    for name in api.__all__:
        assert getattr(api, name).__doc__, name
