import pytest
import torch

from benchmark.data import ANOMALY, IGNORE, LightTraining, Policy
from benchmark.errors import BenchmarkError
from benchmark.registry import DATASETS
from benchmark.run.contract import check_dataset
from tests.datasets.files import ids, noise, write

OWN = """
title = "Harbour roads"
classes = ["road", "crane"]
[labels]
0 = "ignore"
1 = "crane"
2 = "road"
3 = "anomaly"
[splits]
train = "training"
test = "testing"
"""
BINARY = """
trained_on = "camvid-ood"
[labels]
0 = "normal"
1 = "anomaly"
"""


def make(home, text, places=(".",), highest=1):
    home.mkdir(exist_ok=True)
    (home / "dataset.toml").write_text(text)
    for place in places:
        write(home / place / "images/a/0.jpg", noise(1))
        write(home / place / "labels/a/0.png", ids(0, highest))
    return home


def open_split(home, split="test"):
    return DATASETS.create(f"folder:path={home}", split=split, root=home)


def test_classes_of_its_own(tmp_path):
    make(tmp_path, OWN, ("testing",), 3)
    make(tmp_path, OWN, ("training",), 2)
    data = open_split(tmp_path)
    assert (data.card.title, data.classes, data.card.class_labels) == ("Harbour roads", ("road", "crane"), True)
    assert len(set(data.card.palette)) == 2
    raw = torch.from_numpy(ids(0, 3)).long()
    assert torch.equal(data[0].labels.long(), torch.tensor([IGNORE, 1, 0, ANOMALY])[raw])
    assert data[0].id == "a/0"
    assert open_split(tmp_path, "train")[0].labels.unique().tolist() == [0, 1, IGNORE]
    with pytest.raises(BenchmarkError, match="no val split"):
        open_split(tmp_path, "val")


def test_labels_without_classes_take_the_classes_of_the_training_set(tmp_path):
    data = open_split(make(tmp_path / "cargo", BINARY))
    assert data.card.title == "cargo" and not data.card.class_labels
    assert data.classes == DATASETS.get("camvid-ood").card.classes
    assert data.card.palette == DATASETS.get("camvid-ood").card.palette
    assert data[0].labels.unique().tolist() == [0, ANOMALY]


def test_check_asks_for_the_splits_that_the_toml_names(tmp_path):
    found = {f.clause: f.wrong for f in check_dataset(f"folder:path={make(tmp_path, BINARY)}", tmp_path)}
    assert "test opens, 1 images" in found and not any(c.startswith(("train", "val")) for c in found)
    make(tmp_path, OWN, ("testing",), 3)
    found = {f.clause: f.wrong for f in check_dataset(f"folder:path={tmp_path}", tmp_path)}
    assert "training/images is missing" in found["train opens"] and "val opens" not in found


def test_check_reads_every_image(tmp_path):
    """Also those in the middle, and says of how many more than the first it is true."""
    make(tmp_path, BINARY)
    for index in range(1, 9):
        write(tmp_path / f"images/a/{index}.jpg", noise(index))
        labels = ids(0, 1)
        write(tmp_path / f"labels/a/{index}.png", labels[:, ::2] if index in (1, 3, 7) else labels)
    found = {f.clause: f.wrong for f in check_dataset(f"folder:path={tmp_path}", tmp_path)}
    wrong = found["every image of test is read"]
    assert "1.png" in wrong and wrong.endswith("(and 2 more)")
    assert {clause for clause, each in found.items() if each} == {"every image of test is read", "metadata is complete"}


def test_an_anomaly_in_training_is_an_error(tmp_path):
    make(tmp_path, OWN, ("training",), 3)
    with pytest.raises(BenchmarkError, match="value 3"):
        open_split(tmp_path, "train")[0]


def test_the_label_table_is_part_of_the_fingerprint(tmp_path):
    before = open_split(make(tmp_path, BINARY)).fingerprint()
    after = open_split(make(tmp_path, BINARY.replace("normal", "ignore"))).fingerprint()
    assert before != after


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"Harbour roads"', '"Harbour', "dataset.toml: .*line"),
        ("title =", "titel =", "'titel' means nothing"),
        ('"Harbour roads"', "7", "a text named title"),
        ('classes = ["road", "crane"]', "", "needs classes"),
        ('["road", "crane"]', '["road", "road"]', "different names"),
        ('["road", "crane"]', '["road", "ignore"]', "'ignore' is no class"),
        ('1 = "crane"', '1 = "car"', "1 = 'car' is neither"),
        ('1 = "crane"', '1 = "normal"', "mixes"),
        ('1 = "crane"', '256 = "crane"', "'256'"),
        ("[labels]", "[values]", "'values' means nothing"),
        ('test = "testing"', 'probe = "testing"', "'probe'"),
        ("title =", "palette = [[1, 2, 3]]\ntitle =", "one .* for each of 2 classes"),
        ('test = "testing"', 'test = "elsewhere"', "elsewhere/images is missing"),
    ],
)
def test_mistakes_in_the_toml_are_named(tmp_path, old, new, sentence):
    assert old in OWN
    make(tmp_path, OWN.replace(old, new), ("testing",), 3)
    with pytest.raises(BenchmarkError, match=sentence):
        open_split(tmp_path)


def test_a_missing_toml_or_path_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match=r"dataset\.toml is missing"):
        open_split(tmp_path)
    with pytest.raises(BenchmarkError, match="folder:path=DIR"):
        DATASETS.create("folder", split="test", root=tmp_path)
    with pytest.raises(BenchmarkError, match="camvid-ood"):
        open_split(make(tmp_path, BINARY.replace("camvid-ood", "camvid-odd")))


def test_networks_and_trainings_of_a_folder(tmp_path):
    light = "\n[light]\nepochs = 40\nscales = [90]\ncolour = 0.3\n"
    make(tmp_path / "own", 'network = "pspnet-small"\nscales = [120]\n' + OWN + light, ("testing",), 3)
    policy = open_split(tmp_path / "own").policy
    assert (policy.network, policy.scales) == ("pspnet-small", (120,))
    assert policy.light == LightTraining(epochs=40, scales=(90,), colour=0.3)
    make(tmp_path / "plain", OWN, ("testing",), 3)
    assert open_split(tmp_path / "plain").policy == Policy()
    of = DATASETS.get("camvid-ood").policy
    elsewhere = open_split(make(tmp_path / "cargo", BINARY)).policy
    assert (elsewhere.network, elsewhere.scales, elsewhere.light) == (of.network, of.scales, of.light)
    assert elsewhere.auto is None and elsewhere.paper_scales == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OWN + "[light]\ncolour = 0.3\n", r"\[light\] holds epochs"),
        (OWN + "[light]\nepochs = 0\n", r"\[light\] holds epochs"),
        (OWN + "[light]\nepochs = 4\nlr = 0.1\n", r"\[light\] holds epochs"),
        (BINARY + "[light]\nepochs = 4\n", "networks are those of camvid-ood"),
        ('scales = ["big"]\n' + OWN, "scales must be short sides"),
        ('license = "mine"\n' + OWN, "'license' means nothing; known are title, .*licence"),
    ],
)
def test_a_wrong_policy_is_one_sentence(tmp_path, text, words):
    make(tmp_path, text, ("testing",), 3)
    with pytest.raises(BenchmarkError, match=words):
        open_split(tmp_path)
