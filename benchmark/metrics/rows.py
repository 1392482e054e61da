"""One row per image: what every per-image aggregate and its confidence interval is computed from."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import BenchmarkError
from benchmark.io.atomic import replacing
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


@dataclass(frozen=True, eq=False)
class Rows:
    """A table with one row per image and set of negative pixels; columns as in :data:`COLUMNS`."""

    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns["image"])

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]

    def select(self, protocol: str | PixelProtocol) -> Rows:
        """The rows that hold for a protocol's negatives, one per image.

        Raises:
            BenchmarkError: these rows were not kept.
        """
        name = pixel_protocol(protocol).negatives
        chosen = np.array([name in value.split("+") for value in self["negatives"]], bool)
        if len(self) and not chosen.any():
            raise BenchmarkError(
                f"No rows were kept for negatives '{name}', only for {', '.join(sorted(set(self['negatives'])))}; "
                f"evaluate again with protocol '{pixel_protocol(protocol).name}'."
            )
        return Rows({key: values[chosen] for key, values in self.columns.items()})

    def to_pandas(self) -> DataFrame:
        """The table as a data frame."""
        from pandas import DataFrame

        return DataFrame(dict(self.columns))


def join_equal(tables: Mapping[str, list[tuple]]) -> Rows:
    """Tables per set of negatives as one, where equal tables are stored once.

    Args:
        tables: per name of the set, tuples in the order of COLUMNS without the first.
    """
    unique: dict[str, list[str]] = {}
    for name, rows in tables.items():
        unique.setdefault(repr(rows), []).append(name)
    records = [("+".join(names), *row) for names in unique.values() for row in tables[names[0]]]
    columns = list(zip(*records)) if records else [()] * len(COLUMNS)
    return Rows(
        {key: np.array(values, dtype=kind) for (key, kind), values in zip(COLUMNS.items(), columns, strict=True)}
    )


def write_rows(path: str | Path, rows: Rows) -> None:
    """Write a table as compressed CSV (``.csv.gz``); equal tables give equal bytes.

    Metrics are written with nine significant digits, NaN as an empty cell. The file is replaced in one step.
    """
    write_csv(path, {key: [_cell(value, kind) for value in rows[key]] for key, kind in COLUMNS.items()})


def write_csv(path: str | Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Write columns of text as compressed CSV, whole or not at all; equal columns give equal bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    # Neither the time nor the temporary name may enter the header, or nothing would ever compare equal.
    with (
        replacing(Path(path)) as temporary,
        open(temporary, "wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
    ):
        packed.write(text.getvalue().encode())


def read_rows(path: str | Path) -> Rows:
    """Read what :func:`write_rows` wrote.

    Raises:
        BenchmarkError: not such a file.
    """
    try:
        with gzip.open(path, "rt", newline="") as file:
            header, *records = csv.reader(file)
        if header != list(COLUMNS):
            raise BenchmarkError(f"{path} has the columns {', '.join(header)}; evaluate the method again.")
        columns = zip(*records, strict=True) if records else [()] * len(COLUMNS)
        return Rows(
            {
                key: np.array([_parse(cell, kind) for cell in cells], dtype=kind)
                for (key, kind), cells in zip(COLUMNS.items(), columns, strict=True)
            }
        )
    except (OSError, ValueError, EOFError, csv.Error, zlib.error) as error:
        raise BenchmarkError(f"{path} is no table of per-image rows ({error}); evaluate the method again.") from error


def _cell(value: object, kind: type) -> str:
    if kind is not float:
        return str(value)
    return "" if np.isnan(value) else format(value, ".9g")


def _parse(cell: str, kind: type) -> object:
    return float(cell or "nan") if kind is float else kind(cell)
