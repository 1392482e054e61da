"""Score maps in files, as somebody with another code base writes them."""

import numpy as np
import pytest
import torch
from oracles import score_map
from PIL import Image

from benchmark.data import Dataset, DatasetCard, Sample
from benchmark.errors import BenchmarkError
from benchmark.maps.score import score_directory
from benchmark.metrics import bootstrap_interval, evaluate_scores

RNG_SEED = 5


class Four(Dataset):
    """Four images in two folders."""

    card = DatasetCard(title="Four", classes=("road", "sky"))

    def __init__(self):
        super().__init__("test", "nowhere")
        rng = np.random.default_rng(RNG_SEED)
        self.maps = [score_map("logit", rng, (40, 50)) for _ in range(4)]

    def __len__(self):
        return 4

    def __getitem__(self, index):
        labels = torch.from_numpy(self.maps[index][1])
        return Sample(f"t{index // 2}/{index}", torch.zeros((3, *labels.shape), dtype=torch.uint8), labels)

    def fingerprint(self):
        return "four"


@pytest.fixture
def dataset():
    return Four()


def write(folder, dataset, kind="npy"):
    for index, (scores, _) in enumerate(dataset.maps):
        path = folder / dataset[index].id
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.with_suffix(f".{kind}")
        if kind == "npy":
            np.save(path, scores)
        elif kind == "npz":
            np.savez_compressed(path, scores=scores.astype(np.float16))
        elif kind == "png":
            Image.fromarray(quantised(scores)).save(path)
        else:
            Image.fromarray(scores).save(path)
    return folder


def quantised(scores):
    return np.clip((scores + 20) * 1500, 0, 65535).astype(np.uint16)


@pytest.mark.parametrize("kind", ["npy", "npz", "png", "tif"])
def test_every_format_gives_the_values_of_its_arrays(tmp_path, dataset, kind):
    change = {"npz": lambda s: s.astype(np.float16), "png": quantised}.get(kind, lambda s: s)
    scores, labels = zip(*[(change(s), y) for s, y in dataset.maps])
    report = score_directory(write(tmp_path, dataset, kind), dataset, ["per-image", "pooled", "streethazards"])
    for name in ("per-image", "pooled", "streethazards"):
        found, expected = report.metrics[name], evaluate_scores(scores, labels, name)
        for key in ("auroc", "aupr", "fpr95", "images", "skipped"):
            assert getattr(found, key) == getattr(expected, key)
        assert found.constant_aupr == expected.prevalence
    interval = bootstrap_interval(report.rows, "aupr", "per-image")
    assert report.metrics["per-image"].intervals["aupr"] == [interval.low, interval.high] and interval.images == 4
    assert f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}]" in str(report)
    assert list(report.rows["image"]) == ["t0/0", "t0/1", "t1/2", "t1/3"] * (len(report.rows) // 4)
    assert report.curves.recall[-1] == 1
    assert f"{100 * report.metrics['pooled'].auroc:.2f}" in str(report)


def test_components_take_the_best_pooled_threshold(tmp_path, dataset):
    report = score_directory(write(tmp_path, dataset), dataset, ["smiyc-obstacles"])
    assert report.metrics.keys() == {"smiyc-obstacles"}
    assert report.metrics["smiyc-obstacles"].images == 4
    assert report.metrics["smiyc-obstacles"].extra["true_components"] == 4
    assert "mean F1" in str(report)


def test_a_set_without_anomalies_says_why_there_is_no_value(tmp_path, dataset):
    for _, labels in dataset.maps:
        labels[labels == 254] = 0
    report = score_directory(write(tmp_path, dataset), dataset, ["per-image", "pooled", "smiyc-obstacles"])
    assert report.metrics["pooled"].auroc is None and report.curves is None
    assert "smiyc-obstacles v2: siou has no value (There is no anomalous or no normal pixel" in str(report)
    assert "per-image v1: aupr, auroc, fpr95 have no value (not a number)" in str(report) and "nan" not in str(report)


def test_a_missing_map_is_named_with_the_file_that_was_expected(tmp_path, dataset):
    (write(tmp_path, dataset) / "t1" / "2.npy").unlink()
    with pytest.raises(BenchmarkError, match=r"'t1/2'.*t1/2 with"):
        score_directory(tmp_path, dataset)
    with pytest.raises(BenchmarkError, match="no folder"):
        score_directory(tmp_path / "nothing", dataset)


def test_maps_of_no_image_and_two_maps_of_one_image(tmp_path, dataset):
    np.save(write(tmp_path, dataset) / "other.npy", np.zeros((40, 50)))
    with pytest.raises(BenchmarkError, match=r"1 file belongs.*four.*other\.npy"):
        score_directory(tmp_path, dataset)
    np.savez(tmp_path / "t0" / "0.npz", np.zeros((40, 50)))
    with pytest.raises(BenchmarkError, match=r"0\.npy and 0\.npz"):
        score_directory(tmp_path, dataset)


def test_wrong_size_nan_damage_and_eight_bits(tmp_path, dataset):
    write(tmp_path, dataset)
    for scores, words in ((np.zeros((20, 25)), r"\(20, 25\)"), (np.full((40, 50), np.nan), "NaN")):
        np.save(tmp_path / "t0" / "1.npy", scores)
        with pytest.raises(BenchmarkError, match=words) as error:
            score_directory(tmp_path, dataset)
        assert "t0/1" in str(error.value)
    (tmp_path / "t0" / "1.npy").write_bytes(b"nothing")
    with pytest.raises(BenchmarkError, match=r"1\.npy cannot be read"):
        score_directory(tmp_path, dataset)
    (tmp_path / "t0" / "1.npy").unlink()
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "t0" / "1.png")
    with pytest.raises(BenchmarkError, match="16 bits"):
        score_directory(tmp_path, dataset)
    (tmp_path / "t0" / "1.png").unlink()
    np.savez(tmp_path / "t0" / "1.npz", a=np.zeros((40, 50)), b=np.zeros(1))
    with pytest.raises(BenchmarkError, match="2 arrays"):
        score_directory(tmp_path, dataset)


