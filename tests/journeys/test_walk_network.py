"""An engineer with a network in a file, and photos."""

import re
from pathlib import Path

import numpy as np
import pytest
from own_networks import SETS
from PIL import Image

from tests.datasets.files import noise, write

PAGE = "benchmark/networks/README.md"
PHOTOS = "datasets/README.md"
FILE = "python -m benchmark infer photos/ --methods msp --network mynet.py --weights mynet.pth --classes names.txt"


def roads(data: Path) -> None:
    """Two images of every set of anomalies on roads."""
    for folder, value in SETS.values():
        for n in range(2):
            mask = np.zeros((24, 40), np.uint8)
            mask[5 + n : 12, 8:21] = value
            write(data / "anomaly_val" / folder / "images" / f"{n}.jpg", noise(n, size=(24, 40)))
            write(data / "anomaly_val" / folder / "labels_masks" / f"{n}.png", mask)


def test_a_network_in_a_file_is_measured_and_scores_photos(walk):
    walk.copy(PAGE, "python")
    roads(walk.folder / "data")
    for line in ("python -c \"import torch, mynet; torch.save(mynet.MyNet(20).state_dict(), 'mynet.pth')\"",):
        walk.type(PAGE, line)
    run = (
        "python -m benchmark run --network mynet.py --weights mynet.pth --classes cityscapes "
        "--dataset road-anomaly,road-anomaly-21,road-obstacle-21 --methods msp,max_logit,max_entropy,energy"
    )
    printed = walk.type(PAGE, run, "--no-report")
    assert len(re.findall(r"^Max-logit  ", printed, re.M)) == 3
    records = list((walk.folder / "runs" / "records").rglob("*.json"))
    assert len(records) == 12
    again = walk.type(PAGE, run, "--dry-run")
    assert again.count(": current, ") == 12

    walk.photos("photos")
    walk.photos("normal-photos", 20)
    names = [f"class {n}" for n in range(19)]
    (walk.folder / "names.txt").write_text("\n".join(names))
    threshold = ("--threshold", "fpr=5", "--threshold-on", "normal-photos", "--pictures", "--to", "maps")
    walk.type(PHOTOS, FILE, *threshold)
    scores = np.load(walk.folder / "maps" / "msp" / "0.npy")
    mask = np.asarray(Image.open(walk.folder / "maps" / "masks" / "msp" / "0.png"))
    assert scores.shape == mask.shape == (48, 64) and set(np.unique(mask)) <= {0, 255}
    assert scores[mask == 255].min(initial=np.inf) > scores[mask == 0].max()
    assert Image.open(walk.folder / "maps" / "pictures" / "msp" / "0.jpg").size > (64, 48)


def test_released_weights_are_imported_and_used(walk, real_weights):
    roads(walk.folder / "data")
    (walk.folder / real_weights.name).symlink_to(real_weights)
    walk.type("results/README.md", f"python -m benchmark weights import espnetv2-2.0 {real_weights.name}")
    run = "python -m benchmark run --methods dicnet,msp"
    only = ("--methods=msp", "--network=espnetv2-2.0", "--dataset=road-anomaly", "--no-report")
    assert "espnetv2_s_2.0_city_1024x512.pth" in walk.type("README.md", run, *only)


@pytest.fixture
def real_weights():
    """ESPNetv2's released weights, where there are some."""
    import os

    path = Path(os.environ.get("ANOMALY_DATA", "nowhere")) / "weights" / "espnetv2_s_2.0_city_1024x512.pth"
    if not path.is_file():
        pytest.skip("ANOMALY_DATA holds no weights/espnetv2_s_2.0_city_1024x512.pth")
    return path.resolve()
