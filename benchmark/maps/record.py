"""Score maps that were made elsewhere as a record, which stands in tables and comparisons like any other."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.data import Dataset
from benchmark.errors import BenchmarkError
from benchmark.io.walk import walk
from benchmark.maps.files import SUFFIXES
from benchmark.maps.score import ScoreReport
from benchmark.records.provenance import gather
from benchmark.records.record import DatasetPart, MethodPart, NetworkPart, Record, read, write_whole

ELSEWHERE = "elsewhere"
"""What stands for the network of score maps where nobody names it."""


def write_record(
    report: ScoreReport,
    directory: Path,
    dataset: Dataset,
    name: str,
    network: str = "",
    out: Path = Path("runs"),
    paper: str = "",
) -> Record:
    """Write the record of a folder of score maps with its rows and curves.

    Nothing is known of its weights, its recipe and its costs; of the maps it states a digest.

    Args:
        report: what :func:`benchmark.maps.score.score_directory` measured.
        directory: the maps.
        dataset: they were measured on.
        name: of the method, as printed in tables.
        network: label of the network, in whose table the row stands; empty where that is not known.
        out: folder that holds ``records/``.
        paper: what is cited for the method; empty where that is nothing.
    Raises:
        BenchmarkError: the name is none, a run's own record has it, or a file cannot be written.
    """
    name, network = name.strip(), network.strip() or ELSEWHERE
    for option, text in (("name", name), ("network", network)):
        if not text or not text.isprintable() or "@" in text:
            raise BenchmarkError(f"--{option} '{text}' is no name; it is one line of text without @.")
    if not paper.isprintable():
        raise BenchmarkError("--paper is one line of text: authors, venue and year, or an address.")
    record = Record(
        dataset=DatasetPart.of(dataset, report.pixels),
        network=NetworkPart(network, network.partition(":")[0], {}, "", [], 0, "", {}),
        method=MethodPart(name, name, name, paper.strip(), {}, 1, source={"score maps": _digest(directory)}),
        metrics=dict(report.metrics),
        validation=dict(report.validation),
        provenance=gather(),
    )
    path = record.path(out)
    if path.exists() and not read(path).external:
        raise BenchmarkError(f"{path} is the record of a run; give the score maps another --name or --network.")
    return write_whole(record, out, report.rows, report.curves)


def _digest(directory: Path) -> str:
    """SHA-256 of all score maps with their names."""
    digest = hashlib.sha256()
    for relative, path in sorted(walk(directory, SUFFIXES).items()):
        digest.update(f"{relative}\0{path.stat().st_size}\0".encode("utf-8", "surrogatepass"))
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
