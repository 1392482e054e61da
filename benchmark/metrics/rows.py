"""One row per image: what every per-image aggregate and its confidence interval is computed from.

Rows are a pandas table. pandas is imported where a table is made or read, so that importing metrics stays quick.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.io.atomic import replacing
from benchmark.io.walk import require_file
from benchmark.metrics.pixel_protocols import FPR_RULES, PixelProtocol, pixel_protocol

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS: dict[str, type] = {
    "negatives": str,  # sets of negative pixels (PixelProtocol.negatives) that this row holds for, joined by "+"
    "image": str,
    "anomalous": int,  # pixels
    "normal": int,
    "ignored": int,
    "auroc": float,
    "aupr": float,
    **{f"fpr95_{rule}": float for rule in FPR_RULES},
    "threshold": float,  # score at which the nearest rule reads the curve
    "efpr": float,
    "cfpr": float,
}
"""Columns and types. Metrics are fractions, NaN where the image lacks one kind of pixels."""


def join_equal(tables: Mapping[str, list[tuple]]) -> DataFrame:
    """Tables per set of negatives as one, where equal tables are stored once.

    Args:
        tables: per name of the set, tuples in the order of COLUMNS without the first.
    """
    from pandas import DataFrame

    unique: dict[str, list[str]] = {}
    for name, rows in tables.items():
        unique.setdefault(repr(rows), []).append(name)
    records = [("+".join(names), *row) for names in unique.values() for row in tables[names[0]]]
    return DataFrame(records, columns=list(COLUMNS)).astype(COLUMNS)


def select_rows(rows: DataFrame, protocol: str | PixelProtocol) -> DataFrame:
    """The rows that hold for a protocol's negatives, one per image.

    Raises:
        BenchmarkError: these rows were not kept.
    """
    name = pixel_protocol(protocol).negatives
    chosen = np.array([name in kept.split("+") for kept in rows["negatives"]], bool)
    if len(rows) and not chosen.any():
        raise BenchmarkError(
            f"No rows were kept for negatives '{name}', only for {', '.join(sorted(set(rows['negatives'])))}; "
            f"evaluate again with protocol '{pixel_protocol(protocol).name}'."
        )
    return rows[chosen].reset_index(drop=True)


def per_image(protocol: PixelProtocol, rows: Mapping[str, Sequence[DataFrame]], metric: str) -> DataFrame:
    """Images x methods: a metric, mean over the repetitions; NaN where one has no value.

    Args:
        protocol: whose rule of FPR95 applies.
        rows: of every method and repetition, selected for the protocol and indexed by image.
        metric: "auroc", "aupr", "fpr95" or another column.
    """
    from pandas import DataFrame, concat

    column = f"fpr95_{protocol.fpr_rule}" if metric == "fpr95" else metric
    means = {
        label: concat([table[column] for table in tables], axis=1).mean(axis=1, skipna=False)
        if len(tables) > 1
        else tables[0][column]
        for label, tables in rows.items()
    }
    return DataFrame(means)


def write_rows(path: str | Path, rows: DataFrame) -> None:
    """Write a table as compressed CSV (``.csv.gz``); equal tables give equal bytes.

    Metrics are written with nine significant digits, NaN as an empty cell. The file is replaced in one step.
    """
    write_csv(path, rows[list(COLUMNS)])


def write_csv(path: str | Path, columns: DataFrame | Mapping[str, Sequence[str]]) -> None:
    """Write columns as compressed CSV, whole or not at all; equal columns give equal bytes."""
    from pandas import DataFrame

    text = DataFrame(columns).to_csv(index=False, float_format="%.9g", lineterminator="\n")
    # Neither the time nor the temporary name may enter the header, or nothing would ever compare equal.
    with (
        replacing(Path(path)) as temporary,
        open(temporary, "wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
    ):
        packed.write(text.encode())


def read_rows(path: str | Path) -> DataFrame:
    """Read what :func:`write_rows` wrote: columns and types as in :data:`COLUMNS`.

    Example:
        >>> rows = read_rows("results/records/minihazards/pspnet-small/msp.rows.csv.gz")
        >>> rows.sort_values("aupr")[["image", "anomalous", "aupr"]].head()

    Raises:
        BenchmarkError: not such a file.
    """
    from pandas import DataFrame

    try:
        # Not pandas' own reader: it fills up lines that are too short.
        require_file(Path(path))
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        if header != list(COLUMNS):
            raise BenchmarkError(f"{path} has the columns {', '.join(header)}; evaluate the method again.")
        if any(len(line) != len(COLUMNS) for line in lines):
            raise ValueError(f"a line has not {len(COLUMNS)} values")
        rows = DataFrame(lines, columns=header)
        metrics = [name for name, kind in COLUMNS.items() if kind is float]
        rows[metrics] = rows[metrics].replace("", "nan")
        return rows.astype(COLUMNS)
    except (OSError, ValueError, EOFError, csv.Error, zlib.error) as error:
        raise BenchmarkError(f"{path} is no table of per-image rows ({error}); evaluate the method again.") from error
