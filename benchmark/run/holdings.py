"""What a run folder holds: trained things, records, what is unfinished; and how single things are deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from benchmark.errors import BenchmarkError
from benchmark.io.atomic import in_use
from benchmark.io.words import quantity
from benchmark.records.record import Record, read
from benchmark.run.journal import kept_states
from benchmark.weights.store import WeightsEntry, WeightsStore

Kind = Literal["record", "weights", "unfinished", "other", "foreign"]
NAMED_ONLY = ("record", "foreign")
"""What no pattern stands for; what is not of this suite is not deleted by its name either."""
PARTS = (".rows.csv.gz", ".curves.csv.gz")
"""What the names of the files beside a record end in."""
BUSY = 120.0
"""Seconds since which a state was not written that no running command is likely to go on with."""


@dataclass(frozen=True)
class Thing:
    """Files that belong together.

    Attributes:
        name: its place in the run folder; of records and weights without suffix.
        kind: a "record" was measured, "weights" were trained or imported, "unfinished" goes on with the command that
            began it, "other" is made again by the command that made it, "foreign" is not of this suite.
        files: all of them.
        about: in words.
    """

    name: str
    kind: Kind
    files: tuple[Path, ...]
    about: str
    bytes: int = field(init=False)
    changed: float = field(init=False)  # seconds since 1970

    def __post_init__(self) -> None:
        found = [path.stat() for path in self.files if path.is_file()]
        object.__setattr__(self, "bytes", sum(each.st_size for each in found))
        object.__setattr__(self, "changed", max((each.st_mtime for each in found), default=0.0))

    @property
    def date(self) -> str:
        """Day and minute of its last change, UTC."""
        return datetime.fromtimestamp(self.changed, UTC).strftime("%Y-%m-%d %H:%M")


def holdings(out: Path) -> list[Thing]:
    """Everything in a run folder, each file in one thing: records, weights, what is unfinished, the rest.

    Raises:
        BenchmarkError: there is no such folder.
    """
    if not out.is_dir():
        raise BenchmarkError(f"There is no folder {out}; `python -m benchmark run` makes it, `--out` names another.")
    records = list(_records(out))
    found = [thing for thing, _ in records]
    found += _weights(out, [record for _, record in records if record])
    found += _unfinished(out)
    known = {path for thing in found for path in thing.files}
    return found + list(_others(out, known))


def _records(out: Path) -> Iterator[tuple[Thing, Record | None]]:
    for path in filter(Path.is_file, sorted((out / "records").rglob("*.json"))):
        stem = path.name.removesuffix(".json")
        files = [path, *(path.with_name(stem + part) for part in PARTS)]
        record = None
        try:
            record = read(path)
            about = f"{record.method.title} on {record.dataset.title} with {record.network.label}"
            about += "" if record.dataset.limit is None else f", the first {record.dataset.limit} images"
            about += f", seed {record.network.seed}" if record.network.seed else ""
        except BenchmarkError as error:
            about = str(error)
        yield Thing(_name(path, out, ".json"), "record", _existing(files), about), record


def _weights(out: Path, records: Sequence[Record]) -> Iterator[Thing]:
    store = WeightsStore(out / "weights")
    for entry in store.entries():
        sidecar = entry.path.with_name(f"{entry.path.name.removesuffix('.safetensors')}.json")
        about = f"{entry.made}; {_used(entry, records)}"
        yield Thing(_name(entry.path, out, ".safetensors"), "weights", _existing([entry.path, sidecar]), about)


def _used(entry: WeightsEntry, records: Sequence[Record]) -> str:
    """In which records weights were used."""
    digest, uses = entry.sidecar.get("sha256"), 0
    for record in records:
        others = (other.weights_sha256 for other in record.other_networks.values())
        uses += digest is not None and digest in (record.network.weights_sha256, record.method.fit_sha256, *others)
    return f"used in {quantity(uses, 'record')} here" if uses else "used in no record here"


def _unfinished(out: Path) -> Iterator[Thing]:
    for path, kept in kept_states(out):
        about = "an evaluation whose state cannot be read"
        if kept:
            labels = ", ".join(kept["marks"])
            about = f"an evaluation of {labels}, {kept['numbers']['done']} images done"
        yield Thing(_name(path, out), "unfinished", (path,), about)
    for path in sorted((out / "weights").rglob("*.state")):
        if not path.name.startswith("."):
            yield Thing(_name(path, out), "unfinished", (path,), "a training, which goes on from here")
    for path in sorted(out.rglob(".*.tmp")):
        if path.is_file() and not in_use(path):
            yield Thing(_name(path, out), "unfinished", (path,), "left by a killed process; of no use")
    for part in PARTS:
        for path in sorted((out / "records").rglob(f"*{part}")):
            if not path.with_name(f"{path.name.removesuffix(part)}.json").exists():
                yield Thing(_name(path, out), "unfinished", (path,), "left without its record; of no use")


OTHERS = {
    "scores": "score maps that infer wrote",
    "pictures": "pictures that show drew",
    "commands": "what commands were asked for, to be read by --config",
    "tensorboard": "event files of trainings",
    "report.html": "the page that report wrote",
    "LEADERBOARD.md": "the leaderboard that table wrote",
    "tables": "the leaderboard that table wrote, in other formats",
}


def _others(out: Path, known: set[Path]) -> Iterator[Thing]:
    """What is left, one thing a folder."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path not in known and not path.name.endswith(".tmp"):
            groups.setdefault(path.relative_to(out).parts[0], []).append(path)
    for name, files in groups.items():
        about = OTHERS.get(name)
        yield Thing(name, "other" if about else "foreign", tuple(files), about or "not made by this suite")


