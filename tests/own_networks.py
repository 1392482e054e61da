"""A tiny network in a file, its weights, and three tiny sets of roads to evaluate it on."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import torch
from torch import nn

from tests.datasets.files import noise, write

SETS = {
    "road-anomaly": ("RoadAnomaly", 2),
    "road-anomaly-21": ("RoadAnomaly21", 1),
    "road-obstacle-21": ("RoadObstacle21", 1),
}
"""Name of a set -> its folder and the value of an anomaly."""
TINY = """
    from torch import nn
    from benchmark.networks import External

    def build(classes, outputs=0, size=0, taps=False):
        module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, outputs or classes, 1))
        return External(
            module, classes, size=(size, 2 * size) if size else None, exclude=range(classes, outputs or classes),
            taps={"features": "1"} if taps else {},
        )
    """


def module(outputs: int, seed: int = 0) -> nn.Module:
    """The module of the file."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, outputs, 1))


def lay_out(bench) -> None:
    """Write the sets below the data root of a command line, ``tiny.py``, and weights of 19 outputs."""
    for folder, value in SETS.values():
        home = bench.data / "anomaly_val" / folder
        for n in range(2):
            mask = np.zeros((24, 40), np.uint8)
            mask[5 + n : 12, 8:21] = value
            if folder != "RoadAnomaly":
                mask[:3] = 255
            write(home / "images" / f"{n}.jpg", noise(n, size=(24, 40)))
            write(home / "labels_masks" / f"{n}.png", mask)
    bench.file = bench.folder / "tiny.py"
    bench.file.write_text(dedent(TINY))
    bench.weights = bench.folder / "w.pth"
    torch.save(module(19).state_dict(), bench.weights)


def run(bench, *rest, options="", dataset="road-anomaly", methods="msp") -> int:
    """``run`` with the file and its weights."""
    where = ["--network", f"{bench.file}:build{options}", "--weights", bench.weights, "--dataset", dataset]
    return bench("run", *where, "--methods", methods, *rest)


def record(bench, method="msp", dataset="road-anomaly", network="tiny+weights=w") -> dict:
    """The stored record."""
    return bench.record(method, network, dataset)
