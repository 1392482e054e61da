"""Numbers from the literature, each with its source: `results/published/<dataset>.csv` and `datasets.toml`."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from benchmark import HOME
from benchmark.errors import BenchmarkError
from benchmark.io.walk import require_file
from benchmark.values import SYNTHETIC, Fraction, OutlierData, Range, typed

RESULTS = HOME / "results"
"""The results folder that comes with this code, whose ``published/`` is installed, too."""

_COLUMNS = (
    "dataset",  # plugin name; followed by words in brackets where the split is not the one measured here
    "method",  # plugin name (or label with options) where the method is one of ours, else empty
    "title",  # as the source calls it
    "backbone",
    "auroc",  # percent, like the next three
    "aupr",
    "fpr95",
    "miou",
    "protocol",  # begins with "per-image" or "pooled" where the source says so
    "source",
    "note",
    "second_hand",  # yes: the source quotes the number from somebody else
    "auxiliary_data",  # yes: outlier images were seen in training; synthetic: invented ones only; unknown: not said,
    # which is for methods that are not here
)
_COMPONENTS = ("siou", "ppv", "mean_f1")
"""Columns that a file may have beside these: component metrics, in percent."""
_METRICS = ("auroc", "aupr", "fpr95", "miou", *_COMPONENTS)
_FLAGS = {"yes": True, "no": False}


Percentage = Annotated[float, Range(0, 100)]


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table; metrics are fractions, None where the source gives none."""

    dataset: str
    method: str
    title: str
    backbone: str = ""
    auroc: float | None = None
    aupr: float | None = None
    fpr95: float | None = None
    miou: float | None = None
    protocol: str = ""
    source: str = ""
    note: str = ""
    second_hand: bool = False
    auxiliary_data: OutlierData | None = False  # None: the source does not say
    siou: float | None = None
    ppv: float | None = None
    mean_f1: float | None = None

    @property
    def aggregation(self) -> str:
        """ "per-image", "pooled" or, where the source does not say, ""."""
        return next((a for a in ("per-image", "pooled") if self.protocol.startswith(a)), "")

    @property
    def images(self) -> str:
        """The images in the source's words where they are not those measured here."""
        return self.dataset.partition("(")[2].rstrip(")")

    @property
    def comparable(self) -> bool:
        """Whether a record here can stand beside it: same images, and the method is one of ours."""
        return bool(self.method) and "(" not in self.dataset


@dataclass(frozen=True)
class Published:
    """Everything known from elsewhere."""

    rows: dict[str, list[PublishedRow]] = field(default_factory=dict)  # dataset -> rows in the source's order
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)  # dataset -> title, note, constant_aupr


def read_published(results: Path, measured: Collection[str] = ()) -> Published:
    """Read the published numbers of a results folder.

    Args:
        results: folder with or without ``published/``.
        measured: datasets whose published numbers come from this code's own results where the folder has none.

    Raises:
        BenchmarkError: a column is missing or a value is no number; the sentence names file and line.
    """
    folder = Path(results) / "published"
    paths = sorted(folder.glob("*.csv"))
    if not folder.is_dir():
        folder = RESULTS / "published"
        paths = [path for path in sorted(folder.glob("*.csv")) if path.stem in measured]
    rows = {path.stem: _read_csv(path) for path in paths}
    about = folder / "datasets.toml"
    try:
        datasets = tomllib.loads(about.read_text(encoding="utf-8-sig")) if about.is_file() else {}
    except ValueError as error:  # no TOML, or no UTF-8
        raise BenchmarkError(f"{about} is not valid TOML: {error}.") from None
    for name, facts in datasets.items():
        try:
            typed(facts.get("constant_aupr", 0), Fraction)
            typed(facts.get("title", ""), str), typed(facts.get("note", ""), str)
        except (AttributeError, ValueError):
            raise BenchmarkError(
                f"{about}: [{name}] may state a title and a note as text and a constant_aupr from 0 to 1, nothing else."
            ) from None
    return Published(rows, datasets)


def _read_csv(path: Path) -> list[PublishedRow]:
    try:
        require_file(path)
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets put a mark before UTF-8
            reader = csv.DictReader(file)
            missing = [c for c in _COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise BenchmarkError(f"{path} lacks the column {missing[0]}; it must have {', '.join(_COLUMNS)}.")
            return [_row(path, reader.line_num, values) for values in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise BenchmarkError(f"{path} cannot be read ({error}); write it as CSV in UTF-8.") from None


def _row(path: Path, line: int, values: dict[str, Any]) -> PublishedRow:
    if None in values or None in values.values():
        columns = len(values) - (None in values)
        raise BenchmarkError(f"{path} line {line} has not {columns} values; quote texts that hold a comma.")
    fields: dict[str, Any] = {c: values[c].strip() for c in (*_COLUMNS, *(c for c in _COMPONENTS if c in values))}
    for name in _METRICS:
        try:
            fields[name] = typed(fields[name], Percentage) / 100 if fields.get(name) else None
        except ValueError:
            raise BenchmarkError(
                f"{path} line {line}: {name} '{fields[name]}' is no percentage; write a number from 0 to 100."
            ) from None
    for name, more in (("second_hand", {}), ("auxiliary_data", {SYNTHETIC: SYNTHETIC, "unknown": None})):
        flags: dict[str, OutlierData | None] = _FLAGS | more
        if fields[name] not in flags:
            raise BenchmarkError(f"{path} line {line}: {name} must be {' or '.join(flags)}, not '{fields[name]}'.")
        fields[name] = flags[fields[name]]
    if not fields["source"]:
        raise BenchmarkError(f"{path} line {line}: a published number needs its source.")
    row = PublishedRow(**fields)
    if row.comparable and row.auxiliary_data is None:
        raise BenchmarkError(
            f"{path} line {line}: auxiliary_data 'unknown' is for methods that are not here; say what "
            f"'{row.method}' sees."
        )
    return row