def chosen(things: Sequence[Thing], names: Sequence[str]) -> list[Thing]:
    """The things that are to be deleted.

    A name with ``*`` stands for all that it fits but records, which go by their full names, and what is not of this
    suite, which stays.

    Raises:
        BenchmarkError: a name fits nothing that may be deleted.
    """
    found: dict[str, Thing] = {}
    for name in names:
        pattern = "*" in name
        like = [t for t in things if t.name == name or (pattern and fnmatchcase(t.name, name))]
        if foreign := next((t for t in like if t.name == name and t.kind == "foreign"), None):
            raise BenchmarkError(f"{foreign.name} was not made by this suite; delete it by hand.")
        fitting = [t for t in like if t.name == name or t.kind not in NAMED_ONLY]
        if like and not fitting:
            raise BenchmarkError(
                f"'{name}' fits nothing but records, which go by their full names only, and what this suite did not "
                f"make, such as {like[0].name}."
            )
        if not fitting:
            raise BenchmarkError(f"There is no '{name}' there; `python -m benchmark runs` shows what may stand there.")
        found |= {thing.name: thing for thing in fitting}
    return list(found.values())


def delete(out: Path, things: Sequence[Thing]) -> None:
    """Delete things with all their files, and the folders that are empty then.

    Raises:
        BenchmarkError: a state was written a moment ago, so that a command is likely to be at work on it; a file
            cannot be deleted.
    """
    for thing in things:
        if thing.kind == "unfinished" and time.time() - thing.changed < BUSY and not thing.name.endswith(".tmp"):
            raise BenchmarkError(
                f"{out / thing.name} was written less than {BUSY / 60:.0f} minutes ago, so that a command may be at "
                f"work on it; stop that and wait."
            )
    for path in (path for thing in things for path in thing.files):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise BenchmarkError(f"{path} cannot be deleted ({error.strerror}); mend its permissions.") from None
    for folder in sorted({p for thing in things for file in thing.files for p in file.parents}, reverse=True):
        if folder != out and folder.is_relative_to(out) and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _name(path: Path, out: Path, suffix: str = "") -> str:
    return path.relative_to(out).as_posix().removesuffix(suffix)


def _existing(files: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(path for path in files if path.is_file())
