"""Every committed record is what a run of this tree would measure: no key, recipe or configuration has changed."""

from pathlib import Path

import pytest

from benchmark.encoders import find
from benchmark.errors import BenchmarkError
from benchmark.records.record import read
from benchmark.registry import METHODS
from benchmark.run.options import Options, data_root
from benchmark.run.plan import expected_identity, network_name
from benchmark.run.setup import make_setup
from benchmark.run.workshop import Workshop
from benchmark.values import format_call

RECORDS = Path(__file__).resolve().parents[2] / "results/records"
DATASETS = sorted(path.name.replace("+", ":") for path in RECORDS.iterdir())


@pytest.mark.parametrize("dataset", DATASETS)
def test_committed_records_are_current(dataset, tmp_path):
    """What is not here is passed over, datasets and the weights of encoders; MiniHazards always is."""
    setups, stale, missing, compared = {}, {}, "", 0
    paths = sorted((RECORDS / dataset.replace(":", "+")).rglob("*.json"))
    for path in paths:
        record = read(path)
        seed, call = record.network.seed, format_call(record.network.arch, record.network.options)
        try:
            for other in record.other_networks.values():
                if other.pretrained:
                    find(other.pretrained["encoder"])
            if (seed, call) not in setups:
                where = {"out": tmp_path, "data": data_root(None), "device": "cpu"}
                setups[seed, call] = make_setup(Options(dataset=dataset, network=call, repetition=seed, **where))
        except BenchmarkError as error:
            missing = str(error)
            continue
        compared += 1
        setup = setups[seed, call]
        assert record.network.label == network_name(setup)
        workshop = Workshop(setup)
        entry = workshop.entry(METHODS.create(record.method.label))
        assert record.method.label == entry.label
        if reasons := record.stale(expected_identity(workshop, entry)):
            stale[record.method.label] = reasons
    if missing and not compared:
        pytest.skip(missing)
    assert compared and stale == {}


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_training_has_ruined_its_network(dataset):
    """A method that trains a copy of the network on measures it on validation images, and so says whether it still is
    one. Half of the shared network's mIoU, on test images, is far below what an honest training costs."""
    ruined = {}
    for path in sorted((RECORDS / dataset.replace(":", "+")).rglob("*.json")):
        record = read(path)
        kept = record.segmentation.miou if record.segmentation else 0.0
        for report in (record.method.fit or {}).get("reports", []):
            if (own := report["validation"].get("mIoU", kept)) < kept / 2:
                ruined[str(path.relative_to(RECORDS))] = f"mIoU {own:.3f}, of the shared network {kept:.3f}"
    assert ruined == {}
