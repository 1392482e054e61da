"""Records as a table."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import BenchmarkError
from benchmark.metrics import METRICS, Measurement
from benchmark.records.record import Record, read_all

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    "dataset",
    "network",
    "method",
    "title",
    "paper",
    "external",
    "auxiliary_data",
    "seed",
    "limit",
    "protocol",
    "version",
    "aggregation",
    "images",
    *METRICS,
    "constant_aupr",
    "miou",
    "network_ms",
    "method_ms",
    "date",
    "rows",
)
"""What every table has; further metrics of protocols follow, by name."""


def records(folder: str | Path = "runs") -> DataFrame:
    """The records below a folder, one row per record and protocol.

    Columns: `dataset`, `network` and `method` are labels, as in the names of the files; `paper` is what to cite for the
    method; `external` says whether its score maps were made elsewhere (``score --name``), so that nothing is known of
    its network; `auxiliary_data` is what outliers the method saw in training; `seed` counts repetitions from 0; `limit`
    is the number of images asked for by ``--limit``, missing where all were; `protocol` and `version` say how the
    metrics were made; metrics are shares (0..1), with the ends of their 95 % interval over images as `aupr_low` and
    `aupr_high`; `miou` is that of the network; times are milliseconds an image; `date` is that of the measurement;
    `rows` is the path of the table with one row per image, which :func:`read_rows` reads. Metrics of single protocols
    (`efpr`, `iou`, ...) have columns of their own. What has no value is NaN.

    These are all records, also those with ``--limit``, of former versions of a protocol and of settings that do not
    compare; the boards that tables are made of, and the published numbers beside them, answers
    ``python -m benchmark table --json``.

    Args:
        folder: "runs" of this machine, or "results", where the published ones of this project lie.
    Raises:
        BenchmarkError: there is no such folder.
    Warns:
        UserWarning: a sentence for every file that is no record; the others are in the table.
    """
    from pandas import DataFrame

    folder = Path(folder)
    if not folder.is_dir():
        raise BenchmarkError(f"There is no folder {folder}; `python -m benchmark run` makes records in runs.")
    found, problems = read_all(folder)
    for sentence in problems:
        warnings.warn(sentence, stacklevel=2)
    rows = [_row(folder, record, name, m) for record in found for name, m in record.metrics.items()]
    table = DataFrame(rows, columns=[*COLUMNS, *sorted({key for row in rows for key in row} - {*COLUMNS})])
    return table.astype({"external": bool, "seed": int, "version": int, "images": int})


def _row(folder: Path, record: Record, name: str, measured: Measurement) -> dict[str, Any]:
    dataset, network, method = record.dataset, record.network, record.method
    nan = float("nan")
    row = {
        "dataset": dataset.name,
        "network": network.label,
        "method": method.label,
        "title": method.title,
        "paper": method.paper,
        "external": record.external,
        "auxiliary_data": method.auxiliary_data,
        "seed": network.seed,
        "limit": nan if dataset.limit is None else dataset.limit,
        "protocol": name,
        "version": measured.version,
        "aggregation": measured.aggregation,
        "images": measured.images,
        "constant_aupr": measured.constant_aupr,
        "miou": record.segmentation.miou if record.segmentation else None,
        "network_ms": record.cost.network_ms,
        "method_ms": record.cost.method_ms,
        "date": record.provenance.date,
        "rows": str(record.path(folder).parent / record.rows) if record.rows else "",
    }
    row |= {metric: getattr(measured, metric) for metric in METRICS} | measured.extra
    for metric, (low, high) in measured.intervals.items():
        row |= {f"{metric}_low": low, f"{metric}_high": high}
    return {key: nan if value is None else value for key, value in row.items()}
