"""``--normal``: methods fitted to normal images of another set, what is recorded of them, and who is refused."""

import shutil

import pytest
import torch
from own_networks import module, record, run

from benchmark.data import ANOMALY, IGNORE, Sample
from benchmark.derived import Derived
from benchmark.errors import BenchmarkError
from benchmark.leaderboard.wording import method_title
from benchmark.records.record import read
from benchmark.run.contract import Toy
from benchmark.run.normal import Normal, normal_split
from tests.datasets.files import noise, write

TAPS, NETWORK = ":taps=true", "tiny+taps=True+weights=w"
FITTED = "sml,knn:tap=features,mahalanobis:tap=features:classes=predicted"


def test_methods_are_fitted_to_another_set_and_their_rows_say_so(roads):
    assert run(roads, "--normal", "town", options=TAPS, methods=f"msp,{FITTED}") == 0
    stems = {"sml", "knn+tap=features", "mahalanobis+classes=predicted+tap=features"}
    assert roads.records() == {"msp", *(f"{stem}+normal=town" for stem in stems)}
    found = record(roads, "sml+normal=town", network=NETWORK)["method"]
    assert found["label"] == "sml:normal=town" and "+normal" not in found["fit_key"]
    assert found["normal"].pop("fingerprint")
    assert found["normal"] == {
        "name": "town", "title": "Town", "split": "train", "images": 4, "class_labels": False,
    }  # fmt: skip
    assert not record(roads, "msp", network=NETWORK)["method"]["normal"]
    titles = {method_title(read(path).method) for path in (roads.runs / "records").rglob("*.json")}
    assert "SML (fitted on Town)" in titles and "kNN (tap=features, fitted on Town)" in titles and "MSP" in titles
    assert run(roads, "--normal", "town", options=TAPS, methods=FITTED) == 0 and roads.out.count(": current") == 3


def test_what_reads_classes_is_refused_alone_where_they_are_others(roads):
    assert run(roads, "--normal", "town", options=TAPS, methods="sml,mahalanobis:tap=features") == 2
    assert roads.records() == {"sml+normal=town"}
    assert "the images of town are not labelled with those of cityscapes; name other images by --normal" in roads.err


def test_other_normal_images_are_another_fit(roads):
    assert run(roads, "--normal", "town", methods="sml") == 0
    first = record(roads, "sml+normal=town")
    (roads.data / "edition").write_text("2")
    assert run(roads, "--normal", "town", "--dry-run", methods="sml") == 0
    assert "sml:normal=town: what the method is fitted with changed" in roads.out
    assert run(roads, "--normal", "town", methods="sml") == 0
    again = record(roads, "sml+normal=town")
    assert again["method"]["fit_key"] != first["method"]["fit_key"]
    assert again["method"]["normal"]["fingerprint"] != first["method"]["normal"]["fingerprint"]


def test_the_training_images_by_another_way_are_the_same_fit(roads):
    torch.save(module(4).state_dict(), roads.weights)
    methods = "sml,knn:tap=features,mahalanobis:tap=features"
    for more in ((), ("--normal", "town")):
        assert run(roads, *more, dataset="town", options=TAPS, methods=methods) == 0, roads.err
    for stem in ("sml", "knn+tap=features", "mahalanobis+tap=features"):
        one, two = (record(roads, f"{stem}{end}", "town", NETWORK) for end in ("", "+normal=town"))
        assert one["metrics"] == two["metrics"] and two["method"]["normal"]["class_labels"]


def test_a_folder_of_images_is_all_normal(roads):
    folder = roads.folder / "street"
    for n in range(3):
        write(folder / "day" / f"{n}.png", noise(n, size=(24, 40)))
    assert run(roads, "--normal", folder, options=TAPS, methods=FITTED) == 0, roads.err
    labels = {read(path).method.label for path in (roads.runs / "records").rglob("*.json")}
    assert len(labels) == 3 and all("normal=street-" in label for label in labels)
    assert "3 normal images of street-" in roads.out
    shutil.rmtree(folder / "day")
    assert run(roads, "--normal", folder, methods="sml") == 2 and "holds no image" in roads.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "--normal absent is neither a folder nor a dataset"),
        ("road-anomaly-21", "--normal road-anomaly-21: road-anomaly-21 has no train split"),
        ("town:edition=x", "edition is a"),
    ],
)
def test_what_cannot_be_fitted_to_is_one_sentence(roads, name, words):
    assert run(roads, "--normal", name, methods="sml") == 2
    assert words in roads.err and len(roads.err.strip().splitlines()) == 1


class Lettered(Derived):
    """Pixels of all kinds of label."""

    def __getitem__(self, index):
        labels = torch.tensor([[0, 1, 2, 3, ANOMALY, IGNORE]], dtype=torch.uint8)
        return Sample("x", torch.zeros(3, 1, 6, dtype=torch.uint8), labels)


def test_labels_are_those_of_the_network_by_name_or_say_nothing(tmp_path):
    base = Lettered(Toy("train", tmp_path))  # ground, box, sky, post
    named = Normal(base, ("post", "hydrant", "sky", "box", "ground"))
    assert named[0].labels.tolist() == [[4, 3, 2, 0, IGNORE, IGNORE]] and named.card.class_labels
    for names in (("ground", "box", "sky"), None):
        other = Normal(base, names)
        assert other[0].labels.tolist() == [[0, 0, 0, 0, IGNORE, IGNORE]] and not other.card.class_labels
        assert other.fingerprint() != named.fingerprint()


def test_there_may_be_no_validation_split(tmp_path):
    write(tmp_path / "pictures" / "a.png", noise(0))
    assert normal_split(str(tmp_path / "pictures"), "val", tmp_path, None) is None
    with pytest.raises(BenchmarkError, match="neither a folder nor a dataset"):
        normal_split("nowhere", "train", tmp_path, None)


ENCODER = """
import torch
from benchmark.encoders import frozen
from benchmark.method import Method, Need

class Encoded(Method):
    needs_classes = False

    def needs(self, base):
        return {"encoder": Need(frozen("tf_efficientnet_lite0", weights="none"), ("8",))}

    def build(self, networks):
        self.register_buffer("mean", torch.zeros(networks["encoder"].channels("8")))

    def observe(self, batch, networks):
        self.mean += networks["encoder"](batch).scales[0].taps["8"].mean(dim=(0, 2, 3))

    def score(self, batch, networks):
        (scale,) = networks["encoder"](batch).scales
        gap = (scale.taps["8"] - self.mean.view(1, -1, 1, 1)).square().mean(dim=1, keepdim=True)
        return scale.upsample(gap, networks["encoder"](batch).size)[:, 0]
"""


def test_a_frozen_encoder_needs_neither_training_images_nor_weights_of_the_shared_network(roads):
    roads.plugin("encoded", ENCODER)
    where = ["--dataset", "road-anomaly", "--network", "pspnet-small", "--methods", "encoded"]
    assert roads("run", *where) == 2 and "Cityscapes" in roads.err
    assert roads("run", *where, "--normal", "town") == 0, roads.err
    assert roads.record("encoded+normal=town", dataset="road-anomaly")["method"]["normal"]["name"] == "town"
    assert roads("run", *where, "--normal", "town", "--methods", "encoded,msp") == 2
    assert "failed: msp: It needs the train images of cityscapes, which cannot be had" in roads.err
