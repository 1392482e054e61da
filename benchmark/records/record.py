"""One immutable JSON file per dataset, network, method and seed: what was measured and everything to refute it by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from benchmark.errors import BenchmarkError
from benchmark.io.jsonfile import OMITTED, build, dumps, read_json, write_atomic
from benchmark.io.names import file_name
from benchmark.io.walk import below
from benchmark.metrics import Curves, Measurement, Segmentation, write_curves, write_rows
from benchmark.records.identity import Identity
from benchmark.records.provenance import Provenance
from benchmark.values import Amount, Count, Fraction, Number, OutlierData

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA = 1


@dataclass(frozen=True)
class DatasetPart:
    """The images."""

    name: str  # plugin name
    title: str  # as printed above tables
    note: str  # sentence that every table of it carries
    split: str  # "test"
    fingerprint: str  # digest of images and labels
    images: Number  # number of images evaluated
    limit: Count | None  # images asked for by --limit; null is all of them. Limited records enter no table
    anomaly_fraction: Fraction | None  # anomalous pixels / valid pixels of all images
    published_images: Count | None = None  # number of images of the published split; null where none is known
    label_size: str = "image"  # where scores and labels meet: "image" upsamples the scores to the labels, "network"
    # resizes the labels to the network's input by nearest neighbour
    pixels: dict[str, Number] = field(default_factory=dict)  # at that size: anomalous, normal, ignored
    control: bool = field(default=False, metadata=OMITTED)  # whether nothing on them is unknown, so that they stand on
    # no board; left out where they do

    @classmethod
    def of(cls, images: Any, pixels: Mapping[str, int], limit: int | None = None, label_size: str = "image") -> Self:
        """Of a dataset that was evaluated; the other arguments are fields."""
        valid = pixels["anomalous"] + pixels["normal"]
        return cls(
            name=images.label,
            title=images.card.title,
            note=images.card.note,
            split=images.split,
            fingerprint=images.fingerprint(),
            images=len(images),
            limit=limit,
            anomaly_fraction=pixels["anomalous"] / valid if valid else None,
            published_images=images.card.sizes.get(images.split),
            label_size=label_size,
            control=images.card.control,
            pixels=dict(pixels),
        )

    @property
    def whole(self) -> bool:
        """Whether all images of the published split were evaluated; only such records enter tables."""
        return self.limit is None and self.published_images in (None, self.images)


@dataclass(frozen=True)
class NetworkPart:
    """The segmentation network that the methods share."""

    label: str  # arch with the options and scales that differ from the dataset's default; names the folder
    arch: str  # plugin name
    options: dict[str, Any]  # keywords of its build()
    key: str  # stem of the weights file; names arch, data and recipe
    scales: list[Count]  # test scales as short sides in pixels; empty is the native size
    max_size: Number  # bound of the long side after scaling in pixels; 0 is none
    weights_sha256: str  # of the weights file
    recipe: dict[str, Any]  # how it was trained
    trained: dict[str, Any] = field(default_factory=dict)  # from the sidecar: reports, recipe, device, precision, ...
    seed: Number = 0  # seed index: 0 is the first, n the n-th repetition with another seed
    code_sha256: str = ""  # of the user's own file that builds the network, with what it imports from its folder
    weights_file: str = ""  # name of the file that stood in for training; empty where the suite trained
    preparation: dict[str, Any] = field(default_factory=dict)  # preprocessing, where it is not the suite's own
    place: str = ""  # digest of where the user's own files lie; empty where there are none or it is not stated
    pretrained: dict[str, str] = field(default_factory=dict)  # weights its encoder began with: encoder, source,
    # version, file, SHA-256 and licence; empty where it began at random


@dataclass(frozen=True)
class OtherNetwork:
    """A network that only this method uses."""

    key: str  # stem of the weights file
    weights_sha256: str  # of the weights file
    trained: dict[str, Any] = field(default_factory=dict)  # from the sidecar, as of the shared network
    pretrained: dict[str, str] = field(
        default_factory=dict
    )  # as of the shared network; of a frozen encoder all there is


@dataclass(frozen=True)
class MethodPart:
    """The method."""

    name: str  # plugin name
    label: str  # name with the options that differ from their defaults; names the file
    title: str  # as printed in tables
    paper: str  # authors, venue, year
    config: dict[str, Any]  # every constructor keyword
    version: int  # of the plugin's computation
    auxiliary_data: OutlierData = False  # whether outlier images were seen in training, or "synthetic" ones only
    fit_key: str = ""  # stem of the file that fit() made; names networks, data, recipe and config. Empty without fit
    fit_sha256: str | None = None  # of that file; null for a method without fit
    fit: dict[str, Any] | None = None  # brief report of the fit: seconds, reports, device, precision, ...
    normal: dict[str, Any] = field(default_factory=dict)  # the images of --normal to which it was fitted: name, title,
    # split, fingerprint, images, class_labels. Empty where these were the training images, or there is no fit
    source: dict[str, str] = field(default_factory=dict)  # file -> SHA-256 of what computes in it: the plugin's, and
    # what it imports from its own folder or package. Empty where the record does not state it


@dataclass(frozen=True)
class Retimed:
    """Of times that ``retime`` has taken in a pass of their own, later than the metrics.

    They are then medians over the batches of that pass; the pass that measures gives means.
    """

    images: Count  # that were timed
    provenance: Provenance  # of that pass; its load is the highest that was seen


@dataclass(frozen=True)
class Cost:
    """What it costs."""

    network_ms: Amount | None = None  # milliseconds per image in the method's networks: forwards, and full-size maps
    # that methods share
    method_ms: Amount | None = None  # milliseconds per image in the method itself
    peak_memory_mib: Amount | None = None  # MiB on a GPU, of what memory_of says; null on the CPU, where the kernel
    # keeps the peak of the whole process, which older records state
    batch_size: Count = 1  # images per batch
    fit_seconds: Amount | None = None  # seconds of fit(); null for a method without fit
    memory_of: str = ""  # whose peak that is; in older records that of the whole process, empty in the oldest
    network_memory_mib: Amount | None = None  # MiB on a GPU of its largest shared forward, beyond the weights
    retimed: Retimed | None = field(default=None, metadata=OMITTED)  # whence the times and the batch size are, and the
    # memory where that is of a GPU; left out where all of it is of the pass that measured


@dataclass(frozen=True)
class Record:
    """One measurement, whole."""

    schema: int = field(default=SCHEMA, kw_only=True)  # version of this layout
    dataset: DatasetPart
    network: NetworkPart
    method: MethodPart
    metrics: dict[str, Measurement]  # protocol name -> values; of an aggregation the first is the one in the tables
    segmentation: Segmentation | None = None  # null where the dataset has no labels of known classes
    cost: Cost = field(default_factory=Cost)
    provenance: Provenance = field(default_factory=Provenance)
    other_networks: dict[str, OtherNetwork] = field(default_factory=dict)  # role -> network
    rows: str = ""  # name of the file beside this one with one row per image
    curves: str = ""  # name of the file beside this one with the curves of the first pooled protocol
    validation: dict[str, Any] = field(
        default_factory=dict, metadata=OMITTED
    )  # the normal images that a protocol takes
    # its threshold from: name, split, fingerprint, images. Left out where no protocol does, or they are missing

    def path(self, results: Path) -> Path:
        """Where this record is stored below the results folder."""
        name, network, method = self.dataset.name, self.network.label, self.method.label
        return record_path(results, name, network, method, self.network.seed, self.dataset.limit)

    @property
    def identity(self) -> Identity:
        """What decides its numbers."""
        return Identity(
            fingerprint=self.dataset.fingerprint,
            limit=self.dataset.limit,
            network=self.network.key,
            code=self.network.code_sha256,
            label_size=self.dataset.label_size,
            options=self.network.options,
            scales=tuple(self.network.scales),
            max_size=self.network.max_size,
            weights=self.network.weights_sha256,
            others={role: (n.key, n.weights_sha256) for role, n in self.other_networks.items()},
            config=self.method.config,
            version=self.method.version,
            fit=(self.method.fit_key, self.method.fit_sha256) if self.method.fit_key else None,
            protocols={name: m.version for name, m in self.metrics.items()},
            source=self.method.source,
            validation=self.validation.get("fingerprint"),
        )

    @property
    def external(self) -> bool:
        """Whether it was made of score maps from elsewhere, of whose network nothing is known here."""
        return not self.network.key

    @property
    def timing(self) -> Provenance:
        """Where its times come from: the pass that measured, or the later one of ``retime``."""
        return self.cost.retimed.provenance if self.cost.retimed else self.provenance

    @property
    def sampled(self) -> bool:
        """Whether some pooled value was taken from a sample of the pixels."""
        return any(measured.sampling for measured in self.metrics.values())

    def stale(self, expected: Identity) -> list[str]:
        """In words, which parts differ from what a run would measure now; empty when the record is current."""
        return self.identity.differences(expected)

    def write(self, results: Path) -> Path:
        """Store the record: whole or not at all, the same bytes for the same record.

        Raises:
            BenchmarkError: the file cannot be written; an older record stays as it was.
        """
        path = self.path(results)
        write_atomic(path, dumps(self))
        return path


def write_whole(record: Record, results: Path, rows: DataFrame, curves: Curves | None) -> Record:
    """Write a record with the files beside it, and return it with their names. It goes last, and finds what it names.

    Args:
        record: without rows and curves.
        results: folder that holds ``records/``.
        rows: per image.
        curves: of the first pooled protocol; None without one.
    Raises:
        BenchmarkError: a file cannot be written.
    """
    path = record.path(results)
    named = {"rows": f"{path.stem}.rows.csv.gz", "curves": f"{path.stem}.curves.csv.gz" if curves else ""}
    record = replace(record, **named)
    write_rows(path.parent / record.rows, rows)
    if curves:
        write_curves(path.parent / record.curves, curves)
    record.write(results)
    return record


def validation_part(images: Any) -> dict[str, Any]:
    """What a record states of the normal images, a dataset, that a protocol took its threshold from."""
    fingerprint = images.fingerprint()
    return {"name": images.label, "split": images.split, "fingerprint": fingerprint, "images": len(images)}


def network_label(arch: str, options: dict[str, Any], scales: tuple[int, ...], max_size: int, default=()) -> str:
    """Name of a network in paths and tables: ``arch[:key=value...]``, scales only where they are not the `default`."""
    parts = [f"{k}={v}" for k, v in sorted(options.items())]
    if tuple(scales) != tuple(default):
        parts.append("scales=" + ("-".join(map(str, scales)) or "native"))
    parts += [f"max_size={max_size}"] if max_size else []
    return ":".join([arch, *parts])


def record_path(
    results: Path, dataset: str, network: str, method: str, seed: int = 0, limit: int | None = None
) -> Path:
    """``results/records/<dataset label>/<network label>/<method label>[+seedN][+firstN].json``, ``:`` written as ``+``.

    A trial with ``--limit`` has a file of its own, lest it replace the whole measurement.
    """
    stem = file_name(method) + (f"+seed{seed}" if seed else "") + (f"+first{limit}" if limit else "")
    return Path(results) / "records" / file_name(dataset) / file_name(network) / f"{stem}.json"


def read(path: Path) -> Record:
    """Read a record.

    Raises:
        BenchmarkError: not JSON, cut off, no record, or of another schema; the sentence says how to measure it again.
    """
    path = Path(path)
    try:
        data = read_json(path)
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not a whole record ({error}); {_mend(path)}") from None
    if not isinstance(data, dict) or "schema" not in data:
        raise BenchmarkError(f"{path} is not a record of this benchmark; move it away or {_mend(path)}")
    if data["schema"] != SCHEMA:
        raise BenchmarkError(f"{path} has record schema {data['schema']}, this version reads {SCHEMA}; {_mend(path)}")
    try:
        record = build(Record, data)
        for name in filter(None, (record.rows, record.curves)):
            if not re.fullmatch(r"[^/\\\0]*[^/\\\0.]\.(rows|curves)\.csv\.gz", name):
                raise ValueError(f"'{name}' does not name a file beside it")
        return record
    except (TypeError, ValueError) as error:
        raise BenchmarkError(f"{path} is not a record of this benchmark ({error}); {_mend(path)}") from None


def read_all(results: Path) -> tuple[list[Record], list[str]]:
    """Every record below the results folder in a fixed order, and a sentence for each file that is none."""
    records, problems = [], []
    for path in below(Path(results) / "records", ".json"):
        try:
            record = read(path)
        except BenchmarkError as error:
            problems.append(str(error))
            continue
        home = record.path(results)
        if path == home:
            records.append(record)
        else:
            problems.append(f"{path} is the record of {home}; move it there or delete it.")
    return records, problems


def network_records(results: Path, label: str) -> Iterator[NetworkPart]:
    """The networks of all records that are kept under a network's label, whatever the dataset."""
    for path in sorted((Path(results) / "records").glob(f"*/{escape(file_name(label))}/*.json")):
        with suppress(BenchmarkError):  # what cannot be read keeps nobody from the label
            yield read(path).network