@pytest.mark.parametrize("name", ["failure-split", "open-set"])
def test_protocols_that_need_predictions_are_refused(tmp_path, dataset, name):
    with pytest.raises(BenchmarkError, match="predicted classes"):
        score_directory(write(tmp_path, dataset), dataset, [name])


def test_values_of_a_sample_say_so_and_every_pixel_can_be_ranked(tmp_path, dataset, monkeypatch):
    monkeypatch.setattr("benchmark.metrics.pixel.BUDGET", (200, 2000))
    folder = write(tmp_path / "mine", dataset)
    sampled = score_directory(folder, dataset, ["pooled"])
    exact = score_directory(folder, dataset, ["pooled"], exact_pooled=True)
    maps, labels = zip(*dataset.maps, strict=True)
    expected = evaluate_scores(maps, labels, "pooled", exact_pooled=True)
    assert exact.metrics["pooled"].aupr == expected.aupr and not exact.metrics["pooled"].sampling
    found = sampled.metrics["pooled"]
    assert found.aupr != expected.aupr and abs(found.aupr - expected.aupr) <= found.sampling["aupr"]
    assert "sampled" in str(sampled) and "sampled" not in str(exact)


class Normal(Four):
    """Twenty-four small images without an anomaly."""

    def __init__(self):
        super().__init__()
        self.split = "val"
        rng = np.random.default_rng(RNG_SEED + 1)
        self.maps = [(rng.normal(-9, 3, (10, 12)), np.zeros((10, 12), np.uint8)) for _ in range(24)]

    def __len__(self):
        return 24


def test_a_threshold_is_taken_from_score_maps_of_validation_images(tmp_path, dataset):
    mine, normal = write(tmp_path / "mine", dataset), Normal()
    held = write(tmp_path / "held", normal)
    report = score_directory(mine, dataset, ["pooled", "conformal"], validation=(held, normal))
    found, scores = report.metrics["conformal"].extra, np.stack([s for s, _ in normal.maps]).astype(np.float32)
    allowed = (0.05 * 25 - 1) / 24
    expected = min(t for t in scores.ravel() if np.mean(scores > t) <= allowed)
    assert found["threshold"] == expected and found["validation_images"] == 24
    maps, labels = (np.stack(parts) for parts in zip(*dataset.maps, strict=True))
    assert found["tpr"] == np.mean(maps[labels == 254] > expected)
    assert report.validation == {"name": normal.label, "split": "val", "fingerprint": "four", "images": 24}
    with pytest.raises(BenchmarkError, match="name the folder of their score maps by --validation"):
        score_directory(mine, dataset, ["conformal"])
    (held / "t0" / "1.npy").unlink()
    with pytest.raises(BenchmarkError, match="There is no score map of image 't0/1'"):
        score_directory(mine, dataset, ["conformal"], validation=(held, normal))
