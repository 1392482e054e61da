"""Records made up for tests."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmark.metrics import PixelEvaluator, View, write_rows
from benchmark.records.identity import Identity
from benchmark.records.provenance import Provenance
from benchmark.records.record import (
    Cost,
    DatasetPart,
    Measurement,
    MethodPart,
    NetworkPart,
    OtherNetwork,
    Record,
    Segmentation,
    network_label,
)

HEAD = "dataset,method,title,backbone,auroc,aupr,fpr95,miou,protocol,source,note,second_hand,auxiliary_data\n"
PAPER = (
    "toyset,dicnet,DiCNet,,93.4,16.2,17.6,,per-image mean,The paper,,no,no\n"
    "toyset,msp,MSP,,87.7,6.6,33.7,,per-image mean,The paper,,yes,no\n"
    "toyset,tradi,TRADI,,89.2,7.2,25.3,,per-image mean,The paper,,yes,no\n"
    "toyset (test server),,Other & one,Big_Net,,50.0,,,pooled pixels,Its authors,,no,yes\n"
)


def published(tmp_path):
    """A results folder in which the toy set is published and nothing is measured."""
    folder = tmp_path / "results"
    (folder / "published").mkdir(parents=True)
    (folder / "published" / "toyset.csv").write_text(HEAD + PAPER)
    return folder


def measurement(aggregation="per-image", auroc=0.9, aupr=0.2, fpr95=0.3, **more) -> Measurement:
    values = {"images": 24, "constant_aupr": 0.012, **more}
    return Measurement(1, aggregation, auroc=auroc, aupr=aupr, fpr95=fpr95, **values)


def record(
    method="msp",
    dataset="toyset",
    title="Toy set",
    note="Toy scenes, no benchmark.",
    label=None,
    aupr=0.2,
    auroc=0.9,
    fpr95=0.3,
    limit=None,
    seed=0,
    scales=(),
    auxiliary=False,
    metrics=None,
    method_title=None,
    others=None,
    dirty=False,
    miou=0.6,
) -> Record:
    intervals = {
        "aupr": [max(0.0, aupr - 0.05), min(1.0, aupr + 0.04)],
        "auroc": [auroc - 0.02, min(1.0, auroc + 0.02)],
    }
    return Record(
        DatasetPart(dataset, title, note, "test", "f00d" * 16, min(24, limit or 24), limit, 0.0123),
        NetworkPart(
            network_label("net-small", {}, scales, 1000 if scales else 0),
            "net-small",
            {},
            f"{dataset}/net-small-m{seed}-0123456789",
            list(scales),
            1000 if scales else 0,
            f"{seed:x}" * 64,
            {"epochs": 2, "lr": 0.02},
            {"seconds": 10.5},
            seed,
        ),
        MethodPart(
            method,
            label or method,
            method_title or method.upper(),
            "A paper",
            {"t": 0.999},
            1,
            auxiliary,
            "fits/toy-1",
            "ab" * 32,
        ),
        metrics
        or {
            "streethazards": measurement(aupr=aupr, auroc=auroc, fpr95=fpr95, intervals=intervals),
            "pooled": measurement("pooled", aupr=aupr / 2, auroc=auroc - 0.1, fpr95=fpr95 + 0.1),
        },
        Segmentation(miou, 12, miou * 12 / 13, 0.9, {**{f"class {i}": miou for i in range(12)}, "other": None}),
        Cost(12.25, 0.75, 800.0, 4, 3.5),
        Provenance("c" * 40, dirty, {"torch": "2.6"}, "cpu", "A CPU", "fp32", 2, "2026-01-02T03:04:05Z", "run"),
        others or {},
        rows="msp.rows.csv.gz",
    )


def other(key="toyset/net-small-m1", weights="12" * 32) -> OtherNetwork:
    return OtherNetwork(key, weights)


def rows(text):
    """Markdown table rows as lists of cells, by the first cell without its emphasis."""
    found = {}
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip("|").split(" | ")]
        if line.startswith("|"):
            found.setdefault(cells[0].strip(" *"), cells)
    return found


def write_with_rows(results, name, gain, seed=0, repetition=0, title=None, **changes):
    """A record with rows of 12 images whose anomalies score higher by a gain."""
    rng = np.random.default_rng(seed)
    evaluator = PixelEvaluator(["streethazards"])
    for i in range(12):
        labels = np.zeros((10, 20), np.uint8)
        labels[: 1 + i % 4] = 254
        evaluator.update(View(f"{i}", rng.normal(size=labels.shape) + gain * (labels == 254), labels))
    made = record(
        name.split(":")[0], label=name, method_title=title, metrics={"streethazards": measurement()}, seed=repetition
    )
    made = dataclasses.replace(made, rows=f"{name.replace(':', '+')}{repetition}.rows.csv.gz", **changes)
    made.write(results)
    write_rows(made.path(results).parent / made.rows, evaluator.rows())
    return made


WHOLE = Identity(
    "f00d", None, "net", "c0de", "image", {"head": "linear"}, (300, 600), 0, "ab", {"member1": ("a", "1")},
    {"t": 1}, 1, ("fits/a", "cd"), {"pooled": 1}, {"msp.py": "12"}, "beef",
)  # fmt: skip
OTHER_PARTS = {
    "fingerprint": "f11d", "limit": 3, "network": "net2", "code": "c0da", "label_size": "network",
    "options": {"head": "cosine"}, "scales": (300,), "max_size": 1000, "weights": "ac",
    "others": {"member1": ("a", "2")}, "config": {"t": 2}, "version": 2, "fit": ("fits/a", "ce"),
    "protocols": {"pooled": 2}, "source": {"msp.py": "13"}, "validation": "bead",
}  # fmt: skip
"""Another value of every part."""