def recipe_changes(label: str) -> list[str]:
    """The parts of a label of a network or method that say how its recipes were changed: "segmentation.epochs=2"."""
    return [part for part in label.split(":")[1:] if "." in part.partition("=")[0]]


def method_call(label: str) -> str:
    """The method of a label with its options, as typed: without what is not usual about its trainings."""
    changes = recipe_changes(label)
    return ":".join(part for part in label.split(":") if part not in changes and not part.startswith("normal="))


def _mend(path: Path) -> str:
    parts = path.parts
    if "records" not in parts or len(parts) < 4:
        return "measure it again with 'python -m benchmark run --force'."
    label, seed, limit = re.fullmatch(r"(.*?)(?:\+seed(\d+))?(?:\+first(\d+))?", path.stem).groups()
    options = (f" --repetition {seed}" if seed else "") + (f" --limit {limit}" if limit else "")
    dataset, network, method = (unquote(text.replace("+", ":")) for text in (*parts[-3:-1], label))
    changes = dict.fromkeys([*recipe_changes(network), *recipe_changes(method)])
    options += "".join(f" --recipe {change}" for change in changes)
    call = ":".join(part for part in method.split(":") if part not in changes)
    return f"measure it again with 'python -m benchmark run --force --dataset {dataset} --methods {call}{options}'."
